package upstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/upstream/replies"
)

// TestHostThatTakesTenMessagesAConnection is a case from public reports: 40
// mails, one after the other, all pass, and the number is learned.
func TestHostThatTakesTenMessagesAConnection(t *testing.T) {
	for _, at := range []string{"mail", "data"} {
		t.Run(at, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w *wild, bdat bool) {
				w.takes, w.fullAt = 10, at
				newWild(t, w)
				u := w.front(t, bdat)
				for i := range 40 {
					id := fmt.Sprint(i)
					to := fmt.Sprintf("r%d@d%d.example.net", i, i)
					if r := numbered(t, u, id, "a@a.example", to); r.codes() != "250 final 250" || w.takenAs(id) != 250 {
						t.Fatalf("message %d: %v", i, r)
					}
				}
				if n := u.Hosts()[0].PerConnection; n != 10 || w.accepted != 4 {
					t.Errorf("learned %d over %d connections, want 10 over 4", n, w.accepted)
				}
			})
		})
	}
}

// TestTemporaryRefusalGoesOnceMoreOnly: one that holds on a new connection, too,
// is the verdict; nothing is learned from it, and a connection that has carried
// no mail is kept.
func TestTemporaryRefusalGoesOnceMoreOnly(t *testing.T) {
	for _, stage := range []string{"mail", "rcpt"} {
		t.Run(stage, func(t *testing.T) {
			w := &wild{keep: true, takes: 1 << 30}
			w.say = func(c *wildConn, at, reply string) error {
				if at == stage && strings.Contains(c.mail, "slow") {
					c.mail = ""
					return c.write("450 4.7.1 not so fast")
				}
				return c.write(reply)
			}
			newWild(t, w)
			u := w.front(t, false)
			numbered(t, u, "1", "a@a.example", "good@b.example")
			for range 2 {
				if r := numbered(t, u, "2", "slow@a.example", "good@b.example"); r.codes() != "450" {
					t.Errorf("got %v", r)
				}
			}
			want := map[string]int{"mail": 2, "rcpt": 1}[stage]
			if w.accepted != want || u.Hosts()[0].PerConnection != 0 {
				t.Errorf("%d connections, want %d; learned %d; commands %q", w.accepted, want, u.Hosts()[0].PerConnection, w.seen())
			}
		})
	}
}

// TestFirstRefusalStandsWithoutAnotherConnection: where no new connection can be
// had, the client hears what the host said.
func TestFirstRefusalStandsWithoutAnotherConnection(t *testing.T) {
	for _, at := range []string{"mail", "data"} {
		t.Run(at, func(t *testing.T) {
			w := &wild{takes: 1, fullAt: at}
			newWild(t, w)
			u := w.front(t, false)
			numbered(t, u, "1", "a@a.example", "good@b.example")
			w.ln.Close()
			r := numbered(t, u, "2", "a@a.example", "good@b.example")
			if r.err != nil || !strings.Contains(r.String(), overfull) {
				t.Errorf("got %v", r)
			}
		})
	}
}

// TestLearnedNumberIsForgotten: after a day the host is tried with more.
func TestLearnedNumberIsForgotten(t *testing.T) {
	u := newUpstream(t, testConfig("127.0.0.1:1"))
	h, now := u.hosts[0], time.Now()
	h.learn(10, now)
	for _, c := range []struct {
		after    time.Duration
		messages int
		want     bool
	}{
		{0, 9, true}, {0, 10, false}, {tryBeyond - 1, 10, false},
		{tryBeyond, 10, true}, {tryBeyond, 10, false}, {3 * time.Hour, 999, true}, // one of them, to see
		{3 * time.Hour, 1000, false}, {25 * time.Hour, 999, true}, {25 * time.Hour, 999, true},
	} {
		if got := h.mayCarry(c.messages, now.Add(c.after)); got != c.want {
			t.Errorf("after %v and %d messages: %v", c.after, c.messages, got)
		}
	}
}

// TestASenderDoesNotShortenConnectionsForOthers: a sender whom the host defers and
// takes a moment later, as it does one that it verifies by a call to his own server,
// makes connections short only until one is tried with more.
func TestASenderDoesNotShortenConnectionsForOthers(t *testing.T) {
	w := &wild{keep: true, takes: 1 << 30}
	deferred := false
	w.say = func(c *wildConn, at, reply string) error {
		if at == "mail" && strings.Contains(c.mail, "mallory") && !deferred {
			deferred, c.mail = true, ""
			return c.write("450 4.7.1 sender is being verified")
		}
		return c.write(reply)
	}
	newWild(t, w)
	u := w.front(t, false)
	numbered(t, u, "1", "a@a.example", "good@b.example")
	numbered(t, u, "2", "mallory@m.example", "good@b.example")
	if n := u.Hosts()[0].PerConnection; n != 1 {
		t.Fatalf("learned %d", n)
	}
	h := u.hosts[0]
	h.mu.Lock()
	h.learned.trial = time.Now()
	h.mu.Unlock()
	for i := range 20 {
		if r := numbered(t, u, fmt.Sprint("x", i), "a@a.example", "good@b.example"); r.codes() != "250 final 250" {
			t.Fatalf("%v", r)
		}
	}
	if n := u.Hosts()[0].PerConnection; n != 0 || w.accepted > 4 {
		t.Errorf("still %d messages a connection, %d connections", n, w.accepted)
	}
}

// TestWordsOfTheSessionAreOfNoReceiver: a refusal for what one connection has
// carried does not slow the mail to its destination down.
func TestWordsOfTheSessionAreOfNoReceiver(t *testing.T) {
	for reply, want := range map[string]mail.Class{
		overfull: mail.ClassTemporaryFault,
		"451 4.4.5 Maximum number of messages per session exceeded": mail.ClassTemporaryFault,
		"450 4.5.3 Too many messages in this connection":            mail.ClassTemporaryFault,
		"452 4.5.3 too many mails on one SMTP session":              mail.ClassTemporaryFault,
		"450 4.7.1 Too many messages per hour":                      mail.ClassRateLimited,
		"421 4.7.0 Too many concurrent sessions":                    mail.ClassRateLimited,
	} {
		w := wording{at: "dot", text: reply}
		if e := w.weigh(replies.BuiltIn()); e.Class != want {
			t.Errorf("%s: %s, want %s", reply, e.Class, want)
		}
	}
}
