package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/dnstest"
)

// outcomes is how many transactions TestOutcomes has; 0: as many as make test has time
// for.
var outcomes = flag.Int("outcomes", 0, "transactions of TestOutcomes")

// TestOutcomes plays messages to 1 to 20 domains, by SMTP and LMTP, through a relay that is
// killed now and then, to receivers that answer at random and drop connections, for
// clients that try again and sometimes hang up before the last reply. Nothing is lost,
// nothing is called taken that is not, and a recipient has a message twice only where
// somebody did not hear a reply: the receiver's got lost, the relay was killed, or the
// client had gone.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	n, within := *outcomes, time.Hour
	if n == 0 { // however busy the machine is and whatever the race detector costs
		if n, within = 1500, 12*time.Second; testing.Short() {
			n, within = 300, 4*time.Second
		}
	}
	w := newOutcomeWorld(t)
	enough := time.AfterFunc(within, w.enough)
	defer enough.Stop()
	w.play(n, 8)
	w.judge()
}

const outcomeDomains = 20

// outcomeWorld is the relay, the receivers, and what each of them knows.
type outcomeWorld struct {
	t          *testing.T
	dir        string
	smtp, lmtp string // addresses of the listeners

	mu      sync.Mutex
	random  *rand.Rand
	relay   *process
	crashes int
	left    int // transactions that may still begin
	over    bool
	taken   map[string]int
	blind   map[string]int // times that somebody did not hear of it, by message and recipient
	done    map[string]string
}

func newOutcomeWorld(t *testing.T) *outcomeWorld {
	w := &outcomeWorld{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(1, 20)), taken: map[string]int{}, blind: map[string]int{}, done: map[string]string{}}
	zone := dnstest.StartZone(t)
	port := freePort(t)
	for i := range outcomeDomains {
		ip := fmt.Sprintf("127.0.4.%d", i+1)
		zone.Add(fmt.Sprintf("d%d.example. 3600 MX 10 mx.d%d.example.", i, i), fmt.Sprintf("mx.d%d.example. 3600 A %s", i, ip))
		w.receive(net.JoinHostPort(ip, strconv.Itoa(port)))
	}
	w.smtp, w.lmtp = freeAddress(t), freeAddress(t)
	writeFile(t, filepath.Join(w.dir, "relay.toml"), fmt.Sprintf(`
hostname = "relay.example.org"
state_dir = "state"
[listener.smtp]
address = %q
max_connections_per_ip = 500
[listener.lmtp]
address = %q
protocol = "lmtp"
max_connections_per_ip = 500
[session]
refused_recipients = 1000000
errors = 1000000
idle_commands = 1000000
max_messages = 1000000
[client.mta]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "world"
[upstream.world]
mx = true
port = %d
mta_sts = false
resolvers = [%q]
allow_networks = ["127.0.0.0/8"]
[outlier]
mode = "shadow"
[reputation]
resolvers = ["127.0.0.1:9"]
timeout = "1s"
[log]
level = "warn"
`, w.smtp, w.lmtp, port, zone.Address))
	w.start()
	return w
}

func (w *outcomeWorld) start() {
	p := startRelayIn(w.t, w.dir)
	for limit := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", w.lmtp)
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-p.done:
			w.t.Fatalf("the relay has ended: %s", p.output())
		default:
		}
		if time.Now().After(limit) {
			w.t.Fatalf("the relay does not listen: %s", p.output())
		}
	}
	w.mu.Lock()
	w.relay = p
	w.mu.Unlock()
}

// enough has no more messages begun; those that have are still tried.
func (w *outcomeWorld) enough() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.over = 0, true
}

// chance is true n times of a thousand.
func (w *outcomeWorld) chance(n int) bool { return w.number(1000) < n }

func (w *outcomeWorld) number(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// note counts something of each recipient of a message.
func (w *outcomeWorld) note(in map[string]int, message string, to []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range to {
		in[message+" "+r]++
	}
}

// receive runs the exchanger of one domain.
func (w *outcomeWorld) receive(address string) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				w.exchange(c)
			})
		}
	})
	w.t.Cleanup(func() {
		ln.Close()
		if w.relay != nil {
			w.relay.kill()
		}
		wg.Wait()
	})
}

// exchange is one session of an exchanger, which says what it likes.
func (w *outcomeWorld) exchange(c net.Conn) {
	in, out := bufio.NewReader(c), bufio.NewWriter(c)
	say := func(line string) { out.WriteString(line + "\r\n") }
	say("220 mx ESMTP")
	var to []string
	for {
		if in.Buffered() == 0 {
			out.Flush()
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimSpace(line); strings.ToUpper(line[:min(4, len(line))]) {
		case "EHLO":
			say("250-mx\r\n250-PIPELINING\r\n250 8BITMIME")
		case "RCPT":
			switch n := w.number(1000); {
			case n < 60:
				say("450 4.2.1 mailbox is busy")
			case n < 80:
				say("550 5.7.1 not from you")
			case n < 90:
				return
			default:
				to = append(to, line[len("RCPT TO:<"):strings.IndexByte(line, '>')])
				say("250 2.1.5 ok")
			}
		case "DATA":
			switch n := w.number(1000); {
			case n < 10:
				return
			case n < 20:
				say("451 4.3.0 not now")
				continue
			}
			say("354 go on")
			out.Flush()
			if w.chance(10) {
				return // in the middle
			}
			message, ok := readMessageID(in)
			if !ok || !w.verdict(message, to, say, out) {
				return
			}
			to = nil
		case "QUIT":
			say("221 2.0.0 bye")
			out.Flush()
			return
		default:
			if strings.HasPrefix(line, "MAIL") || strings.HasPrefix(line, "RSET") {
				to = nil
			}
			say("250 2.0.0 ok")
		}
	}
}

// verdict is what becomes of a message; false ends the session.
func (w *outcomeWorld) verdict(message string, to []string, say func(string), out *bufio.Writer) bool {
	switch n := w.number(1000); {
	case n < 90:
		say("451 4.3.0 later")
	case n < 130:
		say("554 5.7.1 no")
	case n < 140:
		return false
	case n < 170: // taken, and nobody hears of it
		w.note(w.taken, message, to)
		w.note(w.blind, message, to)
		return false
	default:
		w.note(w.taken, message, to)
		say("250 2.0.0 ok")
		if out.Flush() != nil {
			w.note(w.blind, message, to)
			return false
		}
	}
	return true
}

// readMessageID reads a message to its dot.
func readMessageID(in *bufio.Reader) (id string, ok bool) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", false
		}
		if line == ".\r\n" {
			return id, id != ""
		}
		if text, found := strings.CutPrefix(line, "Message-ID: <"); found {
			id, _, _ = strings.Cut(text, "@")
		}
	}
}

// job is a message with the recipients who wait for it.
type job struct {
	id   string
	from string
	lmtp bool
	to   []string
}

// play has clients send until n transactions have been, and then all that is left.
func (w *outcomeWorld) play(n, clients int) {
	w.left = n
	stop, killed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(killed)
		for at := n; ; at -= max(100, n/60) {
			for {
				w.mu.Lock()
				left, over := w.left, w.over
				w.mu.Unlock()
				if left <= at-max(100, n/60) && !over {
					break
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
			w.relay.kill()
			w.crashes++
			w.start()
		}
	}()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() { w.client(c) })
	}
	wg.Wait()
	close(stop)
	<-killed
}

// client sends messages of its own, a few of them at the same time in its queue.
func (w *outcomeWorld) client(number int) {
	var queue []*job
	conns := map[bool]*outcomeConn{}
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for made := 0; ; {
		w.mu.Lock()
		more := w.left > 0
		w.mu.Unlock()
		for more && len(queue) < 5 {
			made++
			queue = append(queue, w.newJob(fmt.Sprintf("%d.%d", number, made)))
		}
		if len(queue) == 0 {
			return
		}
		i := w.number(len(queue))
		j := queue[i]
		if w.try(j, conns); len(j.to) == 0 {
			queue = append(queue[:i], queue[i+1:]...)
		}
	}
}

func (w *outcomeWorld) newJob(id string) *job {
	j := &job{id: id, from: fmt.Sprintf("s%d@example.org", w.number(100)), lmtp: w.chance(300)}
	domains := 1 + w.number(4)
	if w.chance(150) {
		domains = 1 + w.number(outcomeDomains)
	}
	first := w.number(outcomeDomains)
	for i := range domains {
		for k := range 1 + w.number(2) {
			j.to = append(j.to, fmt.Sprintf("r%d@d%d.example", k, (first+i)%outcomeDomains))
		}
	}
	return j
}

// outcomeConn is a connection with the relay.
type outcomeConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *outcomeConn) code() (int, error) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if len(line) < 4 || line[3] != '-' {
			return strconv.Atoi(line[:3])
		}
	}
}

func (w *outcomeWorld) dial(lmtp bool) (*outcomeConn, error) {
	address, hello := w.smtp, "EHLO mta.example.org\r\n"
	if lmtp {
		address, hello = w.lmtp, "LHLO mta.example.org\r\n"
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	c := &outcomeConn{conn, bufio.NewReader(conn)}
	if _, err = c.code(); err == nil {
		if _, err = conn.Write([]byte(hello)); err == nil {
			_, err = c.code()
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// try is one transaction. What the client does not hear it tries again.
func (w *outcomeWorld) try(j *job, conns map[bool]*outcomeConn) {
	c := conns[j.lmtp]
	if c == nil {
		var err error
		if c, err = w.dial(j.lmtp); err != nil {
			time.Sleep(5 * time.Millisecond)
			return
		}
		conns[j.lmtp] = c
	}
	w.mu.Lock()
	w.left--
	w.mu.Unlock()
	if err := w.transact(c, j); err != nil {
		c.Close()
		delete(conns, j.lmtp)
	}
}

var errHungUp = errors.New("the client has hung up")

func (w *outcomeWorld) transact(c *outcomeConn, j *job) error {
	var b strings.Builder
	// Few senders write to the same recipients, so that one message meets what is
	// remembered of others.
	fmt.Fprintf(&b, "MAIL FROM:<%s>\r\n", j.from)
	for _, to := range j.to {
		b.WriteString("RCPT TO:<" + to + ">\r\n")
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(b.String() + "DATA\r\n")); err != nil {
		return err
	}
	if code, err := c.code(); err != nil || code != 250 {
		return errors.Join(err, fmt.Errorf("MAIL: %d", code))
	}
	var sent, rest []string
	for _, to := range j.to {
		switch code, err := c.code(); {
		case err != nil:
			return err
		case code == 250:
			sent = append(sent, to)
		case code >= 500:
			w.end(j.id, to, "refused")
		default:
			rest = append(rest, to)
		}
	}
	code, err := c.code()
	if err != nil {
		return err
	}
	if code != 354 {
		j.to = append(rest, sent...) // whom a refusal of DATA leaves for the next try
		return nil
	}
	if _, err := fmt.Fprintf(c, "From: a@example.org\r\nMessage-ID: <%s@example.org>\r\n\r\nhello\r\n.\r\n", j.id); err != nil {
		w.note(w.blind, j.id, sent)
		return err
	}
	j.to = append(append([]string(nil), rest...), sent...)
	if w.chance(15) {
		w.note(w.blind, j.id, sent)
		return errHungUp
	}
	return w.hear(c, j, sent, rest)
}

// hear takes the last replies: one, or over LMTP one for each.
func (w *outcomeWorld) hear(c *outcomeConn, j *job, sent, rest []string) error {
	code := 0
	for i, to := range sent {
		if i == 0 || j.lmtp {
			var err error
			if code, err = c.code(); err != nil {
				w.note(w.blind, j.id, sent[i:])
				j.to = append(rest, sent[i:]...)
				return err
			}
		}
		switch code / 100 {
		case 2:
			w.end(j.id, to, "taken")
		case 5:
			w.end(j.id, to, "refused")
		default:
			rest = append(rest, to)
		}
	}
	j.to = rest
	return nil
}

// end notes what the client has been told of a recipient.
func (w *outcomeWorld) end(message, to, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[message+" "+to] = what
}

// judge holds what clients were told against what receivers have.
func (w *outcomeWorld) judge() {
	t := w.t
	lost, false2, copies, unexplained, told := 0, 0, 0, 0, 0
	for key, what := range w.done {
		n, blind := w.taken[key], w.blind[key]
		switch {
		case what == "taken" && n == 0:
			lost++
		case what == "refused" && n > 0 && blind == 0:
			false2++
		}
		if n > 1 {
			copies += n - 1
			if n-1 > blind {
				unexplained++
				t.Errorf("%s: %d copies, %d times a reply was not heard", key, n, blind)
			}
		}
		told++
	}
	for key := range w.taken {
		if w.done[key] == "" {
			t.Errorf("%s is taken, and its client knows of no end", key)
		}
	}
	if lost > 0 || false2 > 0 {
		t.Errorf("%d lost, %d refused although they were taken", lost, false2)
	}
	t.Logf("%d recipients of %d kills: 0 lost, %d second copies, %d of them unexplained", told, w.crashes, copies, unexplained)
}
