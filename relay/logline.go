package relay

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// LogHandler is slog's handler for text or for JSON on a LineWriter. Lines at
// level warn and above are written out before Handle returns. NewLogObserver
// knows it and renders its line without slog.
type LogHandler struct {
	slog.Handler
	out   *LineWriter
	json  bool
	plain bool // no attributes or group were added
}

// NewLogHandler makes lines of JSON, or else of text, for out.
func NewLogHandler(out *LineWriter, json bool, level slog.Leveler) *LogHandler {
	h := &LogHandler{out: out, json: json, plain: true}
	opts := &slog.HandlerOptions{Level: level}
	if json {
		h.Handler = slog.NewJSONHandler(out, opts)
	} else {
		h.Handler = slog.NewTextHandler(out, opts)
	}
	return h
}

// Handle writes the record.
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.out.Flush()
	}
	return err
}

// WithAttrs adds attributes to each line.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &LogHandler{Handler: h.Handler.WithAttrs(attrs), out: h.out, json: h.json}
}

// WithGroup puts the attributes of each line into a group.
func (h *LogHandler) WithGroup(name string) slog.Handler {
	return &LogHandler{Handler: h.Handler.WithGroup(name), out: h.out, json: h.json}
}

// lineBuffers holds room for lines; a line names five recipients at most and is
// clipped by the session's own limits.
var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooledLine is the room that is kept for the next line.
const maxPooledLine = 16 << 10

// transaction writes the line of e.
func (h *LogHandler) transaction(at time.Time, e *mail.Event) {
	room := lineBuffers.Get().(*[]byte)
	b := appendTransaction((*room)[:0], h.json, at, e)
	h.out.Write(b)
	if cap(b) <= maxPooledLine {
		*room = b
	}
	lineBuffers.Put(room)
}

// appendTransaction appends the line that slog makes of transactionAttrs.
func appendTransaction(b []byte, json bool, at time.Time, e *mail.Event) []byte {
	l := line{b: b, json: json}
	l.head(at)
	l.text("id", e.ID)
	l.text("client", e.Client)
	l.text("client_ip", e.ClientIP)
	l.text("helo", e.Helo)
	l.text("user", e.User)
	l.text("stream", e.Stream)
	l.text("from", e.From)
	l.recipients("to", e)
	l.number("to_count", int64(len(e.To)))
	l.number("size", e.Size)
	l.text("stage", e.Stage)
	l.text("outcome", e.Outcome)
	l.number("code", int64(e.Code))
	l.text("status", e.Status)
	l.text("rule", e.Rule)
	l.text("upstream", e.Upstream)
	l.text("reply", quoteControls(e.Reply))
	l.number("ms", e.Duration.Milliseconds())
	if json {
		l.b = append(l.b, '}')
	}
	return append(l.b, '\n')
}

// line is a line of the log in the making, in the text or the JSON of slog.
type line struct {
	b    []byte
	json bool
}

func (l *line) head(at time.Time) {
	if l.json {
		l.b = append(l.b, `{"time":"`...)
		l.b = at.AppendFormat(l.b, time.RFC3339Nano)
		l.b = append(l.b, `","level":"INFO","msg":"`+transactionMessage+`"`...)
		return
	}
	l.b = append(l.b, "time="...)
	l.b = at.AppendFormat(l.b, "2006-01-02T15:04:05.000Z07:00")
	l.b = append(l.b, " level=INFO msg="+transactionMessage...)
}

func (l *line) key(k string) {
	if l.json {
		l.b = append(append(append(l.b, `,"`...), k...), `":`...)
		return
	}
	l.b = append(append(append(l.b, ' '), k...), '=')
}

func (l *line) number(k string, n int64) {
	l.key(k)
	l.b = strconv.AppendInt(l.b, n, 10)
}

func (l *line) text(k, s string) {
	l.key(k)
	quoted := l.json || s == "" || needsQuotes(s)
	if quoted {
		l.b = append(l.b, '"')
	}
	l.part(s, quoted)
	if quoted {
		l.b = append(l.b, '"')
	}
}

// recipients is text of what recipientsOf returns, without making it.
func (l *line) recipients(k string, e *mail.Event) {
	l.key(k)
	to := e.To[:min(len(e.To), loggedRecipients)]
	quoted := l.json || len(to) == 0 || len(to) == 1 && to[0].Address == ""
	for i := range to {
		quoted = quoted || needsQuotes(to[i].Address)
	}
	if quoted {
		l.b = append(l.b, '"')
	}
	for i := range to {
		if i > 0 {
			l.b = append(l.b, ',')
		}
		l.part(to[i].Address, quoted)
	}
	if len(e.To) > loggedRecipients {
		l.b = append(l.b, ",..."...)
	}
	if quoted {
		l.b = append(l.b, '"')
	}
}

// part appends s, escaped where it stands between quotation marks.
func (l *line) part(s string, quoted bool) {
	switch {
	case !quoted || plainText(s):
		l.b = append(l.b, s...)
	case l.json:
		l.b = appendEscaped(l.b, s)
	default:
		// strconv adds marks of its own.
		n := len(l.b)
		l.b = strconv.AppendQuote(l.b, s)
		copy(l.b[n:], l.b[n+1:])
		l.b = l.b[:len(l.b)-2]
	}
}

// plainText: s is ASCII that stands for itself in quotation marks, in either
// format.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// needsQuotes: slog's text has s in quotation marks. It looks at no octet but
// a control, a space, a mark, an equals sign and what is not ASCII.
func needsQuotes(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return needsQuotesBeyondASCII(s[i:])
		}
		if c <= ' ' || c == '"' || c == '=' {
			return true
		}
	}
	return false
}

func needsQuotesBeyondASCII(s string) bool {
	for _, r := range s {
		switch {
		case r == utf8.RuneError, r <= ' ', r == '"', r == '=':
			return true
		case r >= utf8.RuneSelf && (unicode.IsSpace(r) || !unicode.IsPrint(r)):
			return true
		}
	}
	return false
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends s with the escapes of slog's JSON.
func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, `\ufffd`...)
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		case r == '\u2028':
			b = append(b, `\u2028`...)
		case r == '\u2029':
			b = append(b, `\u2029`...)
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}
