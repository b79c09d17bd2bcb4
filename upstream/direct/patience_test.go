package direct

import (
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/upstream"
	"postern/upstream/patience"
)

// TestSlowReceiverLeavesAClientItsSessions: whoever owns a domain has it let messages wait
// behind the final dot, so that a client has no session left for its other mail. What goes
// beyond three of them is refused at RCPT, by the domain's owner and by the host's address.
func TestSlowReceiverLeavesAClientItsSessions(t *testing.T) {
	w := newWorld(t, nil)
	var now atomic.Int64
	w.up.patience = patience.New(func() time.Time { return time.Unix(now.Load(), 0) })
	release, waiting := make(chan struct{}), make(chan struct{}, 3)
	w.receiver("127.0.0.2", smtptest.Options{Judge: func(s smtptest.Step) string {
		if s.Stage == smtptest.Dot {
			waiting <- struct{}{}
			<-release
		}
		return ""
	}})
	w.receiver("127.0.0.3", smtptest.Options{})
	w.domain("slow.example", "mx.slow.example 127.0.0.2")
	w.domain("sub.slow.example", "mx.sub.slow.example 127.0.0.3")
	w.domain("samehost.example", "mx.samehost.example 127.0.0.2")
	w.domain("other.example", "mx.other.example 127.0.0.3")

	send := func(client, to string) sent {
		return w.sendEnvelope(&mail.Envelope{From: rcpt("a@a.example").Address, Client: client}, upstream.Route{}, to)
	}
	ended := make(chan sent, 3)
	for range 3 {
		go func() { ended <- send("shop", "x@slow.example") }()
	}
	for range 3 {
		<-waiting
	}
	now.Add(30)
	for _, c := range []struct{ client, to, want string }{
		{"shop", "y@slow.example", "451"},
		{"shop", "y@sub.slow.example", "451"},
		{"shop", "y@samehost.example", "451"},
		{"shop", "y@other.example", "250 final 250"},
		{"office", "y@sub.slow.example", "250 final 250"},
	} {
		s := send(c.client, c.to)
		if s.codes() != c.want {
			t.Errorf("%s to %s: %s, want %s", c.client, c.to, s, c.want)
		}
		if c.want == "451" && (s.to[0].Status != "4.4.5" || s.to[0].Own == nil || s.to[0].Own.Err == nil) {
			t.Errorf("%s to %s: %+v", c.client, c.to, s.to[0])
		}
	}
	if s := send("shop", "y@slow.example"); s.to[0].Provider != "other" { // as limits by group count it
		t.Errorf("its group is %q", s.to[0].Provider)
	}
	close(release)
	for range 3 {
		if s := <-ended; s.codes() != "250 final 250" {
			t.Errorf("a message that waited: %s", s)
		}
	}
	if s := send("shop", "y@slow.example"); s.codes() != "250 final 250" {
		t.Errorf("when none waits any more: %s", s)
	}
}
