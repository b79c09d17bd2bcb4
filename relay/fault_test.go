package relay

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/ratelimit"
)

func (r *rig) facts() ratelimit.Facts {
	return ratelimit.Facts{Client: "corporate", Sender: "a@example.org", SenderDomain: "example.org", Stream: "main", ClientIP: "127.0.0.1", Upstream: "up"}
}

func (r *rig) recipients(all ...string) (rs []ratelimit.Recipient) {
	for _, a := range all {
		rs = append(rs, ratelimit.Recipient{Address: mail.RecipientID(a), Domain: a[strings.IndexByte(a, '@')+1:]})
	}
	return rs
}

// A fault of ours in one session ends that one alone, and its upstream
// connection is not lost.
func TestPanicEndsOneSessionAlone(t *testing.T) {
	r := newRig(t)
	r.set("", "listener.max_connections_per_ip 3")
	r.hooks.Suppressed = func(_ string, to mail.RecipientID) bool {
		if strings.HasPrefix(string(to), "panic") {
			panic("a fault of ours")
		}
		return false
	}
	good := r.dial()
	good.envelope("b@dest.example")
	for range 5 { // more than the cap: none may be counted on
		bad := r.dial()
		bad.envelope("b@dest.example")
		bad.send("RCPT TO:<panic@dest.example>\r\n")
		bad.closed()
	}
	good.say("DATA", "354")
	good.send(plainMail)
	good.want("250")
	if n := r.server.Connections(); n > 2 {
		t.Errorf("%d connections are open", n)
	}
}

// panicking is an observer with a fault.
type panicking struct{ *events }

func (p panicking) Observe(e *mail.Event) {
	p.events.Observe(e)
	panic("a fault in an observer")
}

// A fault while a transaction is accounted for accounts for it once.
func TestPanicInAnObserverAccountsOnce(t *testing.T) {
	r := newRig(t)
	var log lockedBuffer
	r.log = slog.New(slog.NewTextHandler(&log, nil))
	r.tune = func(s *Server) { s.observers = []mail.Observer{panicking{&r.events}} }
	p := r.dial()
	p.open("b@dest.example")
	p.send(plainMail)
	p.closed()
	r.stop()
	if n := r.events.count(); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	if got := log.String(); !strings.Contains(got, "a fault in an observer") || strings.Contains(got, "nil pointer") {
		t.Errorf("a second fault followed: %s", got)
	}
}

// The temporary file of a large body has no name.
func TestLargeBodyGoesToAnUnnamedFile(t *testing.T) {
	r := newRig(t)
	r.message.Memory = 64 << 10
	r.start()
	p := r.dial()
	p.open("b@dest.example")
	big := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000)
	p.send("From: a@example.org\r\n\r\n" + big + ".\r\n")
	p.want("250")
	m := r.up.Messages()[0]
	if !strings.HasSuffix(string(m.Data), "\r\n\r\n"+big) {
		t.Error("arrived changed")
	}
	files, err := os.ReadDir(r.server.spool.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "body-") {
			t.Errorf("%s was left", f.Name())
		}
	}
	p.say("NOOP", "250")
	if n := r.server.spool.used.Load(); n != 0 {
		t.Errorf("%d octets of memory are still counted", n)
	}
}

// A disk that is full or gone is a 452, and the session goes on.
func TestSpoolFaultIsTemporary(t *testing.T) {
	full := func(dir string) (*os.File, error) {
		f, err := unlinkedFile(dir)
		if err != nil {
			return nil, err
		}
		// A file that is open for reading alone fails as a full disk does.
		defer f.Close()
		return os.Open(os.DevNull)
	}
	for name, create := range map[string]func(string) (*os.File, error){
		"cannot make a file": func(string) (*os.File, error) { return nil, errors.New("no space left on device") },
		"cannot write it":    full,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.message.Memory = 0
			r.set("", "limit.sender.per sender")
			r.set("", "limit.sender.messages 1/1h")
			r.tune = func(s *Server) { s.spool.create = create }
			p := r.dial()
			for _, chunks := range []bool{false, true} {
				p.envelope("b@dest.example")
				body := "From: a@example.org\r\n\r\n" + strings.Repeat("0123456789\r\n", 10_000)
				if chunks {
					p.send("BDAT 120023 LAST\r\n" + body)
				} else {
					p.say("DATA", "354")
					p.send(body + ".\r\n")
				}
				p.want("452 4.3.1 no room for the message now, try again later")
			}
			e := r.events.wait(t, 0)
			if e.Outcome != mail.Deferred || e.Rule != "spool" || e.Err == "" || strings.Contains(e.Reply, "space") {
				t.Errorf("event %+v", e)
			}
			if n := r.server.spool.used.Load(); n != 0 {
				t.Errorf("%d octets of memory are still counted", n)
			}
			if r.up.Taken() != 0 {
				t.Error("a message arrived")
			}
		})
	}
}

// All bodies together stay within memory_total, beyond it they go to files.
func TestBodiesTogetherStayInBounds(t *testing.T) {
	r := newRig(t)
	r.message.MemoryTotal = 200 << 10
	r.start()
	var peers []*peer
	body := "From: a@example.org\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 10_000)
	for range 8 {
		p := r.dial()
		p.open("b@dest.example")
		p.send(body)
		peers = append(peers, p)
	}
	for _, p := range peers { // each has been read as far as it came
		p.send(".\r\n")
		p.want("250")
	}
	most := int64(200<<10 + 8*smallChunk + largeChunk)
	if n := r.server.spool.used.Load(); n > most {
		t.Errorf("%d octets in memory", n)
	}
	for _, m := range r.up.Messages() {
		if !strings.HasSuffix(string(m.Data), body) {
			t.Error("arrived changed")
		}
	}
}

// A body that dribbles in is given up, and holds no upstream connection while
// it does.
func TestSlowBodyIsGivenUp(t *testing.T) {
	r := newRig(t)
	r.message.MinRate = 1 << 40
	r.set("", "timeouts.park 10ms")
	r.set("", "upstream.max_connections 1")
	r.grace = time.Nanosecond
	for _, data := range []string{"DATA\r\nFrom: a@example.org\r\n", "BDAT 1000 LAST\r\nFrom: a@example.org\r\n"} {
		p := r.dial()
		p.envelope("b@dest.example")
		p.send(data)
		if strings.HasPrefix(data, "DATA") {
			p.want("354")
		}
		p.want("421 4.4.2 message data comes in too slowly, closing the connection")
		p.closed()
	}
	for i := range 2 {
		if e := r.events.wait(t, i); e.Rule != "min_rate" || e.Outcome != mail.Deferred || e.Stage != mail.StageData {
			t.Errorf("event %+v", e)
		}
	}
}

// While slow clients dawdle, one connection to the upstream is enough for all.
func TestSlowClientsHoldNoUpstreamConnection(t *testing.T) {
	r := newRig(t)
	r.set("", "timeouts.park 20ms")
	r.set("", "upstream.max_connections 1")
	r.start()
	var slow []*peer
	for i := range 10 {
		p := r.dial()
		p.envelope("b@dest.example")
		if i%2 == 0 {
			p.say("DATA", "354")
			p.send("From: a@example.org\r\n")
		}
		slow = append(slow, p)
	}
	quick := r.dial()
	quick.open("q@dest.example")
	quick.send(plainMail)
	quick.want("250")
	for i, p := range slow {
		if i%2 == 1 {
			p.say("DATA", "354")
			p.send("From: a@example.org\r\n")
		}
		p.send("\r\nx\r\n.\r\n")
		p.want("250")
	}
	if n := r.up.Accepted(); n != 1 {
		t.Errorf("%d connections to the upstream, want 1", n)
	}
	if n := r.up.Taken(); n != 11 {
		t.Errorf("%d messages arrived, want 11", n)
	}
}

// A limit store that hangs is left within its time-out, and nothing passes.
func TestStoreThatHangsIsLeft(t *testing.T) {
	r := newRig(t)
	r.set("", "limit.sender.per sender")
	r.set("", "limit.sender.messages 10/1h")
	r.set("", "timeouts.limiter 30ms")
	r.hang = true
	p := r.dial()
	p.say("EHLO x", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	p.say("RCPT TO:<b@dest.example>", "451 4.3.2")
	if n := r.up.Accepted(); n != 0 {
		t.Errorf("%d connections to the upstream", n)
	}
}

// Every recipient of a group that the upstream defers is given back in one step.
func TestDeferredGroupIsGivenBackAtOnce(t *testing.T) {
	r := newRig(t)
	r.set("", "limit.sender.per sender")
	r.set("", "limit.sender.recipients 5/1h")
	r.faults = []smtptest.Fault{{Stage: smtptest.Rcpt, Reply: "450 4.2.1 busy", Times: 5}}
	counting := &countingStore{}
	r.tune = func(s *Server) {
		counting.Store = r.store
		s.limiter = r.limiterOf(counting)
	}
	p := r.dial()
	p.say("EHLO x", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	group := strings.Repeat("RCPT TO:<b@dest.example>\r\n", 5)
	p.send(group)
	for range 5 {
		p.want("450 4.2.1")
	}
	p.send(group)
	for range 5 {
		p.want("250")
	}
	if counting.takes != 2 || counting.refunds != 1 {
		t.Errorf("%d takes and %d refunds, want 2 and 1", counting.takes, counting.refunds)
	}
}

type countingStore struct {
	ratelimit.Store
	takes, refunds int
}

func (c *countingStore) Take(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	c.takes++
	return c.Store.Take(ctx, b)
}

func (c *countingStore) Refund(ctx context.Context, id ratelimit.Attempt, rs []ratelimit.Return) error {
	c.refunds++
	return c.Store.Refund(ctx, id, rs)
}

// A command line has one deadline, however slowly its octets come.
func TestLineThatDribblesInIsGivenUp(t *testing.T) {
	r := newRig(t)
	r.set("", "timeouts.command 300ms")
	p := r.dial()
	p.send("EHLO x\r\nNOOP ")
	p.want("250")
	said := make(chan string, 1)
	go func() { said <- p.reply() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 { // the line stays below its longest
		select {
		case got := <-said:
			if !strings.HasPrefix(got, "421 4.4.2") {
				t.Errorf("server said %q", got)
			}
			return
		case <-tick.C:
			p.send("x")
		}
	}
	t.Error("the line was waited for as long as octets came")
}
