package journal

import (
	"math/bits"
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
// It is small so that a constant key is appended without a call.
func appendField(b []byte, key, s string) []byte {
	return appendString(append(b, key...), s)
}

// appendString appends s with the escapes of encoding/json: short ones where
// there are any, U+2028 and U+2029 too, and U+FFFD for what is no UTF-8. A mark
// ends it.
func appendString(b []byte, s string) []byte {
	for {
		n := plainLen(s)
		b = append(b, s[:n]...)
		if n == len(s) {
			return append(b, '"')
		}
		s = s[n:]
		if s[0] < utf8.RuneSelf {
			b = appendASCII(b, s[0])
			s = s[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, `\ufffd`...)
		case r == '\u2028':
			b = append(b, `\u2028`...)
		case r == '\u2029':
			b = append(b, `\u2029`...)
		default:
			b = append(b, s[:size]...)
		}
		s = s[size:]
	}
}

// plainLen is how many octets at the start of s stand for themselves.
//
// Eight octets are one number. An octet less n gets the highest bit where it was
// below n; the same finds an octet that is 0 after those of one character were
// taken off by XOR. That may go on into the octets behind it, but the first one
// that is found is one.
func plainLen(s string) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := first8(s[i:])
		angles := (x | ones*2) ^ ones*'>' // 0 for '<' and '>', which one bit tells apart
		others := (x | ones*4) ^ ones*'&' // 0 for '"' and '&', likewise
		backslash := x ^ ones*'\\'
		found := (x - ones*' ') &^ x // controls
		found |= (angles - ones) &^ angles
		found |= (others - ones) &^ others
		found |= (backslash - ones) &^ backslash
		found |= x // not ASCII
		if found &= high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(s) && plain[s[i]] {
		i++
	}
	return i
}

// first8 is the first eight octets of s as a number; the compiler knows it as one
// load.
func first8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
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

// appendASCII appends the escape of an octet that needs one.
func appendASCII(b []byte, c byte) []byte {
	switch {
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
