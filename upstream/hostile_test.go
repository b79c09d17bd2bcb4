package upstream

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// at makes a wild upstream do something at a stage of its first connection.
func at(stage string, do func(c *wildConn, reply string) error) func(*wildConn, string, string) error {
	return func(c *wildConn, s, reply string) error {
		if s == stage && c.n == 1 {
			return do(c, reply)
		}
		return c.write(reply)
	}
}

var stages = []string{"greeting", "ehlo", "mail", "rcpt", "data", "bdat", "verdict"}

// TestDrippingRepliesEndInTime: octets that come one by one do not make the
// wait longer, and lines without end neither that nor memory.
func TestDrippingRepliesEndInTime(t *testing.T) {
	for _, stage := range stages {
		for name, octets := range map[string]string{"line": "250 ", "lines": "250-x\r\n", "blank lines": "\r\n", "text": "x"} {
			t.Run(stage+"/"+name, func(t *testing.T) {
				t.Parallel()
				eachWay(t, func(t *testing.T, w *wild, bdat bool) {
					w.say = at(stage, func(c *wildConn, _ string) error {
						for i := 0; ; i++ {
							if _, err := c.out.Write([]byte{octets[min(i, i%len(octets))]}); err != nil {
								return err
							}
							time.Sleep(10 * time.Millisecond)
						}
					})
					newWild(t, w)
					cfg := w.config()
					cfg.Chunking, cfg.GreetingTimeout, cfg.CommandTimeout, cfg.FinalTimeout = bdat, short, short, short
					u := newUpstream(t, cfg)
					begun := time.Now()
					r := numbered(t, u, "1", "a@a.example", "good@b.example")
					if took := time.Since(begun); took > long/2 {
						t.Errorf("took %v", took)
					}
					if reached := (stage != "data" || !bdat) && (stage != "bdat" || bdat); reached && r.err == nil && r.final.Code == 250 {
						t.Errorf("got %v", r)
					}
					if name == "line" && r.final.Permanent() {
						t.Errorf("got %v", r)
					}
				})
			})
		}
	}
}

// TestRepliesInSingleOctets are replies all the same.
func TestRepliesInSingleOctets(t *testing.T) {
	eachWay(t, func(t *testing.T, w *wild, bdat bool) {
		w.say = func(c *wildConn, _, reply string) error {
			for _, b := range []byte(strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n") {
				if _, err := c.out.Write([]byte{b}); err != nil {
					return err
				}
			}
			return nil
		}
		newWild(t, w)
		u := w.front(t, bdat)
		for i := range 3 {
			if r := numbered(t, u, fmt.Sprint(i), "a@a.example", "good@b.example"); r.codes() != "250 final 250" {
				t.Errorf("got %v", r)
			}
		}
		if w.accepted != 1 || u.Hosts()[0].Surplus != 0 {
			t.Errorf("%d connections, %d counted", w.accepted, u.Hosts()[0].Surplus)
		}
	})
}

// TestRepliesBeforeTheCommands: all the replies of a whole session come at once.
func TestRepliesBeforeTheCommands(t *testing.T) {
	const all = "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 go on\r\n250 2.6.0 queued\r\n250 2.6.0 queued"
	eachWay(t, func(t *testing.T, w *wild, bdat bool) {
		for i, stage := range []string{"greeting", "ehlo", "mail", "rcpt", "data", "bdat"} {
			id := fmt.Sprintf("%s-%d", t.Name(), i)
			w := &wild{tls: w.tls, keep: true}
			w.say = func(c *wildConn, s, reply string) error {
				if s == stage {
					reply += "\n" + strings.ReplaceAll(all, "\r\n", "\n")
				}
				return c.write(reply)
			}
			newWild(t, w)
			r := numbered(t, w.front(t, bdat), id, "a@a.example", "good@b.example")
			if r.final.Code == 250 && w.takenAs(id) != 250 || w.smuggled > 0 {
				t.Errorf("%s: got %v, its verdict is %d, commands %q", stage, r, w.takenAs(id), w.seen())
			}
		}
	})
}

// TestCodesOutOfPlace: a code of another command in the place of each reply.
func TestCodesOutOfPlace(t *testing.T) {
	for _, stage := range stages {
		for _, code := range []string{"100", "199", "211", "214", "220", "221", "235", "250", "299", "334", "354", "399", "600", "000"} {
			t.Run(stage+"/"+code, func(t *testing.T) {
				t.Parallel()
				eachWay(t, func(t *testing.T, w *wild, bdat bool) {
					w.say = at(stage, func(c *wildConn, reply string) error {
						if code == reply[:3] {
							return c.write(reply)
						}
						return c.write(code + " 2.0.0 odd")
					})
					newWild(t, w)
					cfg := w.config()
					cfg.Chunking, cfg.FinalTimeout = bdat, 4*short
					r := numbered(t, newUpstream(t, cfg), "1", "a@a.example", "good@b.example")
					if r.final.Code == 250 && w.takenAs("1") != 250 || r.final.Permanent() || w.smuggled > 0 {
						t.Errorf("got %v, its verdict is %d, commands %q", r, w.takenAs("1"), w.seen())
					}
				})
			})
		}
	}
}

// TestCloseWithoutNotify: TLS that ends without its last word, at each stage.
func TestCloseWithoutNotify(t *testing.T) {
	for _, stage := range append(stages, "idle") {
		t.Run(stage, func(t *testing.T) {
			w := &wild{tls: wildTLS(t), keep: true}
			hang := func(c *wildConn, reply string) error {
				if stage == "idle" {
					c.write(reply)
				}
				return io.EOF // serve closes TCP alone
			}
			if stage == "idle" {
				w.say = at("verdict", hang)
			} else {
				w.say = at(stage, hang)
			}
			newWild(t, w)
			u := w.front(t, false)
			r := numbered(t, u, "1", "a@a.example", "good@b.example")
			reached := stage != "bdat"
			switch {
			case stage == "idle" || !reached:
				if r.codes() != "250 final 250" {
					t.Errorf("got %v", r)
				}
			case r.err == nil || errors.Is(r.err, ErrUnknownOutcome) != (stage == "verdict"):
				t.Errorf("got %v", r)
			}
			if r := numbered(t, u, "2", "a@a.example", "good@b.example"); r.codes() != "250 final 250" {
				t.Errorf("the next one: %v", r)
			}
		})
	}
}

// TestMessageLeavesOnlyBehind354 whatever else is said.
func TestMessageLeavesOnlyBehind354(t *testing.T) {
	w := newWild(t, &wild{keep: true, say: func(c *wildConn, at, reply string) error {
		if at == "data" {
			reply = "250 2.0.0 ok"
		}
		return c.write(reply)
	}})
	r := numbered(t, w.front(t, false), "1", "a@a.example", "good@b.example")
	if r.err == nil || r.final.Code != 0 || w.takenAs("1") != 0 || w.smuggled > 0 {
		t.Errorf("got %v, commands %q", r, w.seen())
	}
	if w.accepted != 2 {
		t.Errorf("%d connections", w.accepted)
	}
}
