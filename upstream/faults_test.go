package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/upstream/wire"
)

// modes are the ways to talk to a host.
var modes = map[string][]string{
	"lock-step": {},
	"pipelined": {"PIPELINING", "ENHANCEDSTATUSCODES"},
	"chunking":  {"PIPELINING", "CHUNKING"},
}

// TestEveryFaultAtEveryStage sends one mail to b and c into the fault, and then
// one without: nothing is lost, nothing comes twice, nothing sticks.
func TestEveryFaultAtEveryStage(t *testing.T) {
	overlong := "250 " + strings.Repeat("x", 2000) + "\r\n"
	endless := strings.Repeat("250-x\r\n", wire.MaxOctets/7+1)
	type fault = smtptest.Fault
	for _, tc := range []struct {
		name  string
		fault fault
		codes string // of the replies; "" means a fault
		taken int    // how often the server took the first mail
		only  string // the mode in which it makes sense; "": all
	}{
		{"nothing wrong", fault{Stage: "none"}, "250 250 final 250", 1, ""},
		{"greeting temporary", fault{Stage: smtptest.Greeting, Reply: "421 4.3.2 busy"}, "", 0, ""},
		{"greeting permanent", fault{Stage: smtptest.Greeting, Reply: "554 5.7.1 go away"}, "", 0, ""},
		{"greeting that is no reply", fault{Stage: smtptest.Greeting, Raw: "HTTP/1.1 400 Bad Request\r\n"}, "", 0, ""},
		{"greeting cut off", fault{Stage: smtptest.Greeting, Drop: smtptest.DropMid}, "", 0, ""},
		{"no greeting", fault{Stage: smtptest.Greeting, Drop: smtptest.DropBefore}, "", 0, ""},
		{"greeting of several lines", fault{Stage: smtptest.Greeting, Reply: "220-a\n220-b\n220 c"}, "250 250 final 250", 1, ""},
		{"reset after the greeting", fault{Stage: smtptest.Greeting, Drop: smtptest.DropAfter, RST: true}, "", 0, ""},
		{"EHLO temporary", fault{Stage: smtptest.Hello, Reply: "451 4.3.2 busy"}, "", 0, ""},
		{"EHLO 421", fault{Stage: smtptest.Hello, Reply: "421 4.3.2 busy"}, "", 0, ""},
		{"EHLO dropped", fault{Stage: smtptest.Hello, Drop: smtptest.DropBefore}, "", 0, ""},
		{"EHLO reply without end", fault{Stage: smtptest.Hello, Raw: endless}, "", 0, ""},

		{"MAIL temporary", fault{Stage: smtptest.Mail, Reply: "450 4.7.1 later"}, "450 450", 0, ""},
		{"MAIL permanent", fault{Stage: smtptest.Mail, Reply: "550-5.7.1 not\n550 5.7.1 you"}, "550 550", 0, ""},
		{"MAIL 421", fault{Stage: smtptest.Mail, Reply: "421 4.7.0 closing"}, "421 421", 0, ""},
		{"MAIL 354", fault{Stage: smtptest.Mail, Reply: "354 go"}, "250 250 final 250", 1, ""}, // on another connection
		{"MAIL dropped", fault{Stage: smtptest.Mail, Drop: smtptest.DropBefore}, "", 0, ""},
		{"MAIL cut off", fault{Stage: smtptest.Mail, Drop: smtptest.DropMid}, "", 0, ""},
		{"MAIL dropped after its reply", fault{Stage: smtptest.Mail, Drop: smtptest.DropAfter}, "", 0, ""},
		{"MAIL overlong", fault{Stage: smtptest.Mail, Raw: overlong}, "250 250 final 250", 1, ""},
		{"MAIL without end", fault{Stage: smtptest.Mail, Raw: endless}, "", 0, ""},
		{"MAIL with two codes", fault{Stage: smtptest.Mail, Raw: "250-a\r\n550 b\r\n"}, "", 0, ""},
		{"MAIL with a bare LF", fault{Stage: smtptest.Mail, Raw: "250 a\n"}, "250 250 final 250", 1, ""},
		{"MAIL with a code of two digits", fault{Stage: smtptest.Mail, Raw: "25 a\r\n"}, "", 0, ""},
		{"MAIL with code 199", fault{Stage: smtptest.Mail, Raw: "199 a\r\n"}, "", 0, ""},
		{"MAIL code alone", fault{Stage: smtptest.Mail, Raw: "250\r\n"}, "250 250 final 250", 1, ""},
		{"MAIL octet by octet", fault{Stage: smtptest.Mail, Split: 1}, "250 250 final 250", 1, ""},

		{"RCPT permanent", fault{Stage: smtptest.Rcpt, To: "b@b.example", Reply: "550 5.1.1 no"}, "550 250 final 250", 1, ""},
		{"RCPT temporary", fault{Stage: smtptest.Rcpt, To: "c@b.example", Reply: "450 4.2.0 no"}, "250 450 final 250", 1, ""},
		{"RCPT 421", fault{Stage: smtptest.Rcpt, To: "c@b.example", Reply: "421 4.7.0 closing"}, "421 421", 0, ""},
		{"RCPT dropped", fault{Stage: smtptest.Rcpt, To: "c@b.example", Drop: smtptest.DropBefore}, "", 0, ""},
		{"RCPT cut off", fault{Stage: smtptest.Rcpt, To: "c@b.example", Drop: smtptest.DropMid}, "", 0, ""},
		{"RCPT that is no reply", fault{Stage: smtptest.Rcpt, Raw: "\x00\xff\r\n"}, "", 0, ""},
		{"RCPT octet by octet", fault{Stage: smtptest.Rcpt, Split: 1, Reply: "250-2.1.5 a\n250 2.1.5 b"}, "250 250 final 250", 1, ""},

		{"DATA temporary", fault{Stage: smtptest.Data, Reply: "451 4.3.0 no"}, "250 250 final 451", 0, "data"},
		{"DATA permanent", fault{Stage: smtptest.Data, Reply: "554 5.7.1 no"}, "250 250 final 554", 0, "data"},
		{"DATA 421", fault{Stage: smtptest.Data, Reply: "421 4.7.1 no"}, "250 250 final 421", 0, "data"},
		{"DATA 250", fault{Stage: smtptest.Data, Raw: "250 ok\r\n"}, "250 250 final 250", 1, "data"}, // on another connection
		{"DATA not known", fault{Stage: smtptest.Data, Reply: "502 5.5.1 what?"}, "250 250", 0, "data"},
		{"354 and one reply more", fault{Stage: smtptest.Data, Raw: "354 go\r\n250 ok\r\n"}, "250 250 final 250", 1, "data"},
		{"DATA dropped", fault{Stage: smtptest.Data, Drop: smtptest.DropBefore}, "250 250", 0, "data"},
		{"DATA cut off", fault{Stage: smtptest.Data, Drop: smtptest.DropMid}, "250 250", 0, "data"},
		{"DATA octet by octet", fault{Stage: smtptest.Data, Split: 1}, "250 250 final 250", 1, "data"},

		{"final reply temporary", fault{Stage: smtptest.Dot, Reply: "451 4.3.0 no"}, "250 250 final 451", 0, ""},
		{"final reply permanent", fault{Stage: smtptest.Dot, Reply: "550-5.7.1 spam\n550 5.7.1 it is"}, "250 250 final 550", 0, ""},
		{"final reply 421", fault{Stage: smtptest.Dot, Reply: "421 4.3.0 no"}, "250 250 final 421", 0, ""},
		{"final reply octet by octet", fault{Stage: smtptest.Dot, Split: 1}, "250 250 final 250", 1, ""},
		{"dropped after the final reply", fault{Stage: smtptest.Dot, Drop: smtptest.DropAfter}, "250 250 final 250", 1, "data"},
		{"dropped before the reply behind BDAT", fault{Stage: smtptest.Dot, Drop: smtptest.DropAfter}, "250 250 unknown", 1, "bdat"},
		{"dropped before the final reply", fault{Stage: smtptest.Dot, Drop: smtptest.DropBefore}, "250 250 unknown", 1, ""},
		{"dropped in the final reply", fault{Stage: smtptest.Dot, Drop: smtptest.DropMid}, "250 250 unknown", 1, ""},
		{"reset before the final reply", fault{Stage: smtptest.Dot, Drop: smtptest.DropBefore, RST: true}, "250 250 unknown", 1, ""},
		{"final reply that is none", fault{Stage: smtptest.Dot, Raw: "okay\r\n"}, "250 250 unknown", 1, ""},
		{"final reply 354", fault{Stage: smtptest.Dot, Reply: "354 more", Raw: "354 more\r\n"}, "250 250 unknown", 0, ""},
		{"more than one final reply", fault{Stage: smtptest.Dot, Raw: "250 2.0.0 a\r\n250 2.0.0 b\r\n"}, "250 250 final 250", 1, "data"},
		{"more than one reply to BDAT", fault{Stage: smtptest.Dot, Raw: "250 2.0.0 a\r\n250 2.0.0 b\r\n"}, "250 250 unknown", 1, "bdat"},
		{"final reply and an empty line", fault{Stage: smtptest.Dot, Raw: "250 2.0.0 a\r\n\r\n"}, "250 250 final 250", 1, "data"},
		{"final reply and a line that is none", fault{Stage: smtptest.Dot, Raw: "250 2.0.0 a\r\ndebug: x\r\n"}, "250 250 final 250", 1, "data"},
		{"final reply, an empty line and another", fault{Stage: smtptest.Dot, Raw: "250 2.0.0 a\r\n\r\n554 5.7.1 b\r\n"}, "250 250 unknown", 1, "data"},
		{"final reply behind a line that is none", fault{Stage: smtptest.Dot, Raw: "debug: x\r\n250 2.0.0 a\r\n"}, "250 250 final 250", 1, ""},
	} {
		for mode, offer := range modes {
			if tc.only == "data" && mode == "chunking" || tc.only == "bdat" && mode != "chunking" {
				continue
			}
			t.Run(tc.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				f := tc.fault
				f.Times = 1
				u, s := start(t, smtptest.Options{Offer: offer, Faults: []fault{f}}, func(c *Config) {
					if f.Raw == "okay\r\n" { // waits for a reply
						c.FinalTimeout = short
					}
				})
				r := deliver(t, u, "b@b.example", "c@b.example")
				got := r.codes()
				if errors.Is(r.err, ErrUnknownOutcome) {
					got += " unknown"
				}
				if got != tc.codes || (r.err != nil) != (tc.codes == "" || tc.codes == "250 250" || strings.HasSuffix(tc.codes, "unknown")) {
					t.Errorf("got %q (%v), want %q", got, r, tc.codes)
				}
				if n := s.Taken(); n != tc.taken {
					t.Errorf("server took %d messages, want %d", n, tc.taken)
				}
				if r := deliver(t, u, "d@b.example"); r.codes() != "250 final 250" {
					t.Errorf("the next one: %v", r)
				}
				ms := s.Messages()
				if len(ms) != tc.taken+1 || string(ms[tc.taken].Data) != plainText || ms[tc.taken].To[0].Address != "d@b.example" {
					t.Errorf("after the next one there are %d messages", len(ms))
				}
			})
		}
	}
}

func TestStallEndsInAFault(t *testing.T) {
	big := Content{Chunks: [][]byte{[]byte(strings.Repeat(strings.Repeat("x", 998)+"\r\n", 32<<10))}}
	for name, tc := range map[string]struct {
		stage   smtptest.Stage
		set     func(*Config)
		unknown bool
		taken   int
	}{
		"greeting": {smtptest.Greeting, func(c *Config) { c.GreetingTimeout = short }, false, 0},
		"EHLO":     {smtptest.Hello, func(c *Config) { c.CommandTimeout = short }, false, 0},
		"TLS":      {smtptest.Handshake, func(c *Config) { c.TLS, c.ImplicitTLS, c.TLSTimeout = EncryptRequired, true, short }, false, 0},
		"AUTH": {smtptest.Auth, func(c *Config) {
			c.TLS, c.ImplicitTLS, c.AuthTimeout = EncryptRequired, true, short
			withCredentials(c)
		}, false, 0},
		"MAIL":  {smtptest.Mail, func(c *Config) { c.CommandTimeout = short }, false, 0},
		"RCPT":  {smtptest.Rcpt, func(c *Config) { c.CommandTimeout = short }, false, 0},
		"body":  {smtptest.Body, func(c *Config) { c.DataTimeout = short }, false, 0},
		"final": {smtptest.Dot, func(c *Config) { c.FinalTimeout = short }, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gate := smtptest.NewGate()
			opt := smtptest.Options{Offer: modes["pipelined"], Faults: []smtptest.Fault{{Stage: tc.stage, Gate: gate}}}
			if tc.stage == smtptest.Handshake || tc.stage == smtptest.Auth {
				opt.ImplicitTLS, opt.Offer = true, []string{"AUTH PLAIN"}
			}
			u, s := start(t, opt, tc.set)
			body := Content{Chunks: [][]byte{[]byte(plainText)}}
			if tc.stage == smtptest.Body {
				body = big
			}
			r := send(t.Context(), u, Route{}, mail.Envelope{From: addr("a@a.example")}, body, recipients("b@b.example")...)
			if r.err == nil || errors.Is(r.err, ErrUnknownOutcome) != tc.unknown {
				t.Errorf("got %v", r)
			}
			if !errors.Is(r.err, os.ErrDeadlineExceeded) && !errors.Is(r.err, context.DeadlineExceeded) {
				t.Errorf("error %v is no timeout", r.err)
			}
			if s.Taken() != tc.taken {
				t.Errorf("server took %d, want %d", s.Taken(), tc.taken)
			}
		})
	}
}

// TestGreetingHasItsOwnWait: a host that lets everybody wait longer than a
// connection may take is waited for.
func TestGreetingHasItsOwnWait(t *testing.T) {
	u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Greeting, Delay: 2 * short}}}, func(c *Config) { c.ConnectTimeout = short })
	if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" {
		t.Errorf("got %v", r)
	}
}

func TestCancelAbortsIO(t *testing.T) {
	for _, stage := range []smtptest.Stage{smtptest.Greeting, smtptest.Mail, smtptest.Rcpt, smtptest.Data, smtptest.Dot} {
		t.Run(string(stage), func(t *testing.T) {
			t.Parallel()
			gate := smtptest.NewGate()
			u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: stage, Gate: gate}}, Offer: []string{}}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-gate.Reached()
				cancel()
			}()
			r := send(ctx, u, Route{}, mail.Envelope{}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...)
			if !errors.Is(r.err, context.Canceled) || errors.Is(r.err, ErrUnknownOutcome) != (stage == smtptest.Dot) {
				t.Errorf("got %v", r)
			}
		})
	}
}

func TestDeadlineAbortsIO(t *testing.T) {
	for _, stage := range []smtptest.Stage{smtptest.Greeting, smtptest.Handshake, smtptest.Mail, smtptest.Rcpt, smtptest.Data, smtptest.Dot} {
		t.Run(string(stage), func(t *testing.T) {
			t.Parallel()
			gate := smtptest.NewGate()
			u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: stage, Gate: gate}}, Offer: []string{"STARTTLS"}}, func(c *Config) {
				if stage == smtptest.Handshake {
					c.TLS = EncryptRequired
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 12*short) // all stages at the same time
			defer cancel()
			r := send(ctx, u, Route{}, mail.Envelope{}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...)
			if !errors.Is(r.err, context.DeadlineExceeded) || errors.Is(r.err, ErrUnknownOutcome) != (stage == smtptest.Dot) {
				t.Errorf("got %v", r)
			}
			gate.Release()
			if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" {
				t.Errorf("the next one: %v, %d connections", r, s.Accepted())
			}
		})
	}
}

func TestDeadlineEndsTheWaitForAConnection(t *testing.T) {
	u, _ := start(t, smtptest.Options{}, func(c *Config) { c.MaxConnections = 1 })
	holder := u.Begin(Route{}, &mail.Envelope{})
	defer holder.Close()
	if _, err := holder.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	r := send(ctx, u, Route{}, mail.Envelope{}, Content{}, recipients("b@b.example")...)
	if !errors.Is(r.err, context.DeadlineExceeded) {
		t.Errorf("got %v", r)
	}
}

func TestBodyRefusedHalfWay(t *testing.T) {
	// The host replies and hangs up after 1,000 octets; the refusal counts.
	for mode, offer := range modes {
		t.Run(mode, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			read := make(chan struct{})
			go func() {
				defer close(read)
				refuseHalfWay(ln, offer, "552 5.3.4 too big")
			}()
			u := newUpstream(t, testConfig(ln.Addr().String()))
			body := Content{Chunks: [][]byte{[]byte(strings.Repeat("0123456789abcde\r\n", 1<<20))}}
			r := send(t.Context(), u, Route{}, mail.Envelope{}, body, recipients("b@b.example")...)
			if r.codes() != "250 final 552" {
				t.Errorf("got %v", r)
			}
			<-read
		})
	}
}

// TestBDATRefusedHalfWay as a command is not a verdict on the message, also where
// the host hangs up, and DATA is used from then on.
func TestBDATRefusedHalfWay(t *testing.T) {
	for _, reply := range []string{"500 5.5.2 what", "502 5.5.1 no", "503 5.5.1 not now", "504 5.5.4 no"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			refuseHalfWay(ln, modes["chunking"], reply)
		}()
		cfg := testConfig(ln.Addr().String())
		u := newUpstream(t, cfg)
		body := Content{Chunks: [][]byte{[]byte(strings.Repeat("0123456789abcde\r\n", 1<<20))}}
		r := send(t.Context(), u, Route{}, mail.Envelope{}, body, recipients("b@b.example")...)
		if r.err == nil || errors.Is(r.err, ErrUnknownOutcome) || u.hosts[0].noBDAT.until.IsZero() {
			t.Errorf("%s: got %v, BDAT again after %v", reply, r, u.hosts[0].noBDAT.until)
		}
		ln.Close()
		<-read
	}
}

func refuseHalfWay(ln net.Listener, offer []string, reply string) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	c.SetDeadline(time.Now().Add(long))
	say := func(s string) { c.Write([]byte(s)) }
	b := make([]byte, 4096)
	say("220 x\r\n")
	c.Read(b)
	say("250-x\r\n")
	for _, o := range offer {
		say("250-" + o + "\r\n")
	}
	say("250 HELP\r\n")
	for _, o := range offer {
		if o == "PIPELINING" {
			c.Read(b)
			say("250 ok\r\n250 ok\r\n")
		}
	}
	if len(offer) == 0 {
		c.Read(b)
		say("250 ok\r\n")
		c.Read(b)
		say("250 ok\r\n")
	}
	c.Read(b) // DATA, or BDAT with the first octet
	if len(offer) < 2 || offer[1] != "CHUNKING" {
		say("354 go\r\n")
	} else {
		say("250 ok\r\n")
	}
	c.Read(b)
	say(reply + "\r\n")
	// Shut down without a reset for a moment, so that the reply can be read.
	c.(*net.TCPConn).CloseWrite()
	c.(*net.TCPConn).SetLinger(-1)
	c.Read(b)
	c.Close()
}

func TestKeptConnectionIsReplacedOnce(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"dropped at MAIL":       {Stage: smtptest.Mail, Drop: smtptest.DropBefore},
		"reset at MAIL":         {Stage: smtptest.Mail, Drop: smtptest.DropBefore, RST: true},
		"421 to MAIL":           {Stage: smtptest.Mail, Reply: "421 4.4.2 too many messages"},
		"421 and no connection": {Stage: smtptest.Dot, Raw: "250 2.0.0 ok\r\n421 4.4.2 timeout\r\n", Drop: smtptest.DropAfter},
	} {
		for mode, offer := range modes {
			if f.Raw != "" && mode == "chunking" {
				continue // EHLO behind BDAT has no reply then: the outcome is unknown
			}
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				f := f
				f.Conn = 1
				if f.Stage == smtptest.Mail {
					f.After = 1
				}
				u, s := start(t, smtptest.Options{Offer: offer, Faults: []smtptest.Fault{f}}, nil)
				for range 2 {
					if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" {
						t.Fatalf("got %v", r)
					}
				}
				ms := s.Messages()
				if len(ms) != 2 || ms[0].Conn != 1 || ms[1].Conn != 2 {
					t.Errorf("%d messages on %d connections", len(ms), s.Accepted())
				}
			})
		}
	}
}

func TestReplacementIsTriedOnlyOnce(t *testing.T) {
	u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Mail, After: 1, Drop: smtptest.DropBefore}}}, nil)
	deliver(t, u, "b@b.example")
	if r := deliver(t, u, "b@b.example"); r.err == nil {
		t.Errorf("got %v", r)
	}
	if s.Accepted() != 2 {
		t.Errorf("%d connections, want 2", s.Accepted())
	}
}

func TestNothingIsRepeatedAfterTheFinalDot(t *testing.T) {
	for mode, offer := range modes {
		t.Run(mode, func(t *testing.T) {
			u, s := start(t, smtptest.Options{Offer: offer, Faults: []smtptest.Fault{{Stage: smtptest.Dot, After: 1, Drop: smtptest.DropBefore}}}, nil)
			deliver(t, u, "b@b.example")
			r := deliver(t, u, "b@b.example") // on the kept connection
			if !errors.Is(r.err, ErrUnknownOutcome) || s.Taken() != 2 || s.Accepted() != 1 {
				t.Errorf("got %v, %d taken, %d connections", r, s.Taken(), s.Accepted())
			}
		})
	}
}

func TestDeadIdleConnectionIsSeenWithoutARoundTrip(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	deliver(t, u, "b@b.example")
	s.DropAll()
	if err := s.WaitOpen(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" {
		t.Fatalf("got %v", r)
	}
	for _, c := range s.Commands() {
		if strings.HasPrefix(c, "1 RSET") {
			t.Errorf("%q went to the dead connection", c)
		}
	}
}

func TestFaultNamesHostAndStage(t *testing.T) {
	u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Hello, Reply: "451 4.3.2 busy"}}}, nil)
	r := deliver(t, u, "b@b.example")
	if want := fmt.Sprintf("upstream test: %s: %s: EHLO: host replied \"451 4.3.2 busy\"", s.Addr(), s.Addr()); r.err == nil || r.err.Error() != want {
		t.Errorf("error %v, want %s", r.err, want)
	}
	s.Refuse(true)
	if r := deliver(t, u, "b@b.example"); r.err == nil || !strings.Contains(r.err.Error(), "refused") {
		t.Errorf("got %v", r)
	}
}
