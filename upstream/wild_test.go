package upstream

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// wild is an upstream that judges each message rightly and says what it likes.
// It keeps each true verdict. A message is known by the number in its Subject; the
// sender "bad" and the recipient "no" are refused, and so is a message or a DATA
// for a recipient with "spam" or "nodata" in its name.
type wild struct {
	ln    net.Listener
	tls   *tls.Config // non-nil: TLS from the first octet
	offer []string
	// knowsBDAT says of a connection whether BDAT is carried out, or refused by
	// 502 and what follows read as commands. Nil: it is.
	knowsBDAT func(conn int) bool
	// takes is how many messages are taken on one connection; all further ones are
	// refused by overfull to the command at fullAt (mail, data; a chunk is read
	// first). 0: any number.
	takes  int
	fullAt string
	// say is called for each reply in place of writing it. Nil: it is written.
	say func(c *wildConn, stage, reply string) error

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	commands []string // of all connections, if keep
	keep     bool
	smuggled int            // commands that came out of a message
	shifted  int            // those in whose transaction a reply had been added: nobody can tell it from the true one
	truth    map[string]int // code of the verdict on each message that came whole
	refused  map[string]int // messages whose DATA was refused, by recipient
	wg       sync.WaitGroup
}

func newWild(t testing.TB, w *wild) *wild {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.ln, w.conns, w.truth, w.refused = ln, map[net.Conn]bool{}, map[string]int{}, map[string]int{}
	if w.offer == nil {
		w.offer = []string{"PIPELINING", "8BITMIME", "CHUNKING"}
	}
	if w.say == nil {
		w.say = func(c *wildConn, _, reply string) error { return c.write(reply) }
	}
	w.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns[c] = true
			w.accepted++
			n := w.accepted
			w.mu.Unlock()
			w.wg.Go(func() { w.serve(c, n) })
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *wild) stop() {
	w.ln.Close()
	w.mu.Lock()
	for c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

func wildTLS(t testing.TB) *tls.Config {
	t.Helper()
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(smtptest.Cert{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// config is for an upstream in front of w.
func (w *wild) config() Config {
	cfg := testConfig(w.ln.Addr().String())
	if w.tls != nil {
		cfg.TLS, cfg.ImplicitTLS = EncryptRequired, true
	}
	return cfg
}

// wildConn is one connection. say may write to it later, too.
type wildConn struct {
	w    *wild
	n    int
	r    *bufio.Reader
	mail string // reverse-path
	to   []string
	id   string // of the message, once it has come
	done int    // verdicts given
	body bool   // from 354 or the first BDAT to the verdict

	added  atomic.Int64 // replies that nobody asked for
	before int64        // of those, added before the reply behind which this transaction began

	mu  sync.Mutex
	out net.Conn
}

// write writes replies: lines separated by "\n", without the last end.
func (c *wildConn) write(reply string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.out, strings.ReplaceAll(reply, "\n", "\r\n")+"\r\n")
	return err
}

func (w *wild) serve(raw net.Conn, n int) {
	c := &wildConn{w: w, n: n, out: raw}
	defer func() {
		raw.Close()
		w.mu.Lock()
		delete(w.conns, raw)
		w.mu.Unlock()
	}()
	raw.SetDeadline(time.Now().Add(10 * time.Minute))
	if w.tls != nil {
		c.out = tls.Server(raw, w.tls)
	}
	c.r = bufio.NewReader(c.out)
	if w.say(c, "greeting", "220 wild.example") != nil {
		return
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil || c.do(strings.TrimRight(line, "\r\n")) != nil {
			return
		}
	}
}

func (c *wildConn) do(line string) error {
	w := c.w
	w.mu.Lock()
	if w.keep {
		w.commands = append(w.commands, fmt.Sprintf("%d %s", c.n, line))
	}
	if strings.Contains(line, "victim") {
		if c.added.Load() > c.before {
			w.shifted++
		} else {
			w.smuggled++
		}
	}
	w.mu.Unlock()
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		c.reset()
		return w.say(c, "ehlo", "250-wild.example\n250-"+strings.Join(w.offer[:len(w.offer)-1], "\n250-")+"\n250 "+w.offer[len(w.offer)-1])
	case "MAIL":
		if c.overfull("mail") {
			return w.say(c, "mail", overfull)
		}
		if strings.Contains(arg, "<bad") {
			return w.say(c, "mail", "550 5.7.1 bad sender")
		}
		c.mail = arg
		return w.say(c, "mail", "250 2.1.0 sender ok")
	case "RCPT":
		switch {
		case c.mail == "":
			return w.say(c, "rcpt", "503 5.5.1 MAIL first")
		case strings.Contains(arg, "<no-"):
			return w.say(c, "rcpt", "550 5.1.1 no such user")
		}
		c.to = append(c.to, arg)
		return w.say(c, "rcpt", "250 2.1.5 recipient ok")
	case "DATA":
		return c.data()
	case "BDAT":
		return c.bdat(arg)
	case "RSET":
		c.reset()
		return w.say(c, "rset", "250 2.0.0 reset")
	case "QUIT":
		w.say(c, "quit", "221 2.0.0 bye")
		return io.EOF
	}
	return w.say(c, "unknown", "500 5.5.2 what?")
}

// overfull is what a well-known server says, which does not hang up.
const overfull = "452 4.4.5 Maximum number of messages per session exceeded."

func (c *wildConn) overfull(at string) bool {
	return c.w.takes > 0 && c.done >= c.w.takes && c.w.fullAt == at
}

// reset comes before the reply behind which another transaction may begin.
func (c *wildConn) reset() {
	c.mail, c.to, c.id, c.body, c.before = "", nil, "", false, c.added.Load()
}

func (c *wildConn) data() error {
	all := strings.Join(c.to, " ")
	switch {
	case len(c.to) == 0:
		return c.w.say(c, "data", "554 5.5.1 no valid recipients")
	case c.overfull("data"):
		return c.w.say(c, "data", overfull)
	case strings.Contains(all, "nodata"):
		return c.w.say(c, "data", "554 5.7.1 not from you")
	}
	c.body = true
	if err := c.w.say(c, "data", "354 go on"); err != nil {
		return err
	}
	var text strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		if line == ".\r\n" {
			return c.verdict(text.String())
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (c *wildConn) bdat(arg string) error {
	if c.w.knowsBDAT != nil && !c.w.knowsBDAT(c.n) {
		return c.w.say(c, "bdat", "502 5.5.1 command not implemented")
	}
	c.body = true
	number, last := strings.CutSuffix(arg, " LAST")
	n, err := strconv.Atoi(number)
	if err != nil || n > 1<<20 {
		return io.EOF
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(c.r, chunk); err != nil {
		return err
	}
	c.id += string(chunk)
	switch {
	case len(c.to) == 0:
		return c.w.say(c, "bdat", "554 5.5.1 no valid recipients")
	case !last:
		return c.w.say(c, "bdat", fmt.Sprintf("250 2.0.0 %d octets", n))
	case c.overfull("data"):
		c.reset()
		return c.w.say(c, "verdict", overfull)
	}
	return c.verdict(c.id)
}

var subject = regexp.MustCompile(`(?m)^Subject: (\S+)\r$`)

// verdict is the true one on a message that came whole.
func (c *wildConn) verdict(text string) error {
	reply := "250 2.6.0 queued"
	if strings.Contains(strings.Join(c.to, " "), "spam") {
		reply = "554 5.7.1 spam"
	}
	if m := subject.FindStringSubmatch(text); m != nil {
		c.id = m[1]
		c.w.mu.Lock()
		c.w.truth[c.id], _ = strconv.Atoi(reply[:3])
		c.w.mu.Unlock()
	}
	before := c.added.Load()
	err := c.w.say(c, "verdict", reply)
	c.done++
	c.reset()
	c.before = before
	return err
}

// seen returns the commands that w has kept.
func (w *wild) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.commands...)
}

func (w *wild) takenAs(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.truth[id]
}
