package relay

import (
	"context"
	"encoding/base64"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/smtptest"
	"postern/mail"
	"postern/relay/smtpd"
)

// shutdown stops the server and returns a channel with the number of sessions
// that had to be cut off. The bound is that of cancel.
func (r *rig) shutdown() (cut chan int, cancel context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cut = make(chan int, 1)
	go func() { cut <- r.server.Shutdown(ctx) }()
	return cut, cancel
}

func within[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(60 * time.Second):
		t.Fatal("nothing came within a minute")
	}
	return v
}

// Whoever waits outside of a transaction is told 421 at once; a transaction
// that has begun ends first.
func TestStopLetsTransactionsFinish(t *testing.T) {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSOptional
	r.auth.Failures = 20
	fresh, greeted, busy, chunked := r.dial(), r.dial(), r.dial(), r.dial()
	greeted.say("EHLO x", "250")
	tlsPeer := r.dial()
	tlsPeer.say("EHLO x", "250")
	tlsPeer.say("STARTTLS", "220")
	tlsPeer.startTLS(r.clientTLS(false))
	tlsPeer.say("EHLO x", "250")
	auth := r.dial()
	auth.say("EHLO x", "250")
	auth.say("AUTH LOGIN", "334")
	busy.open("b@dest.example")
	busy.send("From: a@example.org\r\n")
	chunked.envelope("b@dest.example")
	chunked.say("BDAT 23\r\nFrom: a@example.org\r\n", "250")

	cut, cancel := r.shutdown()
	defer cancel()
	for name, p := range map[string]*peer{"fresh": fresh, "greeted": greeted, "under TLS": tlsPeer, "within AUTH": auth} {
		if got := p.reply(); got != "421 4.3.2 relay.test is shutting down, try again in a moment" {
			t.Errorf("%s: %q", name, got)
		}
		p.closed()
	}
	busy.send("\r\nx\r\n.\r\n")
	busy.want("250")
	busy.want("421 4.3.2")
	busy.closed()
	chunked.send("BDAT 3 LAST\r\nx\r\n")
	chunked.want("250")
	chunked.want("421 4.3.2")
	if n := within(t, cut); n != 0 {
		t.Errorf("%d sessions were cut off", n)
	}
	if n := r.up.Taken(); n != 2 {
		t.Errorf("%d messages arrived, want 2", n)
	}
}

// What has not finished in time is cut off, told so where it can be, accounted
// for and given back.
func TestStopCutsOffWhatDoesNotFinish(t *testing.T) {
	r := newRig(t)
	r.set("", "limit.sender.per sender")
	r.set("", "limit.sender.messages 2/1h")
	inData, between := r.dial(), r.dial()
	inData.open("b@dest.example")
	inData.send("From: a@example.org\r\n")
	between.envelope("b@dest.example")
	cut, cancel := r.shutdown()
	cancel()
	inData.want("421 4.3.2")
	between.want("421 4.3.2")
	if n := within(t, cut); n != 2 {
		t.Errorf("%d sessions were cut off, want 2", n)
	}
	for i := range 2 {
		if e := r.events.wait(t, i); e.Outcome != mail.Aborted || e.Limits[0].Used == 0 {
			t.Errorf("event %+v", e)
		}
	}
	if n := r.up.Taken(); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
	a := r.server.limiter.Begin(r.facts())
	for range 2 { // both were given back
		if v := a.Recipients(t.Context(), r.recipients("b@dest.example"), nil); !v[0].OK {
			t.Errorf("not given back: %+v", v[0])
		}
	}
	a.End()
}

// A client that reads nothing, a handshake, a PROXY header and an upstream that
// stalls do not hold a stop up.
func TestStopWaitsForNobody(t *testing.T) {
	gate := smtptest.NewGate()
	for _, c := range []struct {
		name string
		set  []string
		do   func(r *rig)
	}{
		{"TLS handshake", []string{"listener.tls implicit"}, func(r *rig) { r.connect() }},
		{"PROXY header", []string{"listener.proxy_protocol_from 127.0.0.1/32"}, func(r *rig) { r.connect().send("PROXY") }},
		{"wrong password", []string{"auth.delay 10s", "auth.max_delay 10s"}, func(r *rig) {
			p := r.dial()
			p.say("EHLO x", "250")
			p.send("AUTH PLAIN AHNob3AAd3Jvbmc=\r\n")
			r.events.wait(r.t, 0)
		}},
		{"upstream stalls", nil, func(r *rig) {
			r.up.SetFaults(smtptest.Fault{Stage: smtptest.Dot, Gate: gate})
			p := r.dial()
			p.open("b@dest.example")
			p.send(plainMail)
			<-gate.Reached()
		}},
		{"reads nothing", []string{"timeouts.write 10m", "session.idle_commands 10000000"}, func(r *rig) {
			p := r.dial()
			p.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			group := []byte(strings.Repeat("VRFY x\r\n", 1000))
			for err := error(nil); err == nil; _, err = p.conn.Write(group) { // until nobody reads them
				p.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			}
		}},
		{"lingering", nil, func(r *rig) {
			p := r.dial()
			p.open("b@dest.example")
			p.send("x\n.\n")
			p.want("550")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			for _, line := range c.set {
				r.set("", line)
			}
			r.start()
			c.do(r)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			done := make(chan int, 1)
			go func() { done <- r.server.Shutdown(ctx) }()
			within(t, done)
			if n := r.server.Connections(); n != 0 {
				t.Errorf("%d connections are open", n)
			}
		})
	}
}

// A connection that comes while the relay stops is told so.
func TestStoppedServerServesNobody(t *testing.T) {
	r := newRig(t)
	r.start()
	cut, cancel := r.shutdown()
	defer cancel()
	within(t, cut)
	lis, err := smtpd.Listen("late", r.listener)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.server.Serve(t.Context(), lis); err != smtpd.ErrStopped {
		t.Errorf("Serve: %v", err)
	}
}

// A reload holds for the next transaction, the one that has begun ends by the
// old rules.
// TestReloadEndsALeakedPassword: a session that an old password let in may send
// nothing more once the operator has changed it or disabled the user.
func TestReloadEndsALeakedPassword(t *testing.T) {
	const other = "$2a$04$abcdefghijklmnopqrstuuMuGcRtb4MjEplcfhHSFQa8uYCZ7Vo3u"
	for _, c := range []struct {
		name string
		user auth.UserConfig
		want string
	}{
		{"the same password", auth.UserConfig{Password: shopHash}, "250"},
		{"another password", auth.UserConfig{Password: other}, "530 5.7.0"},
		{"disabled", auth.UserConfig{Password: shopHash, Disabled: true}, "530 5.7.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			delete(r.clients, "corporate")
			p := r.dial()
			p.say("EHLO x", "250")
			p.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00shop\x00secret")), "235")
			p.say("MAIL FROM:<orders@shop.example>", "250")
			p.say("RSET", "250")
			next := *r.server.snapshot()
			var err error
			if next.Auth, err = auth.New(map[string]auth.UserConfig{"shop": c.user}, r.auth, time.Now, nil); err != nil {
				t.Fatal(err)
			}
			r.server.Reload(&next)
			p.say("MAIL FROM:<orders@shop.example>", c.want)
		})
	}
}

func TestReloadHoldsForTheNextTransaction(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.open("b@dest.example")
	old := r.server.snapshot()
	c := r.clients["corporate"]
	c.Senders = []string{"a@example.org", "@other.example"}
	r.clients["corporate"] = c
	next := r.snapshot()
	next.Routes = old.Routes
	next.Message.MaxSize = 100 << 10
	r.server.Reload(next)
	p.send(plainMail)
	p.want("250")
	p.say("MAIL FROM:<b@example.org>", "553 5.7.1")
	if got := p.say("EHLO x", "250"); !strings.Contains(got, "SIZE 102400") {
		t.Errorf("EHLO: %q", got)
	}
	p.say("MAIL FROM:<a@other.example>", "250")
}
