package journal

import (
	"strconv"
	"unicode/utf8"

	"postern/mail"
)

// appendLine appends e as json.Marshal writes it, and a newline. The error is
// non-nil when e.Time has no text in RFC 3339; b is then as it was.
func appendLine(b []byte, e *mail.Event) ([]byte, error) {
	stamped, err := e.Time.AppendText(append(b, `{"time":"`...))
	if err != nil {
		return b, err
	}
	b = appendInt(stamped, `","duration":`, int64(e.Duration))
	b = appendField(b, `,"id":"`, e.ID)
	b = appendField(b, `,"client":"`, e.Client)
	b = appendField(b, `,"client_ip":"`, e.ClientIP)
	b = appendField(b, `,"listener":"`, e.Listener)
	b = appendField(b, `,"helo":"`, e.Helo)
	b = appendUnlessEmpty(b, `,"tls":"`, e.TLS)
	b = appendUnlessEmpty(b, `,"user":"`, e.User)
	b = appendUnlessEmpty(b, `,"stream":"`, e.Stream)
	b = appendField(b, `,"from":"`, e.From)
	b = appendList(b, `,"authors":[`, e.Authors)
	b = appendUnlessEmpty(b, `,"message_id":"`, e.MessageID)
	b = appendRecipients(b, e.To)
	b = appendInt(b, `,"size":`, e.Size)
	b = appendField(b, `,"stage":"`, e.Stage)
	b = appendField(b, `,"outcome":"`, e.Outcome)
	b = appendInt(b, `,"code":`, int64(e.Code))
	b = appendField(b, `,"status":"`, e.Status)
	b = appendField(b, `,"rule":"`, e.Rule)
	b = appendField(b, `,"upstream":"`, e.Upstream)
	b = appendUnlessEmpty(b, `,"host":"`, e.Host)
	b = appendUnlessEmpty(b, `,"source_ip":"`, e.SourceIP)
	b = appendField(b, `,"reply":"`, e.Reply)
	b = appendList(b, `,"signed":[`, e.Signed)
	b = appendLimits(b, e.Limits)
	b = appendList(b, `,"shadow":[`, e.Shadow)
	b = appendUnlessEmpty(b, `,"err":"`, e.Err)
	return append(b, '}', '\n'), nil
}

func appendRecipients(b []byte, all []mail.RecipientEvent) []byte {
	if all == nil {
		return append(b, `,"to":null`...)
	}
	b = append(b, `,"to":[`...)
	for i := range all {
		r := &all[i]
		b = appendComma(b, i)
		b = appendField(b, `{"address":"`, r.Address)
		b = appendField(b, `,"outcome":"`, r.Outcome)
		b = appendInt(b, `,"code":`, int64(r.Code))
		b = appendField(b, `,"status":"`, r.Status)
		b = appendField(b, `,"rule":"`, r.Rule)
		b = appendUnlessEmpty(b, `,"reply":"`, r.Reply)
		b = appendUnlessEmpty(b, `,"class":"`, r.Class)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendLimits(b []byte, all []mail.LimitEvent) []byte {
	if len(all) == 0 {
		return b
	}
	b = append(b, `,"limits":[`...)
	for i := range all {
		l := &all[i]
		b = appendComma(b, i)
		b = appendField(b, `{"limit":"`, l.Limit)
		b = appendField(b, `,"key":"`, l.Key)
		b = appendField(b, `,"unit":"`, l.Unit)
		b = appendInt(b, `,"window":`, int64(l.Window))
		b = appendInt(b, `,"max":`, l.Max)
		b = appendInt(b, `,"used":`, l.Used)
		b = appendIf(b, `,"refused":true`, l.Refused)
		b = appendIf(b, `,"shadow":true`, l.Shadow)
		b = appendIf(b, `,"near":true`, l.Near)
		b = appendList(b, `,"top":[`, l.Top)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendList(b []byte, key string, all []string) []byte {
	if len(all) == 0 {
		return b
	}
	b = append(b, key...)
	for i, s := range all {
		b = appendComma(b, i)
		b = appendField(b, `"`, s)
	}
	return append(b, ']')
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendIf(b []byte, text string, yes bool) []byte {
	if yes {
		b = append(b, text...)
	}
	return b
}

func appendInt(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(b, key...), n, 10)
}

func appendUnlessEmpty(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendField(b, key, s)
}

// appendField appends key, which ends with a quotation mark, s and another mark.
func appendField(b []byte, key, s string) []byte {
	b = append(b, key...)
	for i := range len(s) {
		if !plain[s[i]] {
			return append(appendEscaped(append(b, s[:i]...), s[i:]), '"')
		}
	}
	return append(append(b, s...), '"')
}

// plain holds the octets that stand for themselves in a string of JSON;
// encoding/json also escapes what HTML knows.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendEscaped appends s with the escapes of encoding/json: short ones where
// there are any, U+2028 and U+2029 too, and U+FFFD for what is no UTF-8.
func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			b = appendASCII(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, `\ufffd`...)
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

func appendASCII(b []byte, c byte) []byte {
	switch {
	case plain[c]:
		return append(b, c)
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\b':
		return append(b, `\b`...)
	case c == '\f':
		return append(b, `\f`...)
	case c == '\n':
		return append(b, `\n`...)
	case c == '\r':
		return append(b, `\r`...)
	case c == '\t':
		return append(b, `\t`...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// lineRoom is how much of a buffer for lines is kept for the next one.
const lineRoom = 16 << 10

// line renders e into the buffer of w; it is good until the next call.
func (w *Writer) line(e *mail.Event) ([]byte, error) {
	b, err := appendLine(w.scratch[:0], e)
	if cap(b) <= lineRoom {
		w.scratch = b
	}
	return b, err
}
