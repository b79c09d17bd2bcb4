package relay

import (
	"context"
	"time"

	"postern/internal/parts"
	"postern/mail"
	"postern/policy"
	"postern/relay/replies"
	"postern/scan"
	"postern/scan/links"
)

// Looked is what the relay itself sees in a message that is not mail, as a command
// shows it.
type Looked struct {
	Attachments *mail.AttachmentEvent // nil: nothing is refused
	Links       *mail.LinkEvent       // nil: there are no lists
	// Reply is the refusal, nil for none, and Rule what decided.
	Reply *mail.Reply
	Rule  string
}

// LookAt judges the attachments of a message by what a client may not send, nil for
// no client, and its links by lists, nil for none. It waits for the lists.
func LookAt(ctx context.Context, content *scan.Content, client *policy.Client, lists *links.Lists) (k Looked, err error) {
	var refused policy.AttachmentConfig
	wanted := false
	if client != nil {
		refused, wanted = client.Attachments()
	}
	if !wanted && lists == nil {
		return k, nil
	}
	began := time.Now()
	want := parts.Want{Encrypted: refused.RefuseEncrypted}
	if wanted {
		want.Refused = parts.NewRules(refused.RefuseAttachments...)
	}
	var hosts *links.Finder
	if lists != nil {
		hosts = lists.Find()
		want.Text = func(text *parts.Text) { hosts.Text(text.HTML, text.Charset, text.Octets) }
	}
	var walker parts.Walker
	report, err := walker.Walk(content.Reader(), want)
	if err != nil {
		return k, err
	}
	if wanted {
		k.Attachments = attachmentEvent(&report, time.Since(began))
		k.Rule, k.Reply = judgeAttachments(&report, &refused)
	}
	if lists == nil || k.Reply != nil {
		return k, nil
	}
	r := lists.Ask(ctx, hosts).Wait()
	k.Links = linkEvent(r, report.TextLeft)
	if r.Enforce && len(r.Listed) > 0 {
		k.Rule, k.Reply = ruleLinks, replies.ListedLink(r.Listed[0].Host)
	}
	return k, nil
}
