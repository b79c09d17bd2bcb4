package policy

import (
	"strings"
	"testing"

	"postern/mail"
)

func TestAutomaticIsToldByTheHeader(t *testing.T) {
	for _, tt := range []struct {
		name, fields string
		want         Automatic
	}{
		{"nothing", "", NotAutomatic},
		{"auto-submitted no", "Auto-Submitted: no\r\n", NotAutomatic},
		{"auto-submitted no with a comment", "Auto-Submitted: No (by hand)\r\n", NotAutomatic},
		{"auto-generated", "Auto-Submitted: auto-generated\r\n", Notice},
		{"auto-generated with a parameter", "Auto-Submitted: AUTO-GENERATED; owner-email=x\r\n", Notice},
		{"auto-replied", "Auto-Submitted: auto-replied\r\n", AutoReply},
		{"auto-replied (vacation)", "AUTO-SUBMITTED: auto-replied (vacation)\r\n", AutoReply},
		{"auto-replied, folded", "Auto-Submitted:\r\n auto-replied\r\n", AutoReply},
		{"auto-notified", "Auto-Submitted: auto-notified\r\n", AutoReply}, // RFC 5436: sent on because of another message
		{"unknown keyword", "Auto-Submitted: auto-forwarded\r\n", AutoReply},
		{"empty", "Auto-Submitted:\r\n", AutoReply},
		{"precedence of old vacation programs", "Precedence: auto_reply\r\n", AutoReply},
		{"bulk is no reply", "Precedence: bulk\r\n", NotAutomatic},
		{"list is no reply", "Precedence: list\r\n", NotAutomatic},
		{"x-autoreply", "X-Autoreply: yes\r\n", AutoReply},
		{"x-autoreply: no", "X-Autoreply: no\r\n", NotAutomatic},
		{"x-autorespond", "X-Autorespond: Re: hello\r\n", AutoReply},
		{"delivery report", "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n", Report},
		{"delivery report, folded and quoted", "Content-Type: Multipart/Report;\r\n boundary=\"x\";\r\n report-type=\"delivery-status\"\r\n", Report},
		{"report without a type", "Content-Type: multipart/report; boundary=x\r\n", Report},
		{"feedback report", "Content-Type: multipart/report; report-type=feedback-report\r\n", Report},
		{"read receipt", "Content-Type: multipart/report; report-type=disposition-notification\r\n", Receipt},
		{"bare read receipt", "Content-Type: message/disposition-notification\r\n", Receipt},
		{"bare delivery status", "Content-Type: message/delivery-status\r\n", Report},
		{"failed recipients", "X-Failed-Recipients: a@partner.example\r\n", Report},
		{"mixed content", "Content-Type: multipart/mixed; boundary=report\r\n", NotAutomatic},
		{"cron", "X-Cron-Env: <SHELL=/bin/sh>\r\n", Notice},
		{"a subject alone", "Subject: Out of office: Monday\r\n", NotAutomatic},
		{"a subject of an answer", "Subject: Automatic reply: hello\r\nIn-Reply-To: <a@partner.example>\r\n", AutoReply},
		{"an encoded subject of an answer", "Subject: =?utf-8?q?R=C3=A9ponse_automatique=C2=A0=3A_x?=\r\nReferences: <a@partner.example>\r\n", AutoReply},
		{"Outlook in German", "Subject: Automatische Antwort: Urlaub\r\nX-Auto-Response-Suppress: All\r\n", AutoReply},
		{"an answer that talks of it", "Subject: Re: Out of office: how?\r\nIn-Reply-To: <a@partner.example>\r\n", NotAutomatic},
		{"no reply wanted", "X-Auto-Response-Suppress: All\r\n", NotAutomatic},
		{"mailbox rule of Exchange", "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\r\nAuto-Submitted: auto-generated\r\n", AutoReply},
		{"report wins over reply", "Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=delivery-status\r\n", Report},
		{"a long name of a field", strings.Repeat("X", 300) + ": yes\r\n", NotAutomatic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := facts(t, "From: anna@example.org\r\n"+tt.fields).Automatic; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestAutomaticIsJudgedBySetting(t *testing.T) {
	reject, allow := AutomaticReplies{Mode: RejectReplies}, AutomaticReplies{Mode: AllowReplies}
	once := AutomaticReplies{OncePerRecipient, 7 * day}
	for _, tt := range []struct {
		name             string
		replies, notices AutomaticReplies
		want             map[Automatic]AutomaticReplies
	}{
		{"default", once, allow, map[Automatic]AutomaticReplies{NotAutomatic: allow, Notice: allow, AutoReply: once, Receipt: once, Report: once}},
		{"replies refused", reject, allow, map[Automatic]AutomaticReplies{NotAutomatic: allow, Notice: allow, AutoReply: reject, Receipt: reject, Report: reject}},
		{"notices once", allow, once, map[Automatic]AutomaticReplies{NotAutomatic: allow, Notice: once, AutoReply: allow, Receipt: allow, Report: allow}},
	} {
		r, c := one(t, anna(func(c *ClientConfig) { c.AutomaticReplies, c.AutomaticNotices = tt.replies, tt.notices }))
		for kind, want := range tt.want {
			if got := r.Automatic(c, &HeaderFacts{Automatic: kind}); got != want {
				t.Errorf("%s: %q is %v, want %v", tt.name, kind, got, want)
			}
		}
	}
	r, c := one(t, anna(func(c *ClientConfig) { c.AutomaticReplies = AutomaticReplies{} }))
	if got := r.Automatic(c, &HeaderFacts{Automatic: Report}); got.Mode == AllowReplies || got.Mode == OncePerRecipient {
		t.Errorf("blank widens to %v", got)
	}
}

func TestRefuseAutomatic(t *testing.T) {
	to := mail.Address{Local: "ben", Domain: "partner.example"}
	wantReply(t, RefuseAutomatic(AutomaticReplies{Mode: RejectReplies}, to), "550 5.7.1 <ben@partner.example>: automatic message not allowed for this client")
	wantReply(t, RefuseAutomatic(AutomaticReplies{OncePerRecipient, 7 * day}, to), "550 5.7.1 <ben@partner.example>: has had an automatic message within 7 days")
	wantReply(t, RefuseAutomatic(AutomaticReplies{OncePerRecipient, day}, to), "550 5.7.1 <ben@partner.example>: has had an automatic message within 1d")
}
