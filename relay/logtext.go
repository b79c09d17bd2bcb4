package relay

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// appendTextLine appends the line as slog's text handler writes it. Keys stand
// where they are used: a constant is appended without a call.
func appendTextLine(b []byte, s *second, nanos int, e *mail.Event) []byte {
	b = append(append(b, "time="...), s.date...)
	b = append(appendMillis(b, nanos), s.zone...)
	b = appendText(append(b, " level=INFO msg="+transactionMessage+" id="...), e.ID)
	b = appendText(append(b, " client="...), e.Client)
	b = appendText(append(b, " client_ip="...), e.ClientIP)
	b = appendText(append(b, " helo="...), e.Helo)
	b = appendText(append(b, " user="...), e.User)
	b = appendText(append(b, " stream="...), e.Stream)
	b = appendText(append(b, " from="...), e.From)
	b = appendTextRecipients(append(b, " to="...), e.To)
	b = strconv.AppendInt(append(b, " to_count="...), int64(len(e.To)), 10)
	b = strconv.AppendInt(append(b, " size="...), e.Size, 10)
	b = appendText(append(b, " stage="...), e.Stage)
	b = appendText(append(b, " outcome="...), e.Outcome)
	b = strconv.AppendInt(append(b, " code="...), int64(e.Code), 10)
	b = appendText(append(b, " status="...), e.Status)
	b = appendText(append(b, " rule="...), e.Rule)
	b = appendText(append(b, " upstream="...), e.Upstream)
	b = appendTextReply(append(b, " reply="...), e.Reply)
	b = strconv.AppendInt(append(b, " ms="...), e.Duration.Milliseconds(), 10)
	return append(b, '\n')
}

// appendText appends a value, in quotation marks where slog has them.
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, `""`...)
	}
	if ordinary(s) {
		return append(b, s...)
	}
	return appendOdd(b, s, traitsOf(s))
}

// appendOdd appends a value with these traits.
func appendOdd(b []byte, s string, t traits) []byte {
	switch {
	case !t.quoted(s):
		return append(b, s...)
	case t&escaped == 0:
		return append(append(append(b, '"'), s...), '"')
	}
	return strconv.AppendQuote(b, s)
}

// appendTextReply appends the value of quoteControls.
func appendTextReply(b []byte, s string) []byte {
	if s == "" {
		return append(b, `""`...)
	}
	t := traitsOf(s)
	if t&control != 0 {
		return appendText(b, quote(s))
	}
	return appendOdd(b, s, t)
}

// appendTextRecipients appends the value of recipientsOf without making it.
func appendTextRecipients(b []byte, all []mail.RecipientEvent) []byte {
	to := all[:min(len(all), loggedRecipients)]
	quoted := len(to) == 0 || len(to) == 1 && to[0].Address == ""
	for i := range to {
		a := to[i].Address
		quoted = quoted || !ordinary(a) && traitsOf(a).quoted(a)
	}
	if quoted {
		b = append(b, '"')
	}
	for i := range to {
		if i > 0 {
			b = append(b, ',')
		}
		if a := to[i].Address; quoted {
			b = appendWithin(b, a)
		} else {
			b = append(b, a...)
		}
	}
	if len(all) > loggedRecipients {
		b = append(b, ",..."...)
	}
	if quoted {
		b = append(b, '"')
	}
	return b
}

// appendWithin appends a part of what stands in quotation marks.
func appendWithin(b []byte, s string) []byte {
	if traitsOf(s)&escaped == 0 {
		return append(b, s...)
	}
	// strconv adds marks of its own.
	n := len(b)
	b = strconv.AppendQuote(b, s)
	copy(b[n:], b[n+1:])
	return b[:len(b)-2]
}

// quoted: slog's text has s, which has these traits, in quotation marks. It
// looks at no octet but a control, a space, a mark, an equals sign and what is
// not ASCII.
func (t traits) quoted(s string) bool {
	return t&marked != 0 || t&wide != 0 && needsQuotesBeyondASCII(s)
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
