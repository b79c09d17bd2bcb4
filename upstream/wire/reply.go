// Package wire reads what an SMTP server says to its client: its replies,
// however untidily they are written, what it offers, and, without waiting,
// whether it has said anything that nobody asked for.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"postern/mail"
)

// Bounds of a reply, in octets. RFC 5321 s. 4.5.3.1.5 asks for 512 octets a line; real
// servers write longer ones.
const (
	MaxLine   = 1024     // octets kept of a line; the read buffer's size
	MaxText   = 8 << 10  // octets kept of one reply
	MaxOctets = 64 << 10 // octets read of one reply
)

// ErrGarbage is returned, and wrapped, where what came is not a reply.
var ErrGarbage = errors.New("not an SMTP reply")

// Reader reads replies (RFC 5321 s. 4.2). A verdict that is clear counts
// however untidily it is written: a wrong guess about a 250 behind the message
// is one more copy with each retry.
//
//	250, 250-                     a line without text
//	250 2.0.0 ok SP SP            blanks at the end are cut
//	250 5.1.1 ok                  a status of another class is text
//	550 5.1.1 over 1,024 octets   the text is cut, the code stays
//	550 octets beyond ASCII       each becomes "?"
//	250ok, 250 TAB ok, LF alone   taken, the connection is not used again
//	250-a, 251 b                  one class: the last code; connection as above
//	450-a, 550 b                  both refuse: the temporary one; as above
//	250-a, a line without a code  the latter is left out; as above
//	250-a, 550 b                  no verdict: ErrGarbage
//	2500 a, 25 a, 199 a, 600 a    ErrGarbage
//	250- without end              ErrGarbage after 64 KiB
type Reader struct {
	*bufio.Reader
	multi  []byte // text of a reply of several lines
	cut    []byte // the first octets of a line longer than the buffer
	last   string // text of the reply before, because many are alike
	octets int    // read of this reply
	untidy bool   // of this reply it is not certain where it ends
}

// replyLine is one line of a reply; text is valid until the next read.
type replyLine struct {
	code int // 0: the line has none
	text []byte
	more bool // another line follows
}

// Reply reads the next reply. Its Status is X.0.0 where the server gave none,
// or one of another class than the code.
func (r *Reader) Reply() (mail.Reply, error) {
	r.octets, r.untidy = 0, false
	l, err := r.line()
	if err != nil {
		return mail.Reply{}, err
	}
	if l.code == 0 {
		return mail.Reply{}, fmt.Errorf("%w: %.40q", ErrGarbage, l.text)
	}
	return r.complete(l)
}

// Verdict is Reply for the reply to a message, behind which nothing else has
// been asked: lines that are not a reply are left out.
func (r *Reader) Verdict() (mail.Reply, error) {
	r.octets, r.untidy = 0, false
	for r.octets < MaxOctets {
		l, err := r.line()
		if err != nil {
			return mail.Reply{}, err
		}
		if l.code != 0 {
			return r.complete(l)
		}
		r.untidy = true
	}
	return mail.Reply{}, ErrGarbage
}

// complete returns the reply that begins with l.
func (r *Reader) complete(l replyLine) (mail.Reply, error) {
	n := statusLen(l.text, l.code)
	reply := mail.Reply{Code: l.code, Status: internStatus(l.text[:n], l.code)}
	text := bytes.TrimPrefix(l.text[n:], []byte(" "))
	if l.more {
		code, all, err := r.rest(l.code, append(r.multi[:0], text...), append([]byte(nil), l.text[:n]...))
		if r.multi = all; err != nil {
			return mail.Reply{}, err
		}
		if code/100 != l.code/100 {
			reply.Status = internStatus(nil, code)
		}
		reply.Code, text = code, all
	}
	if string(text) != r.last {
		r.last = string(text)
	}
	reply.Text = r.last
	return reply, nil
}

// rest appends the further lines to text, each without the status it repeats.
func (r *Reader) rest(code int, text, status []byte) (int, []byte, error) {
	for {
		if r.octets > MaxOctets {
			return code, text, fmt.Errorf("%w: no end within %d octets", ErrGarbage, MaxOctets)
		}
		l, err := r.line()
		if err != nil {
			return code, text, err
		}
		if l.code == 0 {
			r.untidy = true
			continue
		}
		if l.code != code {
			if code, err = oneCode(code, l.code); err != nil {
				return code, text, err
			}
			r.untidy = true
		}
		if len(status) > 0 && bytes.HasPrefix(l.text, status) {
			l.text = bytes.TrimPrefix(l.text[len(status):], []byte(" "))
		}
		if len(text)+len(l.text) < MaxText {
			text = append(append(text, '\n'), l.text...)
		}
		if !l.more {
			return code, text, nil
		}
	}
}

// oneCode is the code of a reply whose lines have two.
func oneCode(a, b int) (int, error) {
	switch {
	case a/100 == b/100:
		return b, nil
	case a >= 400 && b >= 400:
		return min(a, b), nil
	}
	return a, fmt.Errorf("%w: code %d follows %d in one reply", ErrGarbage, b, a)
}

// NewReader returns a Reader of what r reads.
func NewReader(r io.Reader) *Reader { return &Reader{Reader: bufio.NewReaderSize(r, MaxLine)} }

// Untidy reports whether it is not certain where the newest reply ended, so that
// nothing more should be read.
func (r *Reader) Untidy() bool { return r.untidy }

// line reads one line. Of one that is too long it keeps the beginning; should
// that not end at all, it is the last line of the connection.
func (r *Reader) line() (replyLine, error) {
	b, err := r.ReadSlice('\n')
	r.octets += len(b)
	if errors.Is(err, bufio.ErrBufferFull) {
		b = append(r.cut[:0], b...)
		r.cut, err = b, r.skipLine()
	} else if err == nil && !bytes.HasSuffix(b, []byte("\r\n")) {
		r.untidy = true
	}
	if err != nil {
		return replyLine{}, err
	}
	return r.parse(bytes.TrimRight(b, " \t\r\n")), nil
}

// skipLine reads the rest of a line.
func (r *Reader) skipLine() error {
	for r.octets <= MaxOctets {
		b, err := r.ReadSlice('\n')
		r.octets += len(b)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	r.untidy = true
	return nil
}

// parse takes a line without its end apart.
func (r *Reader) parse(b []byte) replyLine {
	for i, c := range b {
		// Who gets this text may not take more than ASCII.
		if c < ' ' && c != '\t' || c >= 0x7f {
			b[i] = '?'
		}
	}
	end := digits(b, 0)
	if end != 3 || b[0] < '2' || b[0] > '5' || len(b) > 3 && b[3] >= '0' && b[3] <= '9' {
		return replyLine{text: b}
	}
	l := replyLine{code: 100*int(b[0]-'0') + 10*int(b[1]-'0') + int(b[2]-'0'), text: b[3:]}
	if len(b) == 3 {
		return l
	}
	switch b[3] {
	case ' ':
		l.text = b[4:]
	case '-':
		l.text, l.more = b[4:], true
	default:
		r.untidy = true
		l.text = bytes.TrimLeft(b[3:], "\t")
	}
	for i, c := range l.text {
		if c == '\t' {
			l.text[i] = '?'
		}
	}
	return l
}

// statusLen is the length of the enhanced status code that line begins with
// (RFC 2034 s. 4), 0 when there is none of the class of code.
func statusLen(line []byte, code int) int {
	if code < 200 || code >= 300 && code < 400 || len(line) < 5 || int(line[0]-'0') != code/100 || line[1] != '.' {
		return 0
	}
	i := digits(line, 2)
	if i == 2 || i == len(line) || line[i] != '.' {
		return 0
	}
	end := digits(line, i+1)
	if end == i+1 || end < len(line) && line[end] != ' ' {
		return 0
	}
	return end
}

// digits returns the end of the at most three digits at i.
func digits(b []byte, i int) int {
	end := min(len(b), i+3)
	for i < end && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// internStatus spares an allocation for the common ones.
func internStatus(b []byte, code int) string {
	switch string(b) {
	case "2.0.0":
		return "2.0.0"
	case "2.1.0":
		return "2.1.0"
	case "2.1.5":
		return "2.1.5"
	case "":
		return [...]string{"", "", "2.0.0", "", "4.0.0", "5.0.0"}[code/100]
	}
	return string(b)
}
