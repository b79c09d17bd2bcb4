package direct

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx"
	"postern/upstream"
)

// TestHostsAreForgotten: of however many hosts, only so many are kept, and these
// take at most 64 MiB.
func TestHostsAreForgotten(t *testing.T) {
	w := newWorld(t, nil)
	p := w.up.pool
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 2*maxHosts + 100 {
		h, err := p.take(t.Context(), key{to: netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 25)}, level{}, nil, nil, "b.example")
		if err != nil {
			t.Fatal(err)
		}
		p.release(h, "b.example")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := len(p.hosts); n != maxHosts || p.order.Len() != n || p.inUse != 0 {
		t.Errorf("%d hosts are kept, %d in order, %d in use", n, p.order.Len(), p.inUse)
	}
	if mib := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20); mib > 64 {
		t.Errorf("%d hosts take %.1f MiB", maxHosts, mib)
	} else {
		t.Logf("%d hosts take %.1f MiB", maxHosts, mib)
	}
}

// TestConnectionsInAllAreBounded: idle ones go, that of the host which was used
// the longest time ago first, and where all are in use nobody gets one.
func TestConnectionsInAllAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	p := w.up.pool
	p.most = 5
	for i := range 20 {
		w.receiver(fmt.Sprintf("127.0.2.%d", i+1), smtptest.Options{})
		w.domain(fmt.Sprintf("d%d.example", i), fmt.Sprintf("mx%d.example 127.0.2.%d", i, i+1))
		if s := w.send(fmt.Sprintf("x@d%d.example", i)); s.codes() != "250 final 250" {
			t.Fatalf("%s", s)
		}
		if n := w.up.Connections(); n > 5 {
			t.Fatalf("%d connections", n)
		}
	}
	var held []*host
	for i := range 5 {
		h, err := p.take(t.Context(), key{to: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 2, byte(i + 1)}), uint16(w.port))}, level{}, nil, nil, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	if s := w.send("x@d9.example"); s.codes() != "451" {
		t.Errorf("%s", s)
	}
	for i, h := range held {
		p.release(h, fmt.Sprint(i))
	}
	if s := w.send("x@d9.example"); s.codes() != "250 final 250" {
		t.Errorf("%s", s)
	}
}

// TestOwnerHasAPartOfAllTransactions: hosts of one owner that let mail wait leave room for
// that to others, over however many domains and addresses they are spread.
func TestOwnerHasAPartOfAllTransactions(t *testing.T) {
	w := newWorld(t, nil)
	w.up.pool.most = 4 * perOwner
	for i := range 5 {
		w.receiver(fmt.Sprintf("127.0.4.%d", i+1), smtptest.Options{})
		w.domain(fmt.Sprintf("d%d.evil.example", i), fmt.Sprintf("mx%d.evil.example 127.0.4.%d", i, i+1))
	}
	w.receiver("127.0.0.2", smtptest.Options{})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	for i := range 5 {
		tx := w.up.Begin(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
		defer tx.Close()
		r, err := tx.Recipients(t.Context(), []mail.Recipient{rcpt(fmt.Sprintf("x@d%d.evil.example", i))}, nil)
		if want := map[bool]int{true: 250, false: 451}[i < 4]; err != nil || r[0].Code != want {
			t.Errorf("%d: %v, %v", i, r, err)
		}
		if want := i + 1; i < 4 && w.up.pool.owners["evil.example"] != want {
			t.Errorf("%d are counted, want %d", w.up.pool.owners["evil.example"], want)
		}
	}
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("another owner: %s", s)
	}
	if n := len(w.up.pool.owners); n != 1 {
		t.Errorf("%d owners are counted", n)
	}
}

func TestBrokenTLSIsForgottenInTime(t *testing.T) {
	w := newWorld(t, nil)
	p, now := w.up.pool, time.Now()
	to := netip.MustParseAddrPort("127.0.0.2:25")
	p.fellBack(to, now)
	for after, want := range map[time.Duration]bool{0: true, plainFor - time.Second: true, plainFor: false} {
		if k := p.keyFor(to, netip.Addr{}, "mx.example", level{}, now.Add(after)); k.plain != want {
			t.Errorf("after %s: plain %v", after, k.plain)
		}
	}
	for i := range 3 * maxPlain {
		p.fellBack(netip.AddrPortFrom(netip.AddrFrom4([4]byte{12, byte(i >> 16), byte(i >> 8), byte(i)}), 25), now)
	}
	if n := len(p.plain); n > maxPlain {
		t.Errorf("%d hosts are remembered", n)
	}
	p.cfg.TLS = upstream.EncryptRequired
	if p.keyFor(to, netip.Addr{}, "mx.example", level{}, now).plain {
		t.Error("plain text where it is not allowed")
	}
}

// TestReloadLetsTransactionsEnd, also those that have not yet asked anybody.
func TestReloadLetsTransactionsEnd(t *testing.T) {
	w := newWorld(t, nil)
	b := w.receiver("127.0.0.2", smtptest.Options{})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.send("x@b.example") // leaves an idle connection
	env := &mail.Envelope{From: rcpt("a@a.example").Address}
	first, second := w.up.Begin(upstream.Route{}, env), w.up.Begin(upstream.Route{}, env)
	if r, err := first.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil); err != nil || r[0].Code != 250 {
		t.Fatal(r, err)
	}
	done := make(chan error)
	go func() { done <- w.up.Close(t.Context()) }()
	for {
		w.up.pool.mu.Lock()
		draining := w.up.pool.draining
		w.up.pool.mu.Unlock()
		if draining {
			break
		}
		runtime.Gosched()
	}
	for i, tx := range []*Transaction{second, first} {
		if i == 0 {
			if r, err := tx.Recipients(t.Context(), []mail.Recipient{rcpt("y@b.example")}, nil); err != nil || r[0].Code != 250 {
				t.Fatalf("after the begin of the end: %v %v", r, err)
			}
		}
		if r, err := tx.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}}); err != nil || r.Code != 250 {
			t.Errorf("%v, %v", r, err)
		}
		tx.Close()
	}
	if err := <-done; err != nil || w.up.Connections() != 0 || len(b.Messages()) != 3 {
		t.Errorf("%v, %d connections, %d messages", err, w.up.Connections(), len(b.Messages()))
	}
	if s := w.send("x@b.example"); s.codes() != "451" {
		t.Errorf("afterwards: %s", s)
	}
}

// TestEndOfPatienceCutsOff what is still under way.
func TestEndOfPatienceCutsOff(t *testing.T) {
	w := newWorld(t, nil)
	w.receiver("127.0.0.2", smtptest.Options{})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	tx := w.up.Begin(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer tx.Close()
	if r, err := tx.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil); err != nil || r[0].Code != 250 {
		t.Fatal(r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.up.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := tx.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}}); err == nil {
		t.Error("sent over what was cut off")
	}
}

// TestLevelsShareNoConnections: what a domain asks for of TLS is part of what
// connections are shared within.
func TestLevelsShareNoConnections(t *testing.T) {
	p, to := newWorld(t, nil).up.pool, netip.MustParseAddrPort("127.0.0.2:25")
	tlsa := func(digest string) *mx.TLSA {
		return &mx.TLSA{Base: "mx.example", Names: []string{"mx.example"}, Records: []*dns.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Certificate: digest}}}
	}
	seen := map[key]int{}
	for i, l := range []level{{}, {verified: true}, {tlsa: &mx.TLSA{Base: "mx.example"}}, {tlsa: tlsa("aa")}, {tlsa: tlsa("bb")}} {
		k := p.keyFor(to, netip.Addr{}, "mx.example", l, time.Now())
		if j, ok := seen[k]; ok {
			t.Errorf("levels %d and %d share connections", i, j)
		}
		seen[k] = i
	}
	if a, b := p.keyFor(to, netip.Addr{}, "mx.example", level{tlsa: tlsa("aa")}, time.Now()), p.keyFor(to, netip.Addr{}, "mx.example", level{tlsa: tlsa("aa")}, time.Now()); a != b {
		t.Error("the same records share none")
	}
}
