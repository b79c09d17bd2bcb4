package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/internal/redistest"
	"postern/internal/smtptest"
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

// TestTwoRelaysHoldChosenRecipients: recipients whose SHA-256 begins with a one
// went uncounted beyond 1,024. Two relays agree on the secret that keys their
// hashes, put it back after a flush, and show it nowhere.
func TestTwoRelaysHoldChosenRecipients(t *testing.T) {
	redis := redistest.Start(t)
	up := smtptest.Start(t, smtptest.Options{})
	text := redisConfig(up, redis.Addr, "distinct_recipients = [\"1100/1h\"]\non_store_failure = \"defer\"")
	relays := []*process{startRelay(t, text), startRelay(t, text)}
	passed, next := 0, 0
	for message := range 16 {
		d := dialSMTP(t, relays[message%2].address("mta"))
		d.say("MAIL FROM:<a@example.org>", "250")
		for n := 0; n < 100; next++ {
			name := fmt.Sprintf("victim%d@dest.example", next)
			if sha256.Sum256([]byte(name))[7] < 0x80 {
				continue
			}
			n++
			reply := d.say("RCPT TO:<"+name+">", "")
			for strings.HasPrefix(reply, "451 4.3.2") { // the store is slow on a busy machine
				reply = d.say("RCPT TO:<"+name+">", "")
			}
			if strings.HasPrefix(reply, "250") {
				passed++
			}
		}
		d.say("QUIT", "221")
	}
	if passed < 1025 || passed > 1100*113/100 {
		t.Errorf("%d of 1600 chosen recipients passed 1100/1h", passed)
	}
	secret := redis.Client().Get(t.Context(), "postern:secret").Val()
	if err := redis.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the secret is put back", func() bool {
		return redis.Client().Get(t.Context(), "postern:secret").Val() == secret
	})
	for _, p := range relays {
		path := filepath.Join(p.dir, "state", "limits.secret")
		eventually(t, "each relay keeps it", func() bool {
			kept, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(kept), `{"secret":"`+secret)
		})
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("its mode is %v, %v", info.Mode(), err)
		}
		p.tells(".", "status") // that all is well, once it has put its counts back
		shown := p.verb(0, "status") + p.verb(0, "status", "-json")
		p.stop()
		journal, err := os.ReadFile(filepath.Join(p.dir, "journal.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		shown += strings.Join(p.lines, "\n") + string(journal)
		if len(secret) != 64 || strings.Contains(shown, secret) {
			t.Error("the secret is shown")
		}
	}
}
