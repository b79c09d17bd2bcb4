package direct

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx/provider"
	"postern/upstream"
)

// grouped is a world in which *.big.example is the group big.
func grouped(t *testing.T, c provider.Config, set func(*upstream.Config, *Options)) *world {
	t.Helper()
	c.MX = []string{"*.big.example"}
	groups, err := provider.New(map[string]provider.Config{"big": c})
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, func(cfg *upstream.Config, o *Options) {
		o.Groups = groups
		if set != nil {
			set(cfg, o)
		}
	})
}

// TestGroupHasSoManyConnections: under 200 clients at 8 hosts of a group, in use, idle and
// of all domains together.
func TestGroupHasSoManyConnections(t *testing.T) {
	const most, hosts, clients = 3, 8, 200
	w := grouped(t, provider.Config{Connections: most}, func(c *upstream.Config, _ *Options) { c.WaitTimeout = 30 * time.Second })
	for i := range hosts {
		w.receiver(fmt.Sprintf("127.0.3.%d", i+1), smtptest.Options{})
		w.domain(fmt.Sprintf("d%d.example", i), fmt.Sprintf("mx%d.big.example 127.0.3.%d", i, i+1))
	}
	peak := 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				peak = max(peak, w.up.Connections())
			}
		}
	}()
	var wg sync.WaitGroup
	var mu sync.Mutex
	bad := 0
	for i := range clients {
		wg.Go(func() {
			if s := w.send(fmt.Sprintf("x@d%d.example", i%hosts)); s.codes() != "250 final 250" || s.to[0].Provider != "big" {
				mu.Lock()
				bad++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	close(stop)
	<-stopped
	if bad > 0 || peak > most || peak == 0 {
		t.Errorf("%d of %d did not get through; at most %d connections, want %d", bad, clients, peak, most)
	}
}

// TestGroupThatIsFull: who finds no connection in time is told to come again, and other
// groups and addresses of ours are not in the way.
func TestGroupThatIsFull(t *testing.T) {
	w := grouped(t, provider.Config{Connections: 1}, func(c *upstream.Config, _ *Options) { c.WaitTimeout = 50 * time.Millisecond })
	w.receiver("127.0.3.1", smtptest.Options{})
	w.receiver("127.0.3.2", smtptest.Options{})
	w.receiver("127.0.3.3", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1", "mx2.big.example 127.0.3.2")
	w.domain("c.example", "mx.c.example 127.0.3.3")
	// Of somebody else's name, although it is the same host.
	w.domain("d.example", "mx.big.example.evil.example 127.0.3.1")
	env := &mail.Envelope{From: rcpt("a@a.example").Address}
	held := w.up.Begin(upstream.Route{}, env)
	defer held.Close()
	if r, err := held.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil); err != nil || r[0].Code != 250 {
		t.Fatal(r, err)
	}
	began := time.Now()
	if s := w.send("x@b.example"); s.codes() != "451" || s.to[0].Status != "4.4.1" || s.to[0].Provider != "big" || time.Since(began) > 30*time.Second {
		t.Errorf("%s after %v", s, time.Since(began))
	}
	for _, to := range []string{"x@c.example", "x@d.example"} {
		if s := w.send(to); s.codes() != "250 final 250" || s.to[0].Provider != provider.Other {
			t.Errorf("%s: %s in %q", to, s, s.to[0].Provider)
		}
	}
	if s := w.sendBy(upstream.Route{SourceIPs: []netip.Addr{netip.MustParseAddr("127.0.0.9")}}, "x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("from another address: %s", s)
	}
	// A second domain of the same message does not wait for the first.
	second := w.up.Begin(upstream.Route{}, env)
	defer second.Close()
	if r, err := second.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil); err != nil || r[0].Code != 452 {
		t.Errorf("%v, %v", r, err)
	}
	// While its client dawdles the connection is somebody else's.
	if err := held.Park(); err != nil {
		t.Fatal(err)
	}
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("after Park: %s", s)
	}
	if _, err := held.Resume(t.Context(), 100); err != nil {
		t.Errorf("%v", err)
	}
	if s := w.send("x@b.example"); s.codes() != "451" {
		t.Errorf("after Resume: %s", s)
	}
	held.Close()
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("after Close: %s", s)
	}
	for _, l := range w.up.Lanes() {
		if l.InUse != 0 || l.Waiting != 0 || l.Provider == "big" && !l.Source.IsValid() && l.Refused != 2 {
			t.Errorf("%+v", l)
		}
	}
}

// TestFreedConnectionGoesToWhoWaits, in the order in which they came.
func TestFreedConnectionGoesToWhoWaits(t *testing.T) {
	l := newLane(&provider.Group{Connections: 1}, time.Minute)
	first := new(mail.Envelope)
	if err := l.enter(t.Context(), first, time.Minute); err != nil {
		t.Fatal(err)
	}
	order := make(chan int, 5)
	for i := range 5 {
		go func() {
			env := new(mail.Envelope)
			if l.enter(t.Context(), env, time.Minute) == nil {
				order <- i
				l.leave(env)
			}
		}()
		for waiting := 0; waiting != i+1; {
			l.mu.Lock()
			waiting = len(l.waiting)
			l.mu.Unlock()
		}
	}
	if !l.wanted() {
		t.Error("nobody is said to wait")
	}
	l.leave(first)
	for i := range 5 {
		if got := <-order; got != i {
			t.Errorf("%d came before %d", got, i)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inUse > 1 || len(l.waiting) > 0 {
		t.Errorf("%d in use, %d wait", l.inUse, len(l.waiting))
	}
}

func TestPaceOfAGroup(t *testing.T) {
	w := grouped(t, provider.Config{Rate: provider.Rate{N: 10, Per: time.Second}}, nil)
	w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	w.domain("c.example", "mx1.big.example")
	began := time.Now()
	for i := range 4 {
		if s := w.send([]string{"x@b.example", "x@c.example"}[i%2]); s.codes() != "250 final 250" {
			t.Fatalf("%s", s)
		}
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("4 messages at 10 a second took %v", took)
	}
	slow := newLane(&provider.Group{Rate: provider.Rate{N: 1, Per: time.Hour}}, time.Second)
	for i, want := range []bool{true, false, false} {
		if err := slow.enter(t.Context(), new(mail.Envelope), time.Second); (err == nil) != want {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

func TestMessagesPerConnectionOfAGroup(t *testing.T) {
	w := grouped(t, provider.Config{MessagesPerConnection: 2}, nil)
	r := w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	for range 5 {
		if s := w.send("x@b.example"); s.codes() != "250 final 250" {
			t.Fatalf("%s", s)
		}
	}
	if r.Accepted() != 3 {
		t.Errorf("%d connections for 5 messages", r.Accepted())
	}
}

// TestTLSThatAGroupWants: it only raises what the upstream asks for, and holds for hosts
// by their own names.
func TestTLSThatAGroupWants(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name       string
		upstream   upstream.TLSPolicy
		group      provider.TLS
		offers     bool
		codes, tls string
	}{
		{"required, there is TLS", upstream.EncryptOpportunistic, provider.Required, true, "250 final 250", "TLSv1.3"},
		{"required, there is none", upstream.EncryptOpportunistic, provider.Required, false, "451", ""},
		{"verified, nobody has signed the certificate", upstream.EncryptOpportunistic, provider.Verified, true, "451", ""},
		{"taken back", upstream.EncryptOpportunistic, provider.Opportunistic, false, "250 final 250", ""},
		{"the upstream asks for more", upstream.EncryptRequired, provider.Opportunistic, false, "451", ""},
		{"the upstream speaks none", upstream.EncryptOff, provider.Required, true, "250 final 250", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := grouped(t, provider.Config{TLS: row.group}, func(c *upstream.Config, _ *Options) { c.TLS = row.upstream })
			o := smtptest.Options{}
			if row.offers {
				cert, err := ca.Issue(smtptest.Cert{Names: []string{"mx1.big.example"}})
				if err != nil {
					t.Fatal(err)
				}
				o = smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...)}
			}
			r := w.receiver("127.0.3.1", o)
			w.domain("b.example", "mx1.big.example 127.0.3.1")
			s := w.send("x@b.example")
			if s.codes() != row.codes || s.tls != row.tls {
				t.Errorf("%s over %q", s, s.tls)
			}
			if row.codes == "451" && len(r.Messages()) > 0 {
				t.Error("it left")
			}
		})
	}
}

// TestEvidenceNamesTheGroupOfTheHost, by the name of the host that said it and no other.
func TestEvidenceNamesTheGroupOfTheHost(t *testing.T) {
	w := grouped(t, provider.Config{}, nil)
	const tooFast = "421 4.7.28 Our system has detected an unusual rate of mail from your IP address"
	w.receiver("127.0.3.1", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Greeting, Reply: tooFast}}})
	w.receiver("127.0.3.2", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Reply: tooFast}}})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	w.domain("c.example", "mx2.big.example 127.0.3.2")
	w.domain("d.example", "mx1.big.example.evil.example 127.0.3.1")
	// Mixed: its own host says it, although the domain is in the group.
	w.domain("e.example", "mx.e.example 127.0.3.1", "mx3.big.example 127.0.3.9")
	for _, row := range []struct{ to, at, host, domain string }{
		{"x@b.example", "connect", "big", "big"}, {"x@c.example", "rcpt", "big", "big"}, {"x@d.example", "connect", "", provider.Other}, {"x@e.example", "connect", "", "big"},
	} {
		s := w.send(row.to)
		said := s.to[0].Said
		if s.to[0].Own != nil {
			said = s.to[0].Own.Said
		}
		if said == nil || said.At != row.at || said.Provider != row.host || s.to[0].Provider != row.domain || !strings.HasSuffix(row.to, said.Domain) {
			t.Errorf("%s: %+v in %q", row.to, said, s.to[0].Provider)
		}
	}
}

// TestUseIsToldByGroup: connections and transactions of each group and address of ours,
// and of all other hosts together, however many domains there are.
func TestUseIsToldByGroup(t *testing.T) {
	w := grouped(t, provider.Config{Connections: 2}, nil)
	w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	for i := range 12 {
		ip := fmt.Sprintf("127.0.4.%d", i+1)
		w.receiver(ip, smtptest.Options{})
		w.domain(fmt.Sprintf("d%d.example", i), fmt.Sprintf("mx.d%d.example %s", i, ip))
		if s := w.send(fmt.Sprintf("x@d%d.example", i)); s.codes() != "250 final 250" {
			t.Fatal(s)
		}
	}
	held := w.up.Begin(upstream.Route{SourceIPs: []netip.Addr{netip.MustParseAddr("127.0.0.9")}}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer held.Close()
	if r, err := held.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil); err != nil || r[0].Code != 250 {
		t.Fatal(r, err)
	}
	use := map[string]Lane{}
	for _, l := range w.up.Lanes() {
		use[l.Provider+" "+l.Source.String()] = l
	}
	if big := use["big 127.0.0.9"]; big.InUse != 1 || big.Open != 1 {
		t.Errorf("%+v", use)
	}
	if other := use["other invalid IP"]; other.InUse != 0 || other.Open != 12 || len(use) != 2 {
		t.Errorf("%+v", use)
	}
}
