package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func newTestResolver(t *testing.T, timeout time.Duration, servers ...string) *Resolver {
	t.Helper()
	r, err := NewResolver(ResolverOptions{Servers: servers, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestResolverTakesOnlyPlainAnswers(t *testing.T) {
	f := startFaulty(t)
	cases := []struct {
		how  string
		want state
		say  string // part of the error
	}{
		{"x-good", found, ""},
		{"x-nxdomain", noName, ""},
		{"x-empty", noData, ""},
		{"x-truncated", found, ""},
		{"x-truncated-nxdomain", noName, ""},
		{"x-noedns", found, ""},
		{"x-second", found, ""},
		{"x-servfail", fault, "SERVFAIL"},
		{"x-refused", fault, "REFUSED"},
		{"x-lame", fault, "lame"},
		{"x-lame-nxdomain", fault, "lame"},
		{"x-truncated-always", fault, "truncated"},
		{"x-truncated-hangup", fault, "truncated"},
		{"x-other-question", fault, "another question"},
		{"x-circle", fault, "circle"},
		{"x-chain", fault, "CNAMEs"},
		{"x-garbage", fault, ""},
		{"x-half", fault, ""},
	}
	for _, c := range cases {
		t.Run(c.how, func(t *testing.T) {
			r := newTestResolver(t, 10*time.Second, f.address)
			a := r.ask(t.Context(), c.how+".example", dns.TypeA)
			if a.state != c.want {
				t.Fatalf("state %d (%v), want %d", a.state, a.err, c.want)
			}
			if (a.err != nil) != (c.want == fault) || a.err != nil && !strings.Contains(a.err.Error(), c.say) {
				t.Errorf("error %v, want one with %q", a.err, c.say)
			}
		})
	}
}

func TestResolverGivesUpInTime(t *testing.T) {
	f := startFaulty(t)
	for _, how := range []string{"x-silent", "x-other-id"} {
		r := newTestResolver(t, 300*time.Millisecond, f.address)
		began := time.Now()
		if a := r.ask(t.Context(), how+".example", dns.TypeA); a.state != fault {
			t.Errorf("%s: state %d, want a fault", how, a.state)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s: gave up after %v", how, d)
		}
	}
}

func TestResolverAsksTheNextServer(t *testing.T) {
	f := startFaulty(t)
	dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	r := newTestResolver(t, 8*time.Second, dead, f.address)
	if a := r.ask(t.Context(), "x-good.example", dns.TypeA); a.state != found {
		t.Errorf("state %d (%v), want an answer of the second server", a.state, a.err)
	}
}

func TestResolverKeepsAnswersAsLongAsTheySay(t *testing.T) {
	f := startFaulty(t)
	var mu sync.Mutex
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	r, err := NewResolver(ResolverOptions{Servers: []string{f.address}, Timeout: 10 * time.Second, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ask := func(name string) { r.ask(t.Context(), name, dns.TypeA) }
	for range 3 {
		ask("x-good.example")
		ask("X-GOOD.example.")
	}
	if n := f.count("x-good.example."); n != 1 {
		t.Errorf("asked %d times within the TTL, want once", n)
	}
	mu.Lock()
	now = now.Add(61 * time.Second)
	mu.Unlock()
	ask("x-good.example")
	if n := f.count("x-good.example."); n != 2 {
		t.Errorf("asked %d times after the TTL, want twice", n)
	}
	r.askNow(t.Context(), "x-good.example", dns.TypeA)
	if n := f.count("x-good.example."); n != 3 {
		t.Errorf("askNow did not pass the cache: %d questions", n)
	}
}

func TestResolverAsksOnceForManyAtATime(t *testing.T) {
	f := startFaulty(t)
	r := newTestResolver(t, time.Second, f.address)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { r.ask(t.Context(), "x-silent.example", dns.TypeA) })
	}
	wg.Wait()
	if n := f.count("x-silent.example."); n > 4 {
		t.Errorf("%d questions on the wire, want at most the retries of one", n)
	}
}

func TestResolverStaysBounded(t *testing.T) {
	f := startFaulty(t)
	r := newTestResolver(t, 20*time.Second, f.address)
	for i := range maxCached + 500 {
		r.keep(question{fmt.Sprintf("n%d.example.", i), dns.TypeA}, answer{state: noName, ttl: time.Hour})
	}
	if n := len(r.cache); n > maxCached {
		t.Errorf("%d answers kept, want at most %d", n, maxCached)
	}
	for _, name := range []string{strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130), "a..b", ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if a := r.ask(ctx, name, dns.TypeA); name != "" && a.state != fault {
			t.Errorf("name %.20q was asked for: state %d", name, a.state)
		}
		cancel()
	}
}

func TestResolverSeesRewrittenNXDOMAIN(t *testing.T) {
	// A resolver that sells names that do not exist.
	address := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		ip := "198.51.100.99"
		if strings.HasPrefix(q.Question[0].Name, "real.") {
			ip = "192.0.2.1"
		}
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, record(q.Question[0].Name, dns.TypeA, 60, ip))
		}
		w.WriteMsg(m)
	})
	r := newTestResolver(t, 10*time.Second, address)
	r.probe(t.Context())
	if !r.rewrites() {
		t.Fatal("the rewriting was not seen")
	}
	if a := r.ask(t.Context(), "gone.example", dns.TypeA); a.state != fault {
		t.Errorf("a rewritten answer has state %d, want a fault", a.state)
	}
	if a := r.ask(t.Context(), "real.example", dns.TypeA); a.state != found {
		t.Errorf("a real answer has state %d (%v)", a.state, a.err)
	}
	if v := NewChecker(r).Look(t.Context(), "gone.example"); v != TakesMail {
		t.Errorf("a domain was refused (%d) on the word of a resolver that lies", v)
	}
}

// serve runs a DNS server with one handler.
func serve(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	ready, done := make(chan struct{}), make(chan struct{})
	s := &dns.Server{Addr: address, Net: "udp", Handler: h, NotifyStartedFunc: func() { close(ready) }}
	go func() { defer close(done); s.ListenAndServe() }()
	<-ready
	t.Cleanup(func() { s.Shutdown(); <-done })
	return address
}

func TestSystemServersComeFromResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search x\nnameserver 192.0.2.53\nnameserver here\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := systemServers(file); !slices.Equal(got, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) {
		t.Errorf("got %v", got)
	}
	none := serverList{file: file + ".missing", now: time.Now}
	if got, _ := none.get(); !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("without a file: %v", got)
	}
	if _, err := NewResolver(ResolverOptions{Servers: []string{"dns.example"}}); err == nil {
		t.Error("a resolver by name was taken")
	}
}

func TestLookupHostGivesBothFamilies(t *testing.T) {
	server := startKnot(t, map[string]string{"example": "a A 192.0.2.1\na AAAA 2001:db8::1\nb CNAME a\nt TXT x\n"})
	r := newTestResolver(t, 10*time.Second, server)
	for _, name := range []string{"a.example", "b.example"} {
		got, err := r.LookupHost(t.Context(), name)
		slices.SortFunc(got, netip.Addr.Compare)
		if fmt.Sprint(got) != "[192.0.2.1 2001:db8::1]" || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"t.example", "gone.example"} {
		if got, err := r.LookupHost(t.Context(), name); err == nil {
			t.Errorf("%s: %v without an error", name, got)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", `\`, `\1`, `\12`, `\123x`, `\"`, `a\\b`, `\999`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(s); len(got) > len(s) {
			t.Errorf("%q became longer: %q", s, got)
		}
	})
}
