package relay

import (
	"time"

	"postern/internal/parts"
	"postern/internal/plain"
	"postern/mail"
	"postern/policy"
	"postern/relay/replies"
	"postern/scan/links"
)

// attachmentRules makes rules of what clients and their streams refuse, by client.
func attachmentRules(rules *policy.Rules) map[string]*parts.RefusedNames {
	all := map[string]*parts.RefusedNames{}
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

// look goes through the message: for attachments that the client may not send, and
// for links, which it begins to look up. Nil: the message goes on; the error is one
// of reading it.
func (t *transaction) look() (rule string, r *mail.Reply, err error) {
	refused, wanted := t.client.Attachments()
	lists := t.snap.Links
	if !wanted && lists == nil {
		return "", nil, nil
	}
	began := time.Now()
	want := parts.Want{Refused: t.snap.attachments[t.client.Name()], Encrypted: refused.RefuseEncrypted}
	var hosts *links.Finder
	if lists != nil {
		hosts = lists.Find()
		want.Text = func(text *parts.Text) { hosts.Text(text.HTML, text.Charset, text.Octets) }
	}
	content := t.content()
	report, err := t.srv.walker.Walk(content.Reader(), want)
	if err != nil {
		return "", nil, err
	}
	if wanted {
		t.ev.Attachments = attachmentEvent(&report, time.Since(began))
		if rule, r = judgeAttachments(&report, &refused); r != nil {
			return rule, r, nil
		}
	}
	if lists != nil {
		t.textLeft = report.TextLeft
		t.links = lists.Ask(t.conn.Context(), hosts)
	}
	return "", nil, nil
}

func attachmentEvent(r *parts.Report, took time.Duration) *mail.AttachmentEvent {
	return &mail.AttachmentEvent{
		Parts: r.Parts, Refused: r.Refused, Name: plain.QuoteControls(r.Name), Encrypted: r.Encrypted, Ambiguous: r.Ambiguous, Took: took,
	}
}

func judgeAttachments(r *parts.Report, refused *policy.AttachmentConfig) (rule string, _ *mail.Reply) {
	switch {
	case r.Refused != "":
		return "refuse_attachments", replies.Attachment(r.Refused)
	case r.Encrypted != "":
		return "refuse_encrypted", replies.Encrypted()
	case r.Ambiguous != "" && refused.RefuseAmbiguous:
		return "refuse_ambiguous", replies.Ambiguous()
	}
	return "", nil
}

// linksCount reports whether the message waits for what is said of its links.
func (t *transaction) linksCount() bool { return t.links != nil && t.snap.Links.Enforces() }

// judgeLinks waits for what enforced lists say of the message's links.
func (t *transaction) judgeLinks() (rule string, r *mail.Reply) {
	if !t.linksCount() {
		return "", nil
	}
	if listed := t.links.Wait().Listed; len(listed) > 0 {
		return ruleLinks, replies.ListedLink(listed[0].Host)
	}
	return "", nil
}

// ruleLinks decides where a message links to a listed host.
const ruleLinks = "links"

// endLinks ends what is still being looked up, and notes what is known.
func (t *transaction) endLinks() {
	r := t.links.Finish()
	if r == nil {
		return
	}
	t.ev.Links = linkEvent(r, t.textLeft)
	if t.ev.Links.Shadow && len(r.Listed) > 0 {
		t.ev.Shadow = append(t.ev.Shadow, ruleLinks)
	}
}

func linkEvent(r *links.Result, textLeft bool) *mail.LinkEvent {
	ev := &mail.LinkEvent{Hosts: r.Hosts, More: r.More, Left: r.Left, TextLeft: textLeft, Took: r.Took, Shadow: !r.Enforce}
	for _, l := range r.Listed {
		ev.Listed = append(ev.Listed, mail.LinkListing(l))
	}
	for _, v := range r.Lists {
		list := mail.LinkList{List: v.List, Verdict: "clean"}
		if v.Err != nil {
			list.Verdict, list.Err = "fault", plain.QuoteControls(v.Err.Error())
		}
		if v.Listed {
			list.Verdict = "listed"
		}
		ev.Lists = append(ev.Lists, list)
	}
	return ev
}
