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
		{"auto-notified", "Auto-Submitted: auto-notified\r\n", Notice}, // RFC 5436 s. 2.7.1
		{"auto-notified for an owner", "Auto-Submitted: Auto-Notified; owner-email=\"anna@example.org\"\r\n", Notice},
		{"auto-replied for an owner", "Auto-Submitted: auto-replied; owner-email=\"no;no@example.org\"\r\n", AutoReply},
		{"auto-replied behind a comment", "Auto-Submitted: (vacation \\) (no)) Auto-Replied(x);\r\n\towner-email=x\r\n", AutoReply},
		{"no behind a comment", "Auto-Submitted: (auto-replied) no (auto-replied)\r\n", NotAutomatic},
		{"a comment alone", "Auto-Submitted: (no)\r\n", AutoReply},
		{"two words", "Auto-Submitted: no auto-replied\r\n", NotAutomatic},
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
		{"delivery report with a comment", "Content-Type: (x;y) multipart/report (report); (a \\) b)\r\n\treport-type (x) =delivery-status\r\n", Report},
		{"TLS report", "Content-Type: multipart/report; report-type=\"TLSRPT\"; boundary=b\r\n", Report},
		{"TLS report by RFC 2231", "Content-Type: multipart/report; report-type*=us-ascii'en'tls%72pt\r\n", Report},
		{"receipt in pieces", "Content-Type: multipart/report; report-type*0=disposition-;\r\n report-type*1=notification\r\n", Receipt},
		{"receipt with a boundary that lies", "Content-Type: multipart/report; report-type=disposition-notification; boundary=\"report-type=tlsrpt\"\r\n", Receipt},
		{"report with a boundary that lies", "Content-Type: multipart/report; boundary=\"disposition-notification\"; report-type=delivery-status\r\n", Report},
		{"receipt that cannot be read", "Content-Type: multipart/report; ; report-type = disposition-notification boundary=x y\r\n", Receipt},
		{"report with a parenthesis in the boundary", "Content-Type: multipart/report; boundary=\"a(b\"; report-type=delivery-status\r\n", Report},
		{"report of a type that nobody knows", "Content-Type: multipart/report; report-type=vacation\r\n", AutoReply},
		{"bare TLS report", "Content-Type: application/tlsrpt+gzip\r\n", Report},
		{"DMARC report without a mark", "Subject: Report Domain: d.example Submitter: s.example Report-ID: <1@s.example>\r\nContent-Type: application/gzip\r\n", NotAutomatic},
		{"DMARC report that is auto-generated", "Subject: Report Domain: d.example\r\n Submitter: s.example\r\n Report-ID:<1@s.example>\r\nContent-Type: Application/GZIP; name=x\r\nAuto-Submitted: auto-generated\r\n", Report},
		{"DMARC report that is auto-replied", "Auto-Submitted: auto-replied\r\nSubject: report domain: d.example Submitter: s.example Report-ID: x\r\nContent-Type: multipart/mixed; boundary=x\r\n", Report},
		{"reply with the subject of a DMARC report and text", "Auto-Submitted: auto-replied\r\nSubject: Report Domain: d.example Submitter: s.example Report-ID: x\r\nContent-Type: text/plain\r\n", AutoReply},
		{"reply that begins as the subject of a DMARC report", "Auto-Submitted: auto-replied\r\nSubject: Report Domain: I am away\r\nContent-Type: multipart/mixed\r\n", AutoReply},
		{"TLS report in another form", "Auto-Submitted: auto-generated\r\nTLS-Report-Domain: d.example\r\nContent-Type: multipart/mixed\r\n", Report},
		{"report inside a message", "Content-Type: message/rfc822; x=\"multipart/report\"\r\n", NotAutomatic},
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
		null             NullSender
		limit            []string
		want             map[Automatic]AutomaticReplies
	}{
		{"default", once, allow, LimitNull, []string{"20/1h"}, map[Automatic]AutomaticReplies{NotAutomatic: allow, Notice: allow, AutoReply: once, Receipt: allow, Report: allow}},
		{"replies refused", reject, allow, LimitNull, []string{"20/1h"}, map[Automatic]AutomaticReplies{NotAutomatic: allow, Notice: allow, AutoReply: reject, Receipt: reject, Report: reject}},
		{"notices once", allow, once, LimitNull, []string{"20/1h"}, map[Automatic]AutomaticReplies{NotAutomatic: allow, Notice: once, AutoReply: allow, Receipt: allow, Report: allow}},
		{"no null sender, but its limit", once, allow, RejectNull, []string{"20/1h"}, map[Automatic]AutomaticReplies{AutoReply: once, Receipt: allow, Report: allow}},
		{"no null sender and no limit", once, allow, RejectNull, nil, map[Automatic]AutomaticReplies{AutoReply: once, Receipt: once, Report: once}},
		{"null sender without a limit", once, allow, AllowNull, nil, map[Automatic]AutomaticReplies{AutoReply: once, Receipt: allow, Report: allow}},
	} {
		r, c := one(t, anna(func(c *ClientConfig) {
			c.AutomaticReplies, c.AutomaticNotices, c.NullSender, c.NullSenderLimit = tt.replies, tt.notices, tt.null, tt.limit
		}))
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

// FuzzAutomatic: a comment, folding and the case of letters change nothing.
func FuzzAutomatic(f *testing.F) {
	f.Add("auto-replied (x)", "multipart/report; report-type=\"tlsrpt\"; boundary=\"a(b\"", "Report Domain: d Submitter: s Report-ID: i")
	f.Add("auto-notified; owner-email=\"a\\\"b\"", "multipart/report; report-type*0=dis; report-type*1=x", "=?utf-8?q?Report?=")
	f.Fuzz(func(t *testing.T, submitted, contentType, subject string) {
		for _, s := range []string{submitted, contentType, subject} {
			if strings.ContainsAny(s, "\r\n") || len(s) > 500 {
				return
			}
		}
		read := func(submitted, contentType string) Automatic {
			var m automaticMarks
			m.submitted([]byte(submitted))
			m.contentType([]byte(contentType))
			m.subject = []byte(subject)
			return m.kind()
		}
		want := read(submitted, contentType)
		if got := read("(auto-generated \\) (x))"+submitted, "(multipart/mixed;)\r\n "+contentType); got != want {
			t.Errorf("%q, %q is %q, with a comment %q", submitted, contentType, want, got)
		}
		if got := read(strings.Map(upperASCII, submitted), contentType); got != want {
			t.Errorf("%q is %q, in capitals %q", submitted, want, got)
		}
		if again := withoutComments(withoutComments([]byte(contentType))); string(again) != string(withoutComments([]byte(contentType))) {
			t.Errorf("%q has comments in its comments: %q", contentType, again)
		}
	})
}

func upperASCII(r rune) rune {
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	return r
}

func TestRefuseAutomatic(t *testing.T) {
	to := mail.Address{Local: "ben", Domain: "partner.example"}
	wantReply(t, RefuseAutomatic(AutomaticReplies{Mode: RejectReplies}, to), "550 5.7.1 <ben@partner.example>: automatic message not allowed for this client")
	wantReply(t, RefuseAutomatic(AutomaticReplies{OncePerRecipient, 7 * day}, to), "550 5.7.1 <ben@partner.example>: has had an automatic message within 7 days")
	wantReply(t, RefuseAutomatic(AutomaticReplies{OncePerRecipient, day}, to), "550 5.7.1 <ben@partner.example>: has had an automatic message within 1d")
}
