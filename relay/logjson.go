package relay

import (
	"strconv"
	"unicode/utf8"

	"postern/mail"
)

// appendJSONLine appends the line as slog's JSON handler writes it.
func appendJSONLine(b []byte, s *second, nanos int, e *mail.Event) []byte {
	b = append(append(b, `{"time":"`...), s.date...)
	b = append(appendFraction(b, nanos), s.zone...)
	b = appendJSON(append(b, `","level":"INFO","msg":"`+transactionMessage+`","id":"`...), e.ID)
	b = appendJSON(append(b, `","client":"`...), e.Client)
	b = appendJSON(append(b, `","client_ip":"`...), e.ClientIP)
	b = appendJSON(append(b, `","helo":"`...), e.Helo)
	b = appendJSON(append(b, `","user":"`...), e.User)
	b = appendJSON(append(b, `","stream":"`...), e.Stream)
	b = appendJSON(append(b, `","from":"`...), e.From)
	b = appendJSONRecipients(append(b, `","to":"`...), e.To)
	b = strconv.AppendInt(append(b, `","to_count":`...), int64(len(e.To)), 10)
	b = strconv.AppendInt(append(b, `,"size":`...), e.Size, 10)
	b = appendJSON(append(b, `,"stage":"`...), e.Stage)
	b = appendJSON(append(b, `","outcome":"`...), e.Outcome)
	b = strconv.AppendInt(append(b, `","code":`...), int64(e.Code), 10)
	b = appendJSON(append(b, `,"status":"`...), e.Status)
	b = appendJSON(append(b, `","rule":"`...), e.Rule)
	b = appendJSON(append(b, `","upstream":"`...), e.Upstream)
	b = appendJSON(append(b, `","reply":"`...), quoteControls(e.Reply))
	b = strconv.AppendInt(append(b, `","ms":`...), e.Duration.Milliseconds(), 10)
	return append(b, '}', '\n')
}

// appendJSON appends what stands between the marks of a string.
func appendJSON(b []byte, s string) []byte {
	if ordinary(s) || traitsOf(s)&escaped == 0 {
		return append(b, s...)
	}
	return appendEscaped(b, s)
}

// appendJSONRecipients appends the value of recipientsOf without making it.
func appendJSONRecipients(b []byte, all []mail.RecipientEvent) []byte {
	for i := range all[:min(len(all), loggedRecipients)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, all[i].Address)
	}
	if len(all) > loggedRecipients {
		b = append(b, ",..."...)
	}
	return b
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
