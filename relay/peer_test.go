package relay

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// peer is a client that a test leads by the hand.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// dial connects to the rig and reads the greeting.
func (r *rig) dial() *peer {
	r.t.Helper()
	p := r.connect()
	p.want("220")
	return p
}

func (r *rig) connect() *peer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.start())
	if err != nil {
		r.t.Fatal(err)
	}
	p := &peer{t: r.t}
	p.use(conn)
	r.t.Cleanup(func() { conn.Close() })
	return p
}

func (p *peer) use(conn net.Conn) {
	p.conn, p.in = conn, bufio.NewReader(conn)
	conn.SetDeadline(time.Now().Add(60 * time.Second))
}

func (p *peer) startTLS(c *tls.Config) {
	p.t.Helper()
	conn := tls.Client(p.conn, c)
	if err := conn.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.use(conn)
}

// send writes octets; that the server has closed meanwhile is not a fault.
func (p *peer) send(s string) { p.conn.Write([]byte(s)) }

// reply reads one reply; "" at the end of the connection.
func (p *peer) reply() string {
	var all []string
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return strings.Join(all, "\n")
		}
		all = append(all, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "\n")
		}
	}
}

// want reads a reply that must begin so.
func (p *peer) want(start string) string {
	p.t.Helper()
	got := p.reply()
	if !strings.HasPrefix(got, start) || got == "" {
		p.t.Fatalf("server said %q, want %s", got, start)
	}
	return got
}

// say sends a command and reads its reply, which must begin so.
func (p *peer) say(command, start string) string {
	p.t.Helper()
	p.send(command + "\r\n")
	return p.want(start)
}

// closed reports that the server has closed without another word.
func (p *peer) closed() {
	p.t.Helper()
	if got := p.reply(); got != "" {
		p.t.Fatalf("server said %q, want the end of the connection", got)
	}
}

// open goes to the state behind DATA.
func (p *peer) open(to ...string) {
	p.t.Helper()
	p.envelope(to...)
	p.say("DATA", "354")
}

func (p *peer) envelope(to ...string) {
	p.t.Helper()
	p.say("EHLO mta.example.org", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	for _, a := range to {
		p.say("RCPT TO:<"+a+">", "250")
	}
}

const plainMail = "From: a@example.org\r\n\r\nx\r\n.\r\n"
