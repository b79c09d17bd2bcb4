package relay

import (
	"postern/dkimsign"
	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// judgeSignatures looks at the DKIM-Signature fields that the client has made
// itself, where its way out keeps none of them: they are noted to be taken out, or
// the message is refused. On mail of others, which it forwards, they are not its own.
func (t *transaction) judgeSignatures() (rule string, r *mail.Reply) {
	what := t.route.Sign.ClientSignatures()
	if what == dkimsign.KeepSignatures {
		return "", nil
	}
	m := &t.message
	var owners dkimsign.Owners
	for i := range m.facts.Authors {
		if a := &m.facts.Authors[i]; t.client.Owns(a.Address) {
			owners.Add(a.Domain)
		}
	}
	for i := range m.header {
		if m.header[i].Is("DKIM-Signature") && owners.Made(m.header[i].Body()) {
			m.own = append(m.own, i)
		}
	}
	if len(m.own) > 0 && what == dkimsign.RefuseSignatures {
		return "client_signatures", replies.ClientSigned()
	}
	return "", nil
}

// left are the fields of the client that leave.
func (m *message) left() syntax.Header {
	if len(m.own) == 0 {
		return m.header
	}
	h, own := make(syntax.Header, 0, len(m.header)-len(m.own)), m.own
	for i := range m.header {
		if len(own) > 0 && own[0] == i {
			own = own[1:]
			continue
		}
		h = append(h, m.header[i])
	}
	return h
}
