package relay

import (
	"slices"
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/smtpd"
)

// hidden are the fields that name recipients whom the others must not learn of.
var hidden = []string{"Bcc", "Resent-Bcc"}

const dateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

// trace appends what we put before the message: Received (RFC 5321 s. 4.4) and, where
// they are missing, Date and Message-ID (RFC 6409 s. 8).
func (t *transaction) trace(b []byte, now time.Time) []byte {
	b = t.received(b, now)
	if t.message.header.Count("Date") == 0 {
		b = append(b, "Date: "...)
		b = append(appendDate(b, now), "\r\n"...)
	}
	if t.message.header.Count("Message-ID") == 0 {
		t.ev.MessageID = "<" + t.ev.ID + "@" + t.snap.Hostname + ">"
		b = append(append(append(b, "Message-ID: "...), t.ev.MessageID...), "\r\n"...)
	}
	return b
}

// appendHeader appends the header as it leaves: octet for octet, but for a From
// that readers could take differently, which is written anew, for the hidden
// recipients, who are in the envelope (RFC 5322 s. 3.6.3), for signatures of the
// client's own where the way out wants none, and for lines that a next hop would
// have to fold.
func (t *transaction) appendHeader(b []byte) []byte {
	start := len(b)
	b = t.appendFields(b)
	if !t.message.folds {
		return b
	}
	folded, _ := syntax.FoldLong(b[start:])
	return append(b[:start], folded...)
}

// longLines counts the lines that leave over syntax.MaxLine: those of the body, and
// those of the header that cannot be folded. It notes whether there are any to fold.
func (t *transaction) longLines(m *smtpd.Message) int {
	n := m.LongLines()
	if n == 0 {
		return 0
	}
	t.message.folds = true
	_, left := syntax.FoldLong(t.in.header)
	return n - syntax.LongLines(t.in.header) + left
}

func (t *transaction) appendFields(b []byte) []byte {
	m, header := &t.message, t.in.header
	var authors []mail.Author
	if !m.facts.Plain {
		authors = m.facts.Authors
	}
	without := t.client.Submitter().Hidden()
	switch {
	case t.client.KeepBcc():
	case len(without) == 0:
		without = hidden
	default:
		without = slices.Concat(hidden, without)
	}
	if authors == nil && len(m.own) == 0 && !slices.ContainsFunc(without, func(name string) bool { return m.header.Count(name) > 0 }) {
		return append(b, header...)
	}
	b, rest := m.left().AppendWith(b, authors, without...), header[m.header.Size():]
	return append(b, rest...)
}

func (t *transaction) received(b []byte, now time.Time) []byte {
	p := t.peer
	b = append(b, "Received: from "...)
	if t.client.HideClient() {
		b = append(b, t.snap.Hostname...)
	} else {
		b = append(b, p.Helo...)
		if p.Addr.IsValid() { // a front end may not know it
			b = append(appendLiteral(append(b, " ("...), p), ')')
		}
	}
	b = append(append(b, "\r\n\tby "...), t.snap.Hostname...)
	b = append(append(b, " (Postern) with "...), t.protocol()...)
	b = append(append(b, " id "...), t.ev.ID...)
	if len(t.env.To) == 1 && !t.env.To[0].UTF8() {
		b = append(t.env.To[0].AppendTo(append(b, "\r\n\tfor <"...)), '>')
	}
	b = append(b, ";\r\n\t"...)
	return append(appendDate(b, now), "\r\n"...)
}

func appendDate(b []byte, now time.Time) []byte { return now.AppendFormat(b, dateFormat) }

// appendLiteral writes the client's address as an address literal (RFC 5321
// s. 4.1.3).
func appendLiteral(b []byte, p *mail.Peer) []byte {
	addr := p.Addr.Addr().Unmap()
	if addr.Is4() {
		b = append(b, '[')
	} else {
		b = append(b, "[IPv6:"...)
	}
	return append(addr.WithZone("").AppendTo(b), ']')
}

// protocol is the "with" keyword (RFC 3848, RFC 6531 s. 4.3).
func (t *transaction) protocol() string {
	p := t.peer
	if !p.ESMTP {
		return "SMTP"
	}
	word := "ESMTP"
	if t.env.UTF8 {
		word = "UTF8SMTP"
	}
	if p.LMTP { // RFC 3848, and RFC 6531 for UTF8LMTP
		word = strings.TrimPrefix(strings.Replace(word, "SMTP", "LMTP", 1), "E")
	}
	if p.TLS.On() {
		word += "S"
	}
	if p.User != "" {
		word += "A"
	}
	return word
}
