package relay

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/relay/smtpd"
)

// TestPreparedTransactionsDeliverNothing: many transactions are taken as far as
// they go while all is well, and go on when their sender is stopped.
func TestPreparedTransactionsDeliverNothing(t *testing.T) {
	const sessions, recipients = 120, 100
	for _, c := range []struct {
		name string
		stop []string
		want string
	}{
		{"suspended", []string{"hook.suspended sender <a@example.org> 1h"}, "450 4.7.1"},
		{"client gone", []string{"client.corporate.networks 192.0.2.0/28"}, "450 4.7.1"},
		{"limit of nothing", []string{"limit.sender.messages 0/1h"}, "450 4.7.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			delete(r.clients, "shop")
			r.set("", "limit.sender.per sender")
			r.set("", "limit.sender.messages 1000000/1h")
			r.listener.MaxConnections, r.listener.MaxConnectionsPerIP = 2*sessions, sessions+1
			r.upConfig.MaxConnections = 10
			r.upConfig.WaitTimeout = time.Minute
			r.timeouts.Park = 10 * time.Millisecond
			all := make([]*peer, sessions)
			for i := range all {
				all[i] = r.dial()
				all[i].say("EHLO x", "250")
				all[i].say("MAIL FROM:<a@example.org>", "250")
				if i%4 == 1 { // as far as RCPT
					all[i].say("RCPT TO:<b@dest.example>", "250")
				}
			}
			r.reload("", c.stop...)
			var wg sync.WaitGroup
			for i, p := range all {
				wg.Go(func() {
					if i%4 != 1 {
						var b strings.Builder
						for n := range recipients {
							fmt.Fprintf(&b, "RCPT TO:<b%d@dest.example>\r\n", n)
						}
						p.send(b.String())
						for range recipients {
							p.want(c.want)
						}
					}
					if i%2 == 0 {
						p.send("BDAT 28 LAST\r\nFrom: a@example.org\r\n\r\nabc\r\n")
					} else {
						p.send("DATA\r\n")
					}
					p.want("450 4.")
				})
			}
			wg.Wait()
			if got := r.up.Messages(); len(got) > 0 {
				t.Errorf("%d messages delivered after the alarm", len(got))
			}
			for _, p := range all {
				p.conn.Close()
			}
			for i := range sessions {
				if e := r.events.wait(t, i); e.Outcome == "relayed" || e.Rule == "" || e.Stage != "rcpt" && e.Stage != "data" {
					t.Errorf("event %+v", *e)
				}
			}
		})
	}
}

// TestGateBehindTheWaitForTheUpstream: a message that has passed the gate and then
// waits for its upstream connection stands at the gate again when its turn comes.
func TestGateBehindTheWaitForTheUpstream(t *testing.T) {
	r := newRig(t)
	r.timeouts.Park = 20 * time.Millisecond
	r.upConfig.MaxConnections, r.upConfig.WaitTimeout = 1, time.Minute
	busy := smtptest.NewGate()
	r.faults = []smtptest.Fault{{Stage: smtptest.Dot, Times: 1, Gate: busy, Reply: "250 2.0.0 first"}}
	passed := make(chan struct{})
	var slow atomic.Pointer[string]
	var calls atomic.Int64
	r.hooks.Admit = func(id, _, _, _, _ string, _ mail.Identity, _ int) Suspension {
		if at := slow.Load(); at != nil && *at != id {
			return Suspension{}
		}
		slow.CompareAndSwap(nil, &id)
		switch calls.Add(1) {
		case 1, 2: // RCPT, DATA
			return Suspension{}
		case 3: // behind the message
			close(passed)
			return Suspension{}
		}
		return Suspension{Scope: "sender", Name: "<a@example.org>", Left: time.Hour}
	}
	p := r.dial()
	p.open("b@dest.example")
	q := r.dial()
	q.envelope("c@dest.example") // takes the connection that p's dawdling gives back
	q.say("DATA", "354")
	q.send("From: a@example.org\r\n\r\nsecond\r\n.\r\n")
	<-busy.Reached()
	p.send(plainMail)
	<-passed
	busy.Release()
	p.want("450 4.7.1 <a@example.org>: suspended")
	q.want("250 2.0.0 first")
	if got := r.up.Messages(); len(got) != 1 {
		t.Errorf("%d messages at the upstream, want that of the other session", len(got))
	}
	if e := r.events.wait(t, 1); e.Stage != "forward" || e.Rule != "outlier sender" {
		t.Errorf("event %+v", *e)
	}
}

// TestGateBehindTheLateQuestion: so does the verdict on a recipient who was taken without
// asking, since he had another message.
func TestGateBehindTheLateQuestion(t *testing.T) {
	r := newRig(t)
	r.mx("test", "b.example")
	r.mx("test", "c.example dot times=1 451 4.7.1 later")
	var second atomic.Bool
	var calls atomic.Int64
	r.hooks.Admit = func(_, _, _, _, _ string, _ mail.Identity, _ int) Suspension {
		if !second.Load() || calls.Add(1) <= 3 { // RCPT, DATA, behind the message
			return Suspension{}
		}
		return Suspension{Scope: "sender", Name: "<a@example.org>", Left: time.Hour}
	}
	p := r.dial()
	p.envelope("x@b.example", "x@c.example")
	p.say("DATA", "354")
	p.send("From: a@example.org\r\n\r\nfirst\r\n.\r\n")
	p.want("451 4.5.3")
	second.Store(true)
	p.say("MAIL FROM:<a@example.org>", "250")
	p.say("RCPT TO:<x@b.example>", "250 2.1.5 recipient ok, a message for it was taken before")
	p.say("DATA", "354")
	p.send("From: a@example.org\r\n\r\nsecond\r\n.\r\n")
	p.want("450 4.7.1 <a@example.org>: suspended")
	if got := r.world.receivers["b.example"].Messages(); len(got) != 1 {
		t.Errorf("%d messages at the receiver, want the first alone", len(got))
	}
}

// TestClientCertificateIsLookedAtAgain: a session outlives neither the authority
// of its certificate nor the certificate.
func TestClientCertificateIsLookedAtAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		after func(r *rig)
		want  string
	}{
		{"nothing has changed", func(r *rig) { r.reload("") }, "354"},
		{"the same authority in another file", func(r *rig) {
			r.listener.ClientCA = r.ca.WriteFile(r.t, r.t.TempDir())
			r.reload("")
		}, "354"},
		{"another authority", func(r *rig) {
			other, err := smtptest.NewCA()
			if err != nil {
				r.t.Fatal(err)
			}
			r.listener.ClientCA = other.WriteFile(r.t, r.t.TempDir())
			r.reload("")
		}, "4"},
		{"the file replaced, without a reload", func(r *rig) {
			other, err := smtptest.NewCA()
			if err != nil {
				r.t.Fatal(err)
			}
			text, err := os.ReadFile(other.WriteFile(r.t, r.t.TempDir()))
			if err != nil {
				r.t.Fatal(err)
			}
			if err := os.WriteFile(r.listener.ClientCA, text, 0o600); err != nil {
				r.t.Fatal(err)
			}
			r.lis.Refresh(slog.New(slog.DiscardHandler))
		}, "4"},
		{"no authority any more", func(r *rig) {
			r.listener.ClientCA = ""
			r.reload("")
		}, "4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.set("", "listener.tls required")
			r.set("", "client.corporate.certificates mta.example.org")
			r.set("", "client.shop.listeners other")
			p := r.dial()
			p.say("EHLO x", "250")
			p.say("STARTTLS", "220")
			p.startTLS(r.clientTLS(true))
			p.say("EHLO x", "250")
			p.say("MAIL FROM:<a@example.org>", "250")
			p.say("RCPT TO:<b@dest.example>", "250")
			c.after(r)
			p.say("DATA", c.want)
			if c.want == "354" {
				return
			}
			p.say("MAIL FROM:<a@example.org>", "5")
		})
	}
}

// TestSessionsOfAListenerThatIsGoneEnd: they end between transactions.
func TestSessionsOfAListenerThatIsGoneEnd(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.open("b@dest.example")
	r.cancel()
	if err := <-r.served; err != smtpd.ErrStopped {
		t.Fatal(err)
	}
	r.served <- smtpd.ErrStopped // for the end of the rig
	p.send(plainMail)
	p.want("250")
	p.want("421 4.7.0")
}
