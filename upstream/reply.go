package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"

	"postern/mail"
)

// Bounds of a reply. RFC 5321 s. 4.5.3.1.5 asks for 512 octets a line; real
// servers write longer ones.
const (
	maxReplyLine  = 1024    // octets with CR LF; the read buffer's size
	maxReplyLines = 100     // of one reply
	maxReplyText  = 8 << 10 // octets kept of one reply
)

var errGarbage = errors.New("not an SMTP reply")

// replyReader reads replies strictly: three digits, "-" or " ", CR LF, the same
// code on all lines. What is anything else is an error, not a guess.
type replyReader struct {
	*bufio.Reader
	multi []byte // text of a reply of several lines
	last  string // text of the reply before, because many are alike
}

// read returns the next reply. Its Status is X.0.0 where the server gave none,
// or one of another class than the code.
func (r *replyReader) read() (mail.Reply, error) {
	code, line, more, err := r.line()
	if err != nil {
		return mail.Reply{}, err
	}
	reply := mail.Reply{Code: code}
	n := statusLen(line, code)
	status := line[:n]
	reply.Status = internStatus(status, code)
	text := bytes.TrimPrefix(line[n:], []byte(" "))
	if more {
		text, err = r.rest(code, append(r.multi[:0], text...), append([]byte(nil), status...))
		r.multi = text
		if err != nil {
			return mail.Reply{}, err
		}
	}
	if string(text) != r.last {
		r.last = string(text)
	}
	reply.Text = r.last
	return reply, nil
}

// rest appends the further lines to text, each without the status it repeats.
func (r *replyReader) rest(code int, text, status []byte) ([]byte, error) {
	for n := 1; ; n++ {
		if n == maxReplyLines {
			return text, fmt.Errorf("%w: more than %d lines", errGarbage, maxReplyLines)
		}
		again, line, more, err := r.line()
		if err != nil {
			return text, err
		}
		if again != code {
			return text, fmt.Errorf("%w: code %d follows %d in one reply", errGarbage, again, code)
		}
		if len(status) > 0 && bytes.HasPrefix(line, status) {
			line = bytes.TrimPrefix(line[len(status):], []byte(" "))
		}
		if len(text)+len(line) < maxReplyText {
			text = append(append(text, '\n'), line...)
		}
		if !more {
			return text, nil
		}
	}
}

// line reads one line; the text is valid until the next read.
func (r *replyReader) line() (code int, text []byte, more bool, err error) {
	b, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return 0, nil, false, fmt.Errorf("%w: a line over %d octets", errGarbage, maxReplyLine)
	}
	if err != nil {
		return 0, nil, false, err
	}
	b, ok := bytes.CutSuffix(b, []byte("\r\n"))
	if !ok || len(b) < 3 || len(b) > 3 && b[3] != ' ' && b[3] != '-' {
		return 0, nil, false, fmt.Errorf("%w: %.40q", errGarbage, b)
	}
	for _, c := range b[:3] {
		if c < '0' || c > '9' {
			return 0, nil, false, fmt.Errorf("%w: %.40q", errGarbage, b)
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, nil, false, fmt.Errorf("%w: code %d", errGarbage, code)
	}
	if len(b) == 3 {
		return code, nil, false, nil
	}
	text = b[4:]
	for i, c := range text {
		// Who gets this text may not take more than ASCII.
		if c < ' ' || c >= 0x7f {
			text[i] = '?'
		}
	}
	return code, text, b[3] == '-', nil
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
