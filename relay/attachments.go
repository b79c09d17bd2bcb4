package relay

import (
	"time"

	"postern/internal/parts"
	"postern/internal/plain"
	"postern/mail"
	"postern/policy"
	"postern/relay/replies"
)

// attachmentRules makes rules of what clients and their streams refuse, by client.
func attachmentRules(rules *policy.Rules) map[string]*parts.Rules {
	all := map[string]*parts.Rules{}
	if rules == nil {
		return all
	}
	for _, c := range rules.Clients() {
		if refused, ok := c.Attachments(); ok {
			all[c.Name()] = parts.NewRules(refused.RefuseAttachments...)
		}
	}
	return all
}

// judgeAttachments looks for what the client may not send. Nil: the message goes
// on; the error is one of reading it.
func (t *transaction) judgeAttachments() (rule string, r *mail.Reply, err error) {
	refused, ok := t.client.Attachments()
	if !ok {
		return "", nil, nil
	}
	began := time.Now()
	content := t.content()
	report, err := t.srv.walker.Walk(content.Reader(), parts.Want{
		Refused: t.snap.attachments[t.client.Name()], Encrypted: refused.RefuseEncrypted,
	})
	if err != nil {
		return "", nil, err
	}
	t.ev.Attachments = &mail.AttachmentEvent{
		Parts: report.Parts, Refused: report.Refused, Name: plain.QuoteControls(report.Name), Encrypted: report.Encrypted,
		Ambiguous: report.Ambiguous, Took: time.Since(began),
	}
	switch {
	case report.Refused != "":
		return "refuse_attachments", replies.Attachment(report.Refused), nil
	case report.Encrypted != "":
		return "refuse_encrypted", replies.Encrypted(), nil
	case report.Ambiguous != "" && refused.RefuseAmbiguous:
		return "refuse_ambiguous", replies.Ambiguous(), nil
	}
	return "", nil, nil
}
