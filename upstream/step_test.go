package upstream

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/mail"
)

// trap is a text whose lines are commands where it is read as such.
const trap = "MAIL FROM:<victim@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nFrom: a\r\n\r\nsmuggled\r\n.\r\n"

// numbered sends a message with a number.
func numbered(t testing.TB, u *Upstream, id, from string, to ...string) result {
	text := "Subject: " + id + "\r\n\r\n" + trap
	return send(t.Context(), u, Route{}, mail.Envelope{From: addr(from)}, Content{Prefix: []byte(text)}, recipients(to...)...)
}

// ways are the ways to send a message to a wild upstream.
var ways = map[string]struct{ bdat, tls bool }{
	"DATA": {false, false}, "DATA, TLS": {false, true}, "BDAT": {true, false}, "BDAT, TLS": {true, true},
}

func eachWay(t *testing.T, f func(t *testing.T, w *wild, bdat bool)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			w := &wild{keep: true}
			if way.tls {
				w.tls = wildTLS(t)
			}
			f(t, w, way.bdat)
		})
	}
}

func (w *wild) front(t testing.TB, bdat bool) *Upstream {
	cfg := w.config()
	cfg.Chunking = bdat
	return newUpstream(t, cfg)
}

// TestReplyNobodyAskedForCountsForNothing: one line too many, at each stage and
// at several times. Each message has its own verdict in the end, and the line is
// counted.
func TestReplyNobodyAskedForCountsForNothing(t *testing.T) {
	for _, stage := range []string{"greeting", "ehlo", "mail", "rcpt", "data", "bdat", "verdict", "rset"} {
		for _, stray := range []string{"250 2.0.0 ok", "554 5.7.1 stray", "354 go on", "250-a\n250 b", "235 2.7.0 welcome"} {
			for _, late := range []time.Duration{0, 4 * time.Millisecond} {
				if late > 0 && stage != "verdict" {
					continue // it might fall behind the message, where nobody can tell
				}
				t.Run(fmt.Sprintf("%s/%.3s/%v", stage, stray, late), func(t *testing.T) {
					t.Parallel()
					eachWay(t, func(t *testing.T, w *wild, bdat bool) {
						checkStray(t, w, bdat, stage, stray, late)
					})
				})
			}
		}
	}
}

func checkStray(t *testing.T, w *wild, bdat bool, stage, stray string, late time.Duration) {
	var done atomic.Bool
	added := make(chan struct{})
	w.say = func(c *wildConn, at, reply string) error {
		if at != stage || !done.CompareAndSwap(false, true) {
			return c.write(reply)
		}
		if late == 0 {
			return c.write(reply + "\n" + stray) // in one segment
		}
		c.w.wg.Go(func() {
			defer close(added)
			time.Sleep(late)
			c.write(stray)
		})
		return c.write(reply)
	}
	newWild(t, w)
	u := w.front(t, bdat)
	for i, text := range []string{"good", "spam", "good", "no-user", "spam", "good"} {
		id := fmt.Sprint(i)
		r := numbered(t, u, id, "a@a.example", text+"@b.example")
		truth := w.takenAs(id)
		switch {
		case r.final.Code == 250 && truth != 250:
			t.Errorf("message %d was told 250, its verdict is %d", i, truth)
		case r.final.Permanent() && text != "spam":
			t.Errorf("message %d was told %v", i, r)
		case len(r.to) > 0 && r.to[0].Permanent() && text != "no-user" && late == 0 && stage != "mail" && stage != "rset":
			// Behind MAIL and RSET in a group the line may be there before the true reply.
			t.Errorf("recipient %d was told %v", i, r)
		}
		if late > 0 {
			<-added
		}
	}
	if w.smuggled > 0 {
		t.Errorf("text was read as commands: %q", w.seen())
	}
	if n := u.Hosts()[0].Surplus; done.Load() && n == 0 {
		t.Errorf("nothing counted; commands %q", w.seen())
	}
}

// TestStrayReplyBeforeBDAT is a case from a public report: one line behind the
// verdict on the first message.
func TestStrayReplyBeforeBDAT(t *testing.T) {
	eachWay(t, func(t *testing.T, w *wild, bdat bool) {
		checkStray(t, w, bdat, "verdict", "250 2.0.0 ok", 4*time.Millisecond)
	})
}

// TestHostThatLeavesBeforeTheMessage: 421 before DATA or BDAT loses nothing, and
// is not a reply that nobody asked for.
func TestHostThatLeavesBeforeTheMessage(t *testing.T) {
	eachWay(t, func(t *testing.T, w *wild, bdat bool) {
		w.say = at("rcpt", func(c *wildConn, reply string) error { return c.write(reply + "\n421 4.3.2 going down") })
		newWild(t, w)
		u := w.front(t, bdat)
		r := numbered(t, u, "1", "a@a.example", "good@b.example")
		if r.codes() != "250 final 250" || w.takenAs("1") != 250 || u.Hosts()[0].Surplus != 0 {
			t.Errorf("got %v, %d counted, commands %q", r, u.Hosts()[0].Surplus, w.seen())
		}
	})
}

// TestRefusalOfDATAOutOfStepIsAFault: the reply to the last RCPT arrives in the
// place of that to DATA.
func TestRefusalOfDATAOutOfStepIsAFault(t *testing.T) {
	w := &wild{keep: true}
	w.say = func(c *wildConn, at, reply string) error {
		switch {
		case at == "mail" && c.n <= 2:
			return c.write("250 2.0.0 one too many\n" + reply)
		case at == "rcpt" && strings.HasPrefix(reply, "550") && c.n <= 2:
			time.Sleep(20 * time.Millisecond)
		}
		return c.write(reply)
	}
	newWild(t, w)
	u := w.front(t, false)
	r := numbered(t, u, "1", "a@a.example", "good@b.example", "no-user@b.example")
	if r.err == nil && r.final.Code != 0 || r.final.Permanent() {
		t.Errorf("got %v", r)
	}
	if w.takenAs("1") != 0 || w.smuggled > 0 {
		t.Errorf("the message was taken, or run; commands %q", w.seen())
	}
	if r := numbered(t, u, "2", "a@a.example", "good@b.example"); r.codes() != "250 final 250" {
		t.Errorf("the next one: %v", r)
	}
}

// TestRefusalOfDATAIsPassedOn where it is in step. A host that hangs up behind a
// 5yz has perhaps said why it hangs up.
func TestRefusalOfDATAIsPassedOn(t *testing.T) {
	for _, quits := range []bool{true, false} {
		w := newWild(t, &wild{say: func(c *wildConn, at, reply string) error {
			err := c.write(reply)
			if at == "data" && !quits {
				return errors.New("hang up")
			}
			return err
		}})
		r := numbered(t, w.front(t, false), "1", "a@a.example", "nodata@b.example")
		if quits && (r.codes() != "250 final 554" || r.err != nil) || !quits && (r.codes() != "250" || r.err == nil) {
			t.Errorf("quits %v: got %v", quits, r)
		}
	}
}

// TestRefusedBDATRunsNothing is a case from a public report: CHUNKING is
// offered, BDAT is not known, and what follows is read as commands.
func TestRefusedBDATRunsNothing(t *testing.T) {
	for _, code := range []string{"500", "501", "502", "503", "504"} {
		for _, pipelining := range []string{"PIPELINING", "8BITMIME"} {
			t.Run(code+pipelining, func(t *testing.T) {
				w := newWild(t, &wild{
					keep: true, offer: []string{pipelining, "CHUNKING"}, knowsBDAT: func(int) bool { return false },
					say: func(c *wildConn, at, reply string) error {
						if at == "bdat" {
							reply = code + " 5.5.1 no"
						}
						return c.write(reply)
					},
				})
				u := w.front(t, true)
				for i := range 5 {
					id := fmt.Sprint(i)
					if r := numbered(t, u, id, "a@a.example", "good@b.example"); r.codes() != "250 final 250" || r.err != nil || w.takenAs(id) != 250 {
						t.Errorf("got %v", r)
					}
				}
				bdats := 0
				for _, c := range w.seen() {
					if strings.Contains(c, "BDAT") {
						bdats++
					}
				}
				if w.smuggled > 0 || bdats != 1 || w.accepted != 2 {
					t.Errorf("%d of BDAT, %d connections, commands %q", bdats, w.accepted, w.seen())
				}
			})
		}
	}
}

// TestBDATRefusedBehindTheSameName: another machine answers the next connection.
func TestBDATRefusedBehindTheSameName(t *testing.T) {
	w := newWild(t, &wild{keep: true, knowsBDAT: func(n int) bool { return n == 1 }})
	cfg := w.config()
	cfg.MessagesPerConnection = 2
	u := newUpstream(t, cfg)
	for i := range 6 {
		id := fmt.Sprint(i)
		if r := numbered(t, u, id, "a@a.example", "good@b.example"); r.codes() != "250 final 250" || w.takenAs(id) != 250 {
			t.Errorf("message %d: got %v", i, r)
		}
	}
	if w.smuggled > 0 {
		t.Errorf("text was read as commands: %q", w.seen())
	}
}

// TestBDATIsTriedAgain after an hour, and when the host offers something else.
func TestBDATIsTriedAgain(t *testing.T) {
	var knows atomic.Bool
	w := newWild(t, &wild{keep: true, knowsBDAT: func(int) bool { return knows.Load() }})
	cfg := w.config()
	cfg.MessagesPerConnection = 1
	u := newUpstream(t, cfg)
	bdat := func() int { return strings.Count(strings.Join(w.seen(), "\n"), "BDAT") }
	numbered(t, u, "1", "a@a.example", "good@b.example")
	numbered(t, u, "2", "a@a.example", "good@b.example")
	if n := bdat(); n != 1 {
		t.Errorf("%d of BDAT", n)
	}
	h := u.hosts[0]
	h.mu.Lock()
	h.noBDAT.until = time.Now().Add(-time.Second)
	h.mu.Unlock()
	numbered(t, u, "3", "a@a.example", "good@b.example")
	if n := bdat(); n != 2 {
		t.Errorf("an hour later: %d of BDAT", n)
	}
	knows.Store(true)
	h.mu.Lock()
	h.noBDAT.offer = "what it offered before it was mended"
	h.mu.Unlock()
	numbered(t, u, "4", "a@a.example", "good@b.example")
	if n := bdat(); n != 4 || w.takenAs("4") != 250 {
		t.Errorf("with another offer: %d of BDAT", n)
	}
}

// TestBDATThatIsForgottenLater: a host that knew BDAT on this connection and no
// longer does is a fault, and DATA is used.
func TestBDATThatIsForgottenLater(t *testing.T) {
	var forgot atomic.Bool
	w := newWild(t, &wild{keep: true, say: func(c *wildConn, at, reply string) error {
		if at == "verdict" && forgot.CompareAndSwap(false, true) {
			reply = "502 5.5.1 no"
		}
		return c.write(reply)
	}})
	u := w.front(t, true)
	if r := numbered(t, u, "1", "a@a.example", "good@b.example"); r.err == nil || r.final.Code != 0 {
		t.Errorf("got %v", r)
	}
	if r := numbered(t, u, "2", "a@a.example", "good@b.example"); r.codes() != "250 final 250" || !strings.Contains(strings.Join(w.seen(), "\n"), "2 DATA") {
		t.Errorf("got %v, commands %q", r, w.seen())
	}
}
