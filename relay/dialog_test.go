package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// A dialog file states one behaviour. Its lines:
//
//	# what it shows
//	set KEY VALUE        setting of the rig, see rig.set
//	fault STAGE [TO] ... reply of the upstream at a stage, see rig.fault
//	C: text              the client sends the line and CR LF
//	C| text              the same, but together with the next C: or R:
//	R: "octets"          the client sends octets, quoted as in Go
//	S: reply             the server must send this line; a * stands for any text
//	S+ code              the server must send a whole reply with this code
//	EOF                  the server must close
//	TLS [cert]           the client starts TLS
//	CLOSE                the client closes
//	E: key=value ...     the next event has these values
//	U: key=value ...     the next message at the upstream has these values
//	U: none              and there are no more
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
	t       *testing.T
	rig     *rig
	conn    net.Conn
	in      *bufio.Reader
	pending bytes.Buffer
	at      string // file:line
	events  int
	taken   int
}

func runDialog(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialog{t: t, rig: newRig(t)}
	for n, line := range strings.Split(string(text), "\n") {
		d.at = fmt.Sprintf("%s:%d", filepath.Base(file), n+1)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d.line(line)
	}
	if d.conn != nil {
		d.conn.Close()
	}
}

func (d *dialog) line(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "set":
		d.rig.set(d.at, rest)
	case "fault":
		d.rig.fault(d.at, rest)
	case "C:":
		d.send(rest + "\r\n")
	case "C|":
		d.pending.WriteString(rest + "\r\n")
	case "R:":
		raw, err := strconv.Unquote(rest)
		if err != nil {
			d.fatalf("bad string %s", rest)
		}
		d.send(raw)
	case "S:":
		d.expectLine(rest)
	case "S+":
		d.expectReply(rest)
	case "EOF":
		d.dial()
		if b, err := d.in.ReadByte(); err == nil || isTimeout(err) {
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
	default:
		d.fatalf("unknown line %q", line)
	}
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

func (d *dialog) expectReply(code string) {
	for {
		line := d.read()
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

func (d *dialog) expectEvent(rest string) {
	if rest == "none" {
		if got := d.rig.events.count(); got != d.events {
			d.fatalf("%d events, want %d", got, d.events)
		}
		return
	}
	e := d.rig.events.wait(d.t, d.events)
	d.events++
	for _, kv := range strings.Fields(rest) {
		key, want, _ := strings.Cut(kv, "=")
		want = strings.ReplaceAll(want, "_", " ")
		got, ok := eventField(e, key)
		if !ok {
			d.fatalf("unknown event field %q", key)
		}
		if got = strings.ReplaceAll(got, "_", " "); !matches(got, want) {
			d.fatalf("event %s is %q, want %q (event %+v)", key, got, want, *e)
		}
	}
}

func eventField(e *mail.Event, key string) (string, bool) {
	switch key {
	case "outcome":
		return e.Outcome, true
	case "code":
		return strconv.Itoa(e.Code), true
	case "status":
		return e.Status, true
	case "stage":
		return e.Stage, true
	case "rule":
		return e.Rule, true
	case "client":
		return e.Client, true
	case "user":
		return e.User, true
	case "from":
		return e.From, true
	case "size":
		return strconv.FormatInt(e.Size, 10), true
	case "to":
		var all []string
		for _, r := range e.To {
			all = append(all, r.Address+":"+r.Outcome+":"+strconv.Itoa(r.Code))
		}
		return strings.Join(all, ","), true
	case "shadow":
		return strings.Join(e.Shadow, ","), true
	}
	return "", false
}

func (d *dialog) expectMessage(rest string) {
	all := d.rig.up.Messages()
	if rest == "none" {
		if len(all) != d.taken {
			d.fatalf("upstream has %d messages, want %d", len(all), d.taken)
		}
		return
	}
	if len(all) <= d.taken {
		d.fatalf("upstream has %d messages, want one more", len(all))
	}
	m := all[d.taken]
	d.taken++
	for _, kv := range strings.Fields(rest) {
		key, want, _ := strings.Cut(kv, "=")
		var got string
		switch key {
		case "from":
			got = m.From.Address
		case "to":
			var tos []string
			for _, p := range m.To {
				tos = append(tos, p.Address)
			}
			got = strings.Join(tos, ",")
		case "params":
			got = strings.Join(m.From.Params, ",")
		case "rcptparams":
			got = strings.Join(m.To[0].Params, ",")
		case "body": // what follows the blank line, quoted as in Go without blanks
			_, body, _ := bytes.Cut(m.Data, []byte("\r\n\r\n"))
			got = strconv.Quote(string(body))
		case "has":
			unquoted, _ := strconv.Unquote(want)
			if !bytes.Contains(m.Data, []byte(unquoted)) {
				d.fatalf("message lacks %s: %q", want, m.Data)
			}
			continue
		default:
			d.fatalf("unknown message field %q", key)
		}
		if !matches(got, want) {
			d.fatalf("message %s is %q, want %q", key, got, want)
		}
	}
}
