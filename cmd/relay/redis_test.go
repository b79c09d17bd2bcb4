package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/redistest"
	"postern/smtptest"
)

// sendMany opens connections to the addresses in turn and sends from all of
// them at once until each has been refused a few times; it returns how many
// messages heard 250, and how many 451 since the store was too slow.
func sendMany(t *testing.T, addresses []string, connections int) (relayed, putOff int64) {
	var accepted, slow atomic.Int64
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			conn, in, err := openSession(addresses[i%len(addresses)])
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for refused := 0; refused < 2; {
				r, err := submit(in, conn, "a@example.org", []string{"b@dest.example"}, testMessage("a@example.org", "x"))
				switch {
				case err != nil:
					t.Errorf("send: %v", err)
					return
				case strings.HasPrefix(r, "250"):
					accepted.Add(1)
				case strings.HasPrefix(r, "450 4.7.1 <a@example.org>: client limit of "):
					refused++
				case strings.HasPrefix(r, "451 4.3.2"):
					slow.Add(1)
				default:
					t.Errorf("reply %q", r)
					return
				}
			}
		})
	}
	all.Wait()
	return accepted.Load(), slow.Load()
}

func redisConfig(up *smtptest.Server, addr, limit string) string {
	return basic(up, fmt.Sprintf(`
[redis]
addresses = [%q]
[limit.client]
per = "client"
%s
`, addr, limit))
}

// TestTwoRelaysShareALimit: with "defer" the number holds whatever the store
// does. A decision that took too long on a busy machine may have been charged
// before it is undone, so that fewer pass.
func TestTwoRelaysShareALimit(t *testing.T) {
	redis := redistest.Start(t)
	up := smtptest.Start(t, smtptest.Options{})
	text := redisConfig(up, redis.Addr, "messages = [\"300/1h\"]\non_store_failure = \"defer\"")
	one, two := startRelay(t, text), startRelay(t, text)
	n, putOff := sendMany(t, []string{one.address("mta"), two.address("mta")}, 50)
	if n > 300 || n < 300 && putOff == 0 || int64(up.Taken()) != n {
		t.Errorf("%d messages were accepted and %d put off, %d are at the upstream; the limit is 300", n, putOff, up.Taken())
	}
	one.stop()
	two.stop()
}

// TestRedisStalls: a Redis that takes connections and answers nothing makes a
// relay defer, not hang and not pass; when it is back, mail goes on and the
// count is right.
func TestRedisStalls(t *testing.T) {
	for _, c := range []struct {
		name       string
		stop, cont func(*redistest.Server)
	}{
		{"stopped by a signal", (*redistest.Server).Pause, (*redistest.Server).Resume},
		{"killed", (*redistest.Server).Kill, (*redistest.Server).Restart},
	} {
		t.Run(c.name, func(t *testing.T) {
			redis := redistest.Start(t, "appendonly yes", "appendfsync always")
			up := smtptest.Start(t, smtptest.Options{})
			p := startRelay(t, redisConfig(up, redis.Addr, "messages = [\"5/1h\"]\non_store_failure = \"defer\""))
			d := dialSMTP(t, p.address("mta"))
			eventually(t, "two have passed", func() bool {
				d.say("MAIL FROM:<a@example.org>", "250")
				if r := d.say("RCPT TO:<b@dest.example>", ""); !strings.HasPrefix(r, "250") {
					d.say("RSET", "250")
					return false
				}
				d.say("DATA", "354")
				d.say(testMessage("a@example.org", "x")+".", "250")
				return up.Taken() == 2
			})
			c.stop(redis)
			for range 3 {
				d.say("MAIL FROM:<a@example.org>", "250")
				d.say("RCPT TO:<b@dest.example>", "451 4.3.2")
				d.say("RSET", "250")
			}
			if up.Taken() != 2 {
				t.Errorf("upstream has %d messages, want 2", up.Taken())
			}
			c.cont(redis)
			eventually(t, "the relay uses Redis again", func() bool {
				d.say("MAIL FROM:<a@example.org>", "250")
				r := d.say("RCPT TO:<b@dest.example>", "")
				d.say("RSET", "250")
				return strings.HasPrefix(r, "250")
			})
			// An abort stays charged: that was the third, two are left. On a busy
			// machine a decision may take too long and be put off, which costs
			// nothing.
			for left := 2; left >= 0; {
				d.say("MAIL FROM:<a@example.org>", "250")
				switch r := d.say("RCPT TO:<b@dest.example>", ""); {
				case strings.HasPrefix(r, "451 4.3.2"):
					d.say("RSET", "250")
					continue
				case left == 0 && strings.HasPrefix(r, "450 4.7.1"):
					d.say("RSET", "250")
				case left > 0 && strings.HasPrefix(r, "250"):
					d.say("DATA", "354")
					d.say(testMessage("a@example.org", "x")+".", "250")
				default:
					t.Fatalf("with %d left the reply is %q", left, r)
				}
				left--
			}
			p.stop()
		})
	}
}
