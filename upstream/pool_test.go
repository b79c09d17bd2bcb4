package upstream

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
)

func TestConnectionsAreKeptAndShared(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	for range 20 {
		deliver(t, u, "b@b.example")
	}
	if s.Taken() != 20 || s.Accepted() != 1 {
		t.Errorf("%d messages over %d connections", s.Taken(), s.Accepted())
	}
	for _, m := range s.Messages() {
		if m.EHLO != "relay.example" {
			t.Errorf("EHLO %q", m.EHLO)
		}
	}
}

func TestRoutesDoNotShareConnections(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	routes := []Route{
		{}, {EHLO: "a.example"}, {EHLO: "b.example"},
		{SourceIPs: ips("127.0.0.2")}, {SourceIPs: ips("127.0.0.3", "::1"), EHLO: "a.example"},
		{SourceIPs: ips("::1", "127.0.0.4")}, {SourceIPs: ips("::1", "::2", "127.0.0.5")},
	}
	for range 2 {
		for _, rt := range routes {
			if r := send(t.Context(), u, rt, mail.Envelope{}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...); r.err != nil {
				t.Fatal(r)
			}
		}
	}
	if s.Accepted() != len(routes) {
		t.Errorf("%d connections, want %d", s.Accepted(), len(routes))
	}
	for i, m := range s.Messages() {
		rt := routes[i%len(routes)]
		ehlo, source := rt.EHLO, "127.0.0.1"
		if ehlo == "" {
			ehlo = "relay.example"
		}
		for _, a := range rt.SourceIPs {
			if a.Is4() {
				source = a.String()
			}
		}
		if m.EHLO != ehlo || m.Remote.Addr().String() != source {
			t.Errorf("message %d came from %v as %q, want %s as %q", i, m.Remote, m.EHLO, source, ehlo)
		}
	}
}

func ips(texts ...string) (a []netip.Addr) {
	for _, s := range texts {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func TestSourceAddressIsNeverReplaced(t *testing.T) {
	for name, sources := range map[string][]netip.Addr{
		"not ours":          ips("192.0.2.1"),
		"of another family": ips("2001:db8::25"),
	} {
		t.Run(name, func(t *testing.T) {
			u, s := start(t, smtptest.Options{}, nil)
			r := send(t.Context(), u, Route{SourceIPs: sources}, mail.Envelope{}, Content{}, recipients("b@b.example")...)
			if !errors.Is(r.err, ErrSource) {
				t.Errorf("got %v", r)
			}
			if s.Accepted() != 0 {
				t.Error("connected")
			}
			// Other streams are not drawn in.
			if u.hosts[0].failing(time.Now()) {
				t.Error("host counts as failing")
			}
		})
	}
}

func TestSeveralSourcesOfOneFamilyTakeTurns(t *testing.T) {
	u, s := start(t, smtptest.Options{}, func(c *Config) { c.MessagesPerConnection = 1 })
	rt := Route{SourceIPs: ips("127.0.0.2", "127.0.0.3", "127.0.0.4")}
	for range 6 {
		send(t.Context(), u, rt, mail.Envelope{}, Content{}, recipients("b@b.example")...)
	}
	seen := map[string]int{}
	for _, m := range s.Messages() {
		seen[m.Remote.Addr().String()]++
	}
	if len(seen) != 3 || seen["127.0.0.2"] != 2 {
		t.Errorf("sources %v", seen)
	}
}

func TestLimitsOfAConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(*Config)
		want int // connections for four messages
	}{
		"messages": {func(c *Config) { c.MessagesPerConnection = 2 }, 2},
		"lifetime": {func(c *Config) { c.MaxLifetime = time.Nanosecond }, 4},
		"idle":     {func(c *Config) { c.IdleTimeout = time.Nanosecond }, 4},
	} {
		u, s := start(t, smtptest.Options{}, tc.set)
		for range 4 {
			if r := deliver(t, u, "b@b.example"); r.err != nil {
				t.Fatal(r)
			}
		}
		if s.Accepted() != tc.want {
			t.Errorf("%s: %d connections, want %d", name, s.Accepted(), tc.want)
		}
	}
}

func TestIdleConnectionsAreClosedWithQUIT(t *testing.T) {
	u, s := start(t, smtptest.Options{}, func(c *Config) { c.IdleTimeout = 10 * time.Millisecond })
	deliver(t, u, "b@b.example")
	if err := s.WaitOpen(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if cs := s.Commands(); cs[len(cs)-1] != "1 QUIT" {
		t.Errorf("commands %q", cs)
	}
	if r := deliver(t, u, "b@b.example"); r.err != nil {
		t.Error(r)
	}
}

func TestMaxConnectionsHoldsAndQueues(t *testing.T) {
	gate := smtptest.NewGate()
	u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Dot, Gate: gate}}}, func(c *Config) { c.MaxConnections = 2 })
	var wg sync.WaitGroup
	results := make([]result, 20)
	for i := range results {
		wg.Go(func() {
			rt := Route{EHLO: []string{"a.example", "b.example", "c.example"}[i%3]}
			results[i] = send(t.Context(), u, rt, mail.Envelope{}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...)
		})
	}
	<-gate.Reached()
	if n := s.Open(); n > 2 {
		t.Errorf("%d connections open", n)
	}
	gate.Release()
	wg.Wait()
	for _, r := range results {
		if r.codes() != "250 final 250" {
			t.Errorf("got %v", r)
		}
	}
	h := u.hosts[0]
	if s.Taken() != 20 || h.open > 2 || len(h.waiting) != 0 || len(h.idle) != h.open || len(h.all) != h.open {
		t.Errorf("%d taken; pool: open %d, waiting %d, idle %d, all %d", s.Taken(), h.open, len(h.waiting), len(h.idle), len(h.all))
	}
}

func TestWaitForAConnectionIsBounded(t *testing.T) {
	u, _ := start(t, smtptest.Options{}, func(c *Config) { c.MaxConnections, c.WaitTimeout = 1, 20*time.Millisecond })
	holder := u.Begin(Route{}, &mail.Envelope{})
	if _, err := holder.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
		t.Fatal(err)
	}
	if r := deliver(t, u, "b@b.example"); !errors.Is(r.err, ErrBusy) {
		t.Errorf("got %v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := send(ctx, u, Route{}, mail.Envelope{}, Content{}, recipients("b@b.example")...); !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %v", r)
	}
	holder.Close()
	if r := deliver(t, u, "b@b.example"); r.err != nil {
		t.Error(r)
	}
}

func TestPoolLosesNoSlotUnderFire(t *testing.T) {
	u, s := start(t, smtptest.Options{}, func(c *Config) { c.MaxConnections, c.WaitTimeout = 3, time.Millisecond })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(j%7)*time.Millisecond)
				rt := Route{EHLO: []string{"a.example", "b.example"}[(i+j)%2]}
				send(ctx, u, rt, mail.Envelope{}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...)
				cancel()
				if j%20 == 0 {
					s.DropAll()
				}
			}
		})
	}
	wg.Wait()
	h := u.hosts[0]
	if len(h.waiting) != 0 || len(h.idle) != h.open || len(h.all) != h.open {
		t.Errorf("pool: open %d, waiting %d, idle %d, all %d", h.open, len(h.waiting), len(h.idle), len(h.all))
	}
	s.DropAll()
	s.WaitOpen(t.Context(), 0)
	if r := deliver(t, u, "b@b.example"); r.err != nil {
		t.Error(r)
	}
}

func twoHosts(t *testing.T, first smtptest.Options, set func(*Config)) (u *Upstream, a, b *smtptest.Server) {
	t.Helper()
	a, b = smtptest.Start(t, first), smtptest.Start(t, smtptest.Options{})
	cfg := testConfig(a.Addr(), b.Addr())
	if set != nil {
		set(&cfg)
	}
	return newUpstream(t, cfg), a, b
}

func TestNextHostStandsIn(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"greeting 421":     {Stage: smtptest.Greeting, Reply: "421 4.3.2 busy"},
		"greeting 554":     {Stage: smtptest.Greeting, Reply: "554 5.3.2 no"},
		"EHLO 451":         {Stage: smtptest.Hello, Reply: "451 4.3.2 busy"},
		"greeting dropped": {Stage: smtptest.Greeting, Drop: smtptest.DropBefore},
		"refused":          {},
	} {
		t.Run(name, func(t *testing.T) {
			u, a, b := twoHosts(t, smtptest.Options{Faults: []smtptest.Fault{f}}, nil)
			if name == "refused" {
				a.Refuse(true)
			}
			for range 2 {
				if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" {
					t.Fatal(r)
				}
			}
			if b.Taken() != 2 || a.Accepted() > 1 {
				t.Errorf("second host took %d; first was asked %d times", b.Taken(), a.Accepted())
			}
		})
	}
}

func TestFailedHostIsAskedAgainLater(t *testing.T) {
	u, a, b := twoHosts(t, smtptest.Options{}, func(c *Config) { c.RetryAfter = time.Nanosecond })
	a.Refuse(true)
	deliver(t, u, "b@b.example")
	a.Refuse(false)
	deliver(t, u, "b@b.example")
	if a.Taken() != 1 || b.Taken() != 1 {
		t.Errorf("first took %d, second %d", a.Taken(), b.Taken())
	}
}

func TestStalledHostIsAskedLast(t *testing.T) {
	gate := smtptest.NewGate()
	u, a, b := twoHosts(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Mail, Gate: gate}}}, func(c *Config) { c.CommandTimeout = short })
	if r := deliver(t, u, "b@b.example"); r.err == nil {
		t.Error(r)
	}
	if !u.hosts[0].failing(time.Now()) {
		t.Error("a stall does not count")
	}
	u.hosts[1].cfg.CommandTimeout = long
	if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" || b.Taken() != 1 || a.Taken() != 0 {
		t.Errorf("got %v", r)
	}
}

func TestRefusalOfMailDoesNotTryTheNextHost(t *testing.T) {
	u, _, b := twoHosts(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Mail, Reply: "450 4.7.1 later"}}}, nil)
	if r := deliver(t, u, "b@b.example"); r.codes() != "450" || b.Accepted() != 0 {
		t.Errorf("got %v; second host was asked %d times", r, b.Accepted())
	}
}

func TestEveryAddressOfAHostIsTried(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{})
	port := s.Addr()[strings.LastIndex(s.Addr(), ":"):]
	u, err := New("test", testConfig("smtp.example"+port), Options{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "smtp.example" {
			return nil, errors.New("no such host")
		}
		return ips("127.0.0.9", "::1", "::ffff:127.0.0.1"), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close(t.Context())
	r := send(t.Context(), u, Route{}, mail.Envelope{}, Content{}, recipients("b@b.example")...)
	if r.codes() != "250 final 250" || s.Messages()[0].EHLO != "[127.0.0.1]" {
		t.Errorf("got %v", r)
	}
}

func TestUnresolvableHostIsAFault(t *testing.T) {
	u, err := New("test", testConfig("smtp.example"), Options{Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if r := deliver(t, u, "b@b.example"); r.err == nil || !strings.Contains(r.err.Error(), "resolve smtp.example") {
		t.Errorf("got %v", r)
	}
}

func TestCloseWaitsForTransactions(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	deliver(t, u, "b@b.example") // leaves an idle connection
	tx := u.Begin(Route{}, &mail.Envelope{})
	if _, err := tx.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- u.Close(t.Context()) }()
	for !draining(u) {
		time.Sleep(time.Millisecond)
	}
	if r := deliver(t, u, "late@b.example"); r.err != nil {
		t.Errorf("during Close: %v", r)
	}
	if r, err := tx.Send(t.Context(), Content{}); err != nil || r.Code != 250 {
		t.Errorf("got %v, %v", r, err)
	}
	tx.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := s.WaitOpen(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if r := deliver(t, u, "b@b.example"); !errors.Is(r.err, ErrClosed) {
		t.Errorf("after Close: %v", r)
	}
	if err := u.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func draining(u *Upstream) bool {
	u.hosts[0].mu.Lock()
	defer u.hosts[0].mu.Unlock()
	return u.hosts[0].draining
}

func TestCloseCutsOffWhatDoesNotEnd(t *testing.T) {
	gate := smtptest.NewGate()
	u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Dot, Gate: gate}}}, func(c *Config) { c.MaxConnections = 1 })
	done := make(chan result, 2)
	go func() { done <- deliver(t, u, "b@b.example") }()
	<-gate.Reached()
	go func() { done <- deliver(t, u, "c@b.example") }() // waits for a connection
	for waiting(u) == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	a, b := <-done, <-done
	if a.err == nil || b.err == nil || errors.Is(a.err, ErrUnknownOutcome) == errors.Is(b.err, ErrUnknownOutcome) {
		t.Errorf("got %v and %v", a, b)
	}
}

func waiting(u *Upstream) int {
	u.hosts[0].mu.Lock()
	defer u.hosts[0].mu.Unlock()
	return len(u.hosts[0].waiting)
}
