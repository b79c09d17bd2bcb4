package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/emersion/go-milter"
)

// milterClient asks a milter, a session for each message. The library keeps no
// deadline that a milter could not push back by "progress"; the connection has
// one of its own.
type milterClient struct {
	target target
	accept []string // names of fields that it may add
}

// What is offered. Some milters, OpenDKIM among them, do not speak with a relay
// that lets them add fields only, so that changing them and quarantine are
// offered, too; who uses that gets a fault, or a refusal. A milter need not hear
// of the connection and the envelope, and need not answer to each step. It has to
// hear of header and body.
const (
	milterActions  = milter.OptAddHeader | milter.OptChangeHeader | milter.OptQuarantine
	milterProtocol = milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo
	// Several milters, rspamd among them, say that they do not answer to steps
	// without having been offered that; the library then waits for no answer.
	milterSilence = milter.OptNoHeaderReply | milter.OptNoConnReply | milter.OptNoHeloReply | milter.OptNoMailReply |
		milter.OptNoRcptReply | milter.OptNoDataReply | milter.OptNoUnknownReply | milter.OptNoEOHReply | milter.OptNoBodyReply |
		milter.OptNoUnknown | milter.OptNoData
)

// fixed dials nothing: the connection is there.
type fixed struct{ net.Conn }

func (f fixed) Dial(string, string) (net.Conn, error) { return f.Conn, nil }

func (c *milterClient) ask(ctx context.Context, m *Message) (v Response, err error) {
	conn, err := c.target.open(ctx)
	if err != nil {
		return Response{}, err
	}
	defer conn.Close()
	// What a milter sends is read by a library: whatever it makes of that stays a
	// fault of this scanner.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("answer that cannot be read: %v", p)
		}
	}()
	s, err := c.session(conn)
	if err != nil {
		return Response{}, err
	}
	d := &milterDialog{s: s, m: m}
	d.connection()
	d.envelope()
	d.header()
	d.body()
	if d.err != nil || d.act != nil {
		return d.verdict(nil, c.accept)
	}
	conn.look()
	fields, act, err := s.End()
	switch {
	case err != nil:
		return Response{}, err
	case conn.hasty: // of a step, and who knows of which
		return Response{}, errors.New("it had answered before the end of the message")
	}
	d.act = act
	s.Close()
	return d.verdict(fields, c.accept)
}

func (c *milterClient) session(conn net.Conn) (*milter.ClientSession, error) {
	client := milter.NewClientWithOptions("", "", milter.ClientOptions{
		Dialer: fixed{conn}, ActionMask: milterActions, ProtocolMask: milterProtocol,
	})
	s, err := client.Session()
	if err != nil {
		return nil, err
	}
	if more := s.ProtocolOpts &^ (milterProtocol | milterSilence); more != 0 {
		return nil, fmt.Errorf("milter asks for protocol options that were not offered: %#x", uint32(more))
	}
	return s, nil
}

func (c *milterClient) version(ctx context.Context) (Version, error) {
	conn, err := c.target.open(ctx)
	if err != nil {
		return Version{}, err
	}
	defer conn.Close()
	s, err := c.session(conn)
	if err != nil {
		return Version{}, err
	}
	s.Close()
	return Version{}, nil // the protocol knows no version of the milter
}

// milterDialog goes through the stages of one message until a step fails or the
// milter decides.
type milterDialog struct {
	s   *milter.ClientSession
	m   *Message
	act *milter.Action // that ended it; nil while it goes on
	err error
}

// step takes what a stage came to, and reports whether the next one follows.
func (d *milterDialog) step(act *milter.Action, err error) bool {
	switch {
	case err != nil:
		d.err = err
	case act.Code != milter.ActContinue:
		d.act = act
	}
	return d.open()
}

func (d *milterDialog) open() bool { return d.err == nil && d.act == nil }

func (d *milterDialog) macros(code milter.Code, kv ...string) {
	if d.open() {
		d.err = d.s.Macros(code, kv...)
	}
}

func (d *milterDialog) connection() {
	d.macros(milter.CodeConn, "j", d.m.Hostname, "{daemon_name}", "postern")
	if !d.open() {
		return
	}
	family, address := milter.FamilyUnknown, ""
	if d.m.IP.IsValid() {
		family, address = milter.FamilyInet, d.m.IP.String()
		if d.m.IP.Is6() {
			family = milter.FamilyInet6
		}
	}
	name := "localhost"
	if address != "" {
		name = "[" + address + "]"
	}
	if d.step(d.s.Conn(name, family, 0, address)) {
		d.step(d.s.Helo(orUnknown(d.m.Helo)))
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "localhost"
	}
	return s
}

func (d *milterDialog) envelope() {
	d.macros(milter.CodeMail, "i", d.m.ID, "{auth_authen}", userOf(d.m), "{mail_addr}", d.m.From)
	if d.open() {
		d.step(d.s.Mail(d.m.From, nil))
	}
	for _, to := range d.m.To {
		d.macros(milter.CodeRcpt, "{rcpt_addr}", to)
		if !d.open() || !d.step(d.s.Rcpt(to, nil)) {
			return
		}
	}
}

func (d *milterDialog) header() {
	for name, value := range fields(d.m.Content.Head) {
		if !d.open() || !d.step(d.s.HeaderField(name, value)) {
			return
		}
	}
	if d.open() {
		d.step(d.s.HeaderEnd())
	}
}

func (d *milterDialog) body() {
	r, buf := d.m.Content.Body(), make([]byte, chunkSize-1)
	for d.open() {
		n, err := io.ReadFull(r, buf)
		if n > 0 && !d.step(d.s.BodyChunk(buf[:n])) {
			return
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			d.macros(milter.CodeEOB, "i", d.m.ID)
			return
		case err != nil:
			d.err = fmt.Errorf("read the message: %w", err)
		}
	}
}

// fields goes through the fields of a header: name, and value without the blank
// behind the colon, folded lines ended by LF as milters expect them.
func fields(head []byte) func(func(name, value string) bool) {
	return func(yield func(string, string) bool) {
		for len(head) > 0 {
			end := fieldEnd(head)
			name, value, ok := bytes.Cut(head[:end], []byte(":"))
			head = head[end:]
			if !ok {
				return // the empty line
			}
			value = bytes.TrimPrefix(bytes.TrimSuffix(value, []byte("\r\n")), []byte(" "))
			if !yield(string(bytes.TrimRight(name, " \t")), string(bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n")))) {
				return
			}
		}
	}
}

// fieldEnd is where the first field of head ends: behind the first line that no
// blank follows.
func fieldEnd(head []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(head[i:], '\n')
		if n < 0 {
			return len(head)
		}
		i += n + 1
		if i == len(head) || head[i] != ' ' && head[i] != '\t' {
			return i
		}
	}
}

// verdict reads what ended the dialog.
func (d *milterDialog) verdict(mods []milter.ModifyAction, accept []string) (Response, error) {
	if d.err != nil {
		return Response{}, d.err
	}
	switch d.act.Code {
	case milter.ActReject:
		return Response{Class: Policy, Code: 550, Status: "5.7.1"}, nil
	case milter.ActDiscard:
		return Response{Class: Policy, Text: "discarded"}, nil
	case milter.ActTempFail:
		return Response{Class: Later, Code: 451, Status: "4.7.1"}, nil
	case milter.ActReplyCode:
		return replyCode(d.act)
	case milter.ActAccept, milter.ActContinue:
	default:
		return Response{}, fmt.Errorf("action %q is unknown", rune(d.act.Code))
	}
	v := Response{Class: Clean}
	for i := range mods {
		switch mod := &mods[i]; {
		case mod.Code == milter.ActQuarantine:
			return Response{Class: Policy, Text: reason("quarantined " + mod.Reason)}, nil
		case mod.Code != milter.ActAddHeader && mod.Code != milter.ActInsertHeader:
			return Response{}, fmt.Errorf("it changes the message (%q)", rune(mod.Code))
		case accepted(accept, mod.HeaderName):
			f, err := field(mod)
			if err != nil {
				return Response{}, err
			}
			if len(v.Fields) == maxFields {
				return Response{}, fmt.Errorf("it adds over %d fields", maxFields)
			}
			v.Fields = append(v.Fields, f)
		}
	}
	return v, nil
}

func accepted(accept []string, name string) bool {
	for _, a := range accept {
		if strings.EqualFold(a, name) {
			return !ownField(name)
		}
	}
	return false
}

// maxField is how long a value that a milter adds may be: one line.
const maxField = 900

// maxFields is how many fields a milter may add.
const maxFields = 20

func field(mod *milter.ModifyAction) (Field, error) {
	value := strings.Join(strings.Fields(mod.HeaderValue), " ")
	if !fieldName(mod.HeaderName) || len(value) > maxField || clean(value, maxField) != value {
		return Field{}, fmt.Errorf("field %q cannot be added", clean(mod.HeaderName, 80))
	}
	return Field{Name: mod.HeaderName, Value: value}, nil
}

// replyCode reads a reply of the milter's own: code and status keep their class.
func replyCode(act *milter.Action) (Response, error) {
	v := Response{Class: Policy, Code: act.SMTPCode, Status: "5.7.1"}
	switch {
	case act.SMTPCode >= 400 && act.SMTPCode < 500:
		v.Class, v.Status = Later, "4.7.1"
	case act.SMTPCode < 500 || act.SMTPCode > 599:
		return Response{}, errors.New("reply " + strconv.Itoa(act.SMTPCode) + " is neither 4yz nor 5yz")
	}
	status, text, _ := strings.Cut(act.SMTPText, " ")
	if !isStatus(status, v.Status[0]) {
		status, text = v.Status, act.SMTPText
	}
	v.Status, v.Text = status, reason(text)
	return v, nil
}

// isStatus reports whether s is an enhanced status code of a class (RFC 3463).
func isStatus(s string, class byte) bool {
	part := strings.Split(s, ".")
	if len(part) != 3 || part[0] != string(class) {
		return false
	}
	for _, p := range part[1:] {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n > 999 || strconv.FormatUint(n, 10) != p {
			return false
		}
	}
	return true
}
