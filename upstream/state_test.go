package upstream

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.b.String()), "\n")
}

// logged is newUpstream with a log, and probes every so often.
func logged(t *testing.T, cfg Config, every time.Duration) (*Upstream, *logBuffer) {
	t.Helper()
	l := new(logBuffer)
	u := newUpstream(t, cfg)
	u.opt.Log = slog.New(slog.NewTextHandler(l, nil))
	for _, h := range u.hosts {
		h.probeEvery = every
	}
	return u, l
}

// until waits for a state of the first host.
func until(t *testing.T, u *Upstream, what string, is func(HostState) bool) HostState {
	t.Helper()
	for end := time.Now().Add(long); ; time.Sleep(time.Millisecond) {
		if s := u.Hosts()[0]; is(s) {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("not %s: %+v", what, u.Hosts()[0])
		}
	}
}

func isUp(s HostState) bool { return s.Up }

func TestHostNobodyUsedIsUp(t *testing.T) {
	u := newUpstream(t, testConfig("127.0.0.1:1"))
	if s := u.Hosts(); len(s) != 1 || s[0] != (HostState{Host: "127.0.0.1:1", Up: true, Max: 50}) {
		t.Errorf("got %+v", s)
	}
	if c := newUpstream(t, Config{Capture: t.TempDir()}); len(c.Hosts()) != 0 {
		t.Errorf("a capture has hosts: %+v", c.Hosts())
	}
}

// TestDownHostIsProbedWithoutMail sees a host go down by each kind of failure,
// and come back by a probe that sends no mail.
func TestDownHostIsProbedWithoutMail(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  smtptest.Fault
		refuse bool
		cause  string
	}{
		"nothing listens":       {smtptest.Fault{}, true, "refused"},
		"greeting 4yz":          {smtptest.Fault{Stage: smtptest.Greeting, Reply: "421 4.3.2 busy"}, false, "busy"},
		"greeting 5yz":          {smtptest.Fault{Stage: smtptest.Greeting, Reply: "554 5.3.2 no"}, false, "554"},
		"EHLO 4yz":              {smtptest.Fault{Stage: smtptest.Hello, Reply: "451 4.3.2 busy"}, false, "EHLO"},
		"hangs up at once":      {smtptest.Fault{Stage: smtptest.Greeting, Drop: smtptest.DropBefore}, false, "greeting"},
		"TLS handshake dropped": {smtptest.Fault{Stage: smtptest.Handshake, Drop: smtptest.DropBefore}, false, "TLS"},
		"credentials refused":   {smtptest.Fault{Stage: smtptest.Auth, Reply: "535 5.7.8 secret text"}, false, "credentials refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.fault
			f.Times = 2 // the mail's try and the first probe
			opt := smtptest.Options{Offer: []string{"STARTTLS", "AUTH PLAIN"}, Users: map[string]string{"u": "secret"}}
			if !tc.refuse {
				opt.Faults = []smtptest.Fault{f}
			}
			s := smtptest.Start(t, opt)
			cfg := testConfig(s.Addr())
			cfg.TLS, cfg.Username, cfg.Password, cfg.RetryAfter = EncryptRequired, "u", "secret", time.Nanosecond
			u, l := logged(t, cfg, 20*time.Millisecond)
			s.Refuse(tc.refuse)
			if r := deliver(t, u, "b@b.example"); r.err == nil {
				t.Fatalf("got %v", r)
			}
			down := until(t, u, "down", func(s HostState) bool { return !s.Up })
			if !strings.Contains(down.LastError, tc.cause) || strings.Contains(down.LastError, "secret") || down.Since.IsZero() || !down.LastSuccess.IsZero() {
				t.Errorf("down: %+v", down)
			}
			s.Refuse(false)
			up := until(t, u, "up", isUp)
			if up.LastSuccess.IsZero() || !up.Since.After(down.Since) || up.LastError == "" {
				t.Errorf("up: %+v", up)
			}
			s.WaitOpen(t.Context(), 0)
			for _, c := range s.Commands() {
				if strings.Contains(c, "MAIL") {
					t.Errorf("a probe sent %q", c)
				}
			}
			if cs := s.Commands(); !strings.HasSuffix(cs[len(cs)-1], "QUIT") {
				t.Errorf("the last command is %q", cs[len(cs)-1])
			}
			if lines := l.lines(); len(lines) != 2 || !strings.Contains(lines[0], "upstream host is down") || !strings.Contains(lines[1], "up again") {
				t.Errorf("log %q", lines)
			}
		})
	}
}

func TestMailBringsAHostUp(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{})
	u, l := logged(t, testConfig(s.Addr()), time.Hour)
	s.Refuse(true)
	for range 3 {
		deliver(t, u, "b@b.example")
	}
	s.Refuse(false)
	if r := deliver(t, u, "b@b.example"); r.err != nil || !u.Hosts()[0].Up {
		t.Errorf("got %v, %+v", r, u.Hosts()[0])
	}
	if lines := l.lines(); len(lines) != 2 {
		t.Errorf("log %q", lines)
	}
}

func TestHostThatTakesNoMoreConnectionsIsUp(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Greeting, After: 1, Reply: "421 4.7.0 too many connections"}}})
	u, l := logged(t, testConfig(s.Addr()), time.Hour)
	holder := u.Begin(Route{}, &mail.Envelope{})
	if _, err := holder.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
		t.Fatal(err)
	}
	if r := deliver(t, u, "b@b.example"); r.err == nil {
		t.Fatalf("got %v", r)
	}
	if st := u.Hosts()[0]; !st.Up || st.LastError == "" || len(l.b.Bytes()) > 0 {
		t.Errorf("got %+v", st)
	}
	holder.Close()
	if r := deliver(t, u, "b@b.example"); r.err != nil {
		t.Error(r)
	}
}

// TestDeadHostWithIdleConnectionsIsDown: connections that the host has closed
// do not speak for it.
func TestDeadHostWithIdleConnectionsIsDown(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{})
	u, _ := logged(t, testConfig(s.Addr()), time.Hour)
	var all []*Transaction
	for range 5 {
		tx := u.Begin(Route{}, &mail.Envelope{})
		if _, err := tx.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
			t.Fatal(err)
		}
		all = append(all, tx)
	}
	for _, tx := range all {
		tx.Close()
	}
	s.Refuse(true)
	s.DropAll()
	s.WaitOpen(t.Context(), 0)
	time.Sleep(2 * justUsed)
	if r := deliver(t, u, "b@b.example"); r.err == nil {
		t.Fatalf("got %v", r)
	}
	if st := u.Hosts()[0]; st.Up || st.LastSuccess.IsZero() {
		t.Errorf("got %+v", st)
	}
	if h := u.hosts[0]; h.open != 0 || len(h.idle) != 0 || len(h.all) != 0 {
		t.Errorf("pool: open %d, idle %d, all %d", h.open, len(h.idle), len(h.all))
	}
}

func TestOurOwnTroubleIsNoFailureOfTheHost(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{})
	u, _ := logged(t, testConfig(s.Addr()), time.Hour)
	send(t.Context(), u, Route{SourceIPs: ips("192.0.2.1")}, mail.Envelope{}, Content{}, recipients("b@b.example")...)
	if st := u.Hosts()[0]; !st.Up || st.LastError != "" {
		t.Errorf("got %+v", st)
	}
}

func TestRefusedCredentialsAreTriedLessAndLess(t *testing.T) {
	u, _ := logged(t, testConfig("127.0.0.1:1"), time.Minute)
	h := u.hosts[0]
	h.mu.Lock()
	defer h.mu.Unlock()
	var waits []time.Duration
	for range 5 {
		h.scheduleProbe(true)
		h.health.probe.Stop()
		h.health.probe = nil
		waits = append(waits, h.health.wait/time.Minute)
	}
	if got := waits; got[0] != 2 || got[1] != 4 || got[2] != 5 || got[4] != 5 {
		t.Errorf("waits of %v minutes", got)
	}
	h.scheduleProbe(false)
	if h.health.wait != 0 {
		t.Error("another failure does not end the doubling")
	}
}

func TestCloseEndsAProbe(t *testing.T) {
	gate := smtptest.NewGate()
	s := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{
		{Stage: smtptest.Greeting, Times: 1, Reply: "421 4.3.2 busy"}, {Stage: smtptest.Greeting, Gate: gate},
	}})
	u, _ := logged(t, testConfig(s.Addr()), time.Millisecond)
	deliver(t, u, "b@b.example")
	<-gate.Reached()
	begun := time.Now()
	if err := u.Close(t.Context()); err != nil || time.Since(begun) > long/2 {
		t.Errorf("Close: %v after %v", err, time.Since(begun))
	}
}
