package relay

import (
	"testing"

	"postern/internal/smtptest"
	"postern/mail"
)

// A client that leaves behind the final dot does not end the wait: the verdict is
// read, and stands in the event with what was charged.
func TestClientThatLeavesDoesNotEndTheWait(t *testing.T) {
	for reply, want := range map[string]struct {
		outcome string
		room    bool // for one more
	}{"": {mail.Relayed, false}, "451 4.3.0 later": {mail.Deferred, true}} {
		t.Run(want.outcome, func(t *testing.T) {
			gate := smtptest.NewGate()
			r := newRig(t)
			r.set("", "limit.sender.per sender")
			r.set("", "limit.sender.messages 1/1h")
			r.faults = []smtptest.Fault{{Stage: smtptest.Dot, Gate: gate, Reply: reply}}
			r.start()
			p := r.dial()
			p.open("b@dest.example")
			p.send(plainMail)
			<-gate.Reached()
			p.conn.Close()
			gate.Release()
			e := r.events.wait(t, 0)
			if e.Outcome != want.outcome || e.Stage != mail.StageForward || e.Code == 0 {
				t.Errorf("event %+v", e)
			}
			a := r.server.limiter.Begin(r.facts())
			defer a.End()
			if v := a.Recipients(t.Context(), r.recipients("b@dest.example"), nil); v[0].OK != want.room {
				t.Errorf("room for one more: %v, want %v", v[0].OK, want.room)
			}
		})
	}
}
