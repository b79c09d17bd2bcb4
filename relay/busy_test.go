package relay

import (
	"testing"
	"time"

	"postern/internal/smtptest"
)

// TestWhereAllConnectionsAreInUse: the client is told so, and not that the upstream
// cannot be reached.
func TestWhereAllConnectionsAreInUse(t *testing.T) {
	r := newRig(t)
	r.upConfig.MaxConnections, r.upConfig.WaitTimeout = 1, time.Millisecond
	busy := smtptest.NewGate()
	r.faults = []smtptest.Fault{{Stage: smtptest.Dot, Times: 1, Gate: busy, Reply: "250 2.0.0 first"}}
	p, q := r.dial(), r.dial()
	p.open("b@dest.example")
	p.send(plainMail)
	<-busy.Reached()
	q.say("EHLO client.example", "250")
	q.say("MAIL FROM:<a@example.org>", "250")
	q.say("RCPT TO:<c@dest.example>", "451 4.4.5 all connections to the upstream are in use now, try again later")
	busy.Release()
	p.want("250 2.0.0 first")
}
