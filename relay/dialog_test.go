package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/relay/smtpd"
)

// A dialog file states one behaviour. Its lines:
//
//	# what it shows
//	set KEY VALUE        setting of the rig, see rig.set
//	fault STAGE [TO] ... reply of the upstream at a stage, see rig.fault
//	AT STATE             the client goes to ehlo, mail, rcpt or data by the usual
//	                     commands, all of which succeed: see states
//	mx DOMAIN            the upstream is the exchangers of the recipients' domains, and
//	                     this one has one; with STAGE ... it does that, as fault has it
//	UM: DOMAIN N         its exchanger has so many messages now
//	RELOAD KEY VALUE     the setting is changed while the relay runs
//	CONN NAME            what follows is on a connection of that name
//	C: text              the client sends the line and CR LF
//	C| text              the same, but together with the next C: or R:
//	R: "octets"          the client sends octets, quoted as in Go
//	R| "octets"          the same, but together with the next C: or R:
//	R* N "octets"        the client sends the octets N times
//	S: reply             the server must send this line; a * stands for any text
//	S+ code              the server must send a whole reply with this code
//	S- text              the same with code 250, and no line of it holds text
//	EOF                  the server must close
//	TLS [cert]           the client starts TLS
//	CLOSE                the client closes
//	E: key=value ...     the next event has these values; none: there is no more
//	U: key=value ...     the next message at the upstream has these values
//	U: none              and there are no more
//	UC: command          the upstream got this command; a * stands for any text
//	UC- command          and it did not get this one
//	WAIT command         until the upstream gets this command
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogs: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runDialog(t, file)
		})
	}
}

type dialog struct {
	t     *testing.T
	rig   *rig
	at    string // file:line
	event int    // the next one
	taken int    // messages that were looked at
	conns map[string]*dialogConn
	*dialogConn
}

type dialogConn struct {
	conn    net.Conn // nil before the first line that needs it
	in      *bufio.Reader
	pending bytes.Buffer
	state   int // of states
}

// states are what AT goes through, in order.
var states = []struct{ name, say, code string }{
	{"greeting", "", "220"},
	{"ehlo", "EHLO mta.example.org", "250"},
	{"mail", "MAIL FROM:<a@example.org>", "250"},
	{"rcpt", "RCPT TO:<b@dest.example>", "250"},
	{"data", "DATA", "354"},
}

func runDialog(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialog{t: t, rig: newRig(t), conns: map[string]*dialogConn{}}
	d.turnTo("")
	for n, line := range strings.Split(string(text), "\n") {
		d.at = fmt.Sprintf("%s:%d", filepath.Base(file), n+1)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d.line(line)
	}
	for _, c := range d.conns {
		if c.conn != nil {
			c.conn.Close()
		}
	}
}

func (d *dialog) turnTo(name string) {
	if d.conns[name] == nil {
		d.conns[name] = &dialogConn{}
	}
	d.dialogConn = d.conns[name]
}

func (d *dialog) line(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "set":
		d.rig.set(d.at, rest)
	case "fault":
		d.rig.fault(d.at, rest)
	case "mx":
		d.rig.mx(d.at, rest)
	case "UM:":
		d.expectTaken(rest)
	case "RELOAD":
		d.rig.reload(d.at, rest)
	case "AT":
		d.goTo(rest)
	case "CONN":
		d.turnTo(rest)
	case "C:":
		d.send(rest + "\r\n")
	case "C|":
		d.pending.WriteString(rest + "\r\n")
	case "R:":
		d.send(d.unquote(rest))
	case "R|":
		d.pending.WriteString(d.unquote(rest))
	case "R*":
		count, text, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(count)
		d.send(strings.Repeat(d.unquote(text), n))
	case "S:":
		d.expectLine(rest)
	case "S+":
		d.expectReply(rest, "\x00")
	case "S-":
		d.expectReply("250", rest)
	case "EOF":
		d.dial()
		if b, err := d.in.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			rest, _ := d.in.ReadString('\n')
			d.fatalf("server sent %q (%v), want the end of the connection", string(b)+rest, err)
		}
	case "TLS":
		d.startTLS(rest == "cert")
	case "CLOSE":
		d.dial()
		d.conn.Close()
	case "E:":
		d.expectEvent(rest)
	case "U:":
		d.expectMessage(rest)
	case "UC:":
		if !d.commanded(rest) {
			d.fatalf("upstream did not get %q but %q", rest, d.rig.up.Commands())
		}
	case "WAIT":
		for limit := time.Now().Add(60 * time.Second); !d.commanded(rest); time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				d.fatalf("upstream does not get %q but %q", rest, d.rig.up.Commands())
			}
		}
	case "UC-":
		if d.commanded(rest) {
			d.fatalf("upstream got %q: %q", rest, d.rig.up.Commands())
		}
	default:
		d.fatalf("unknown line %q", line)
	}
}

func (d *dialog) unquote(text string) string {
	raw, err := strconv.Unquote(text)
	if err != nil {
		d.fatalf("bad string %s", text)
	}
	return raw
}

// goTo takes the connection to a state that lies ahead.
func (d *dialog) goTo(name string) {
	for d.state < len(states) {
		s := states[d.state]
		if d.state++; s.say != "" {
			d.send(d.hello(s.say) + "\r\n")
		}
		d.expectReply(s.code, "\x00")
		if s.name == name {
			return
		}
	}
	d.fatalf("no state %q ahead", name)
}

// hello is a command as the protocol of the listener has it.
func (d *dialog) hello(say string) string {
	if name, ok := strings.CutPrefix(say, "EHLO "); ok && d.rig.listener.Protocol == smtpd.ProtocolLMTP {
		return "LHLO " + name
	}
	return say
}

func (d *dialog) fatalf(format string, args ...any) {
	d.t.Helper()
	d.t.Fatalf("%s: %s", d.at, fmt.Sprintf(format, args...))
}

// dial connects at the first line that needs it, so that settings come before.
func (d *dialog) dial() {
	if d.conn != nil {
		return
	}
	conn, err := net.Dial("tcp", d.rig.start())
	if err != nil {
		d.fatalf("%v", err)
	}
	d.use(conn)
	d.t.Cleanup(func() { conn.Close() })
}

func (d *dialog) use(conn net.Conn) {
	d.conn, d.in = conn, bufio.NewReader(conn)
	conn.SetDeadline(time.Now().Add(60 * time.Second))
}

func (d *dialog) send(s string) {
	d.dial()
	d.pending.WriteString(s)
	if _, err := d.conn.Write(d.pending.Bytes()); err != nil {
		d.fatalf("send: %v", err)
	}
	d.pending.Reset()
}

func (d *dialog) startTLS(cert bool) {
	d.dial()
	c := tls.Client(d.conn, d.rig.clientTLS(cert))
	if err := c.Handshake(); err != nil {
		d.fatalf("handshake: %v", err)
	}
	d.use(c)
}

func (d *dialog) read() string {
	d.dial()
	line, err := d.in.ReadString('\n')
	if err != nil {
		d.fatalf("server sent %q, then %v", line, err)
	}
	if !strings.HasSuffix(line, "\r\n") {
		d.fatalf("reply line %q does not end in CR LF", line)
	}
	if len(line) > 512 {
		d.fatalf("reply line of %d octets", len(line))
	}
	return strings.TrimSuffix(line, "\r\n")
}

func (d *dialog) expectLine(want string) {
	if got := d.read(); !matches(got, want) {
		d.fatalf("server said %q, want %q", got, want)
	}
}

func (d *dialog) expectReply(code, without string) {
	for {
		line := d.read()
		if strings.Contains(line, without) {
			d.fatalf("server said %q", line)
		}
		if !strings.HasPrefix(line, code) {
			d.fatalf("server said %q, want code %s", line, code)
		}
		if len(line) < 4 || line[3] != '-' {
			return
		}
	}
}

// matches compares with a pattern in which * stands for any text.
func matches(s, pattern string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return s == pattern
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
