package policy

import (
	"strings"
	"testing"
	"time"

	"postern/internal/syntax"
)

// facts reads a header as the relay does.
func facts(t testing.TB, header string) *HeaderFacts {
	t.Helper()
	fields, err := syntax.ParseHeader([]byte(header), 2000)
	if err != nil {
		t.Fatalf("%q: %v", header, err)
	}
	var h HeaderFacts
	h.read(fields)
	return &h
}

// judged is a row of a table of headers: what Header says to each.
type judged struct {
	name, header string
	rule, reply  string
	shadow       bool
}

func judgeAll(t *testing.T, cfg ClientConfig, rows []judged) {
	t.Helper()
	r, c := one(t, cfg)
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			rule, reply, shadow := r.Header(c, facts(t, tt.header))
			if rule != tt.rule || shadow != tt.shadow {
				t.Errorf("rule %q, shadow %v; want %q, %v", rule, shadow, tt.rule, tt.shadow)
			}
			if tt.reply != "" {
				tt.reply = "550 5.7.1 " + tt.reply
			}
			wantReply(t, reply, tt.reply)
		})
	}
}

func notOwned(a string) string { return "<" + a + ">: address in header From not owned by this client" }

const unreadable = "addresses in header From cannot be read for certain"

func TestHeaderFromIsOneAndOwned(t *testing.T) {
	judgeAll(t, anna(nil), []judged{
		{name: "plain", header: "From: anna@example.org\r\n"},
		{name: "with a name", header: "From: Anna K <anna@example.org>\r\nTo: x@partner.example\r\n"},
		{name: "domain in another case", header: "FROM: <Anna@EXAMPLE.Org>\r\n"},
		{name: "folded between words", header: "From: Anna\r\n K\r\n <anna@example.org>\r\n"},
		{name: "two authors, both owned", header: "From: anna@example.org, Ben <ben@shop.example.org>\r\n"},
		{name: "group of owned authors", header: "From: Board: anna@example.org, ben@example.org;\r\n"},
		{name: "encoded word", header: "From: =?utf-8?q?Anna_K?= <anna@example.org>\r\n"},

		{name: "other forms that show one author", header: "From: [x] Anna, Inc. (y) <anna@example.org>\r\n"},

		{name: "none", header: "Subject: x\r\n", rule: "from", reply: "message has no From field, must have one"},
		{name: "no field at all", header: "", rule: "from", reply: "message has no From field, must have one"},
		{name: "two", header: "From: anna@example.org\r\nFrom: anna@example.org\r\n", rule: "from", reply: "message has 2 From fields, must have one"},
		{name: "two in other cases", header: "From: anna@example.org\r\nX: y\r\nfROM: ceo@evil.example\r\n", rule: "from", reply: "message has 2 From fields, must have one"},
		{name: "three", header: strings.Repeat("From: anna@example.org\r\n", 3), rule: "from", reply: "message has 3 From fields, must have one"},
		{name: "empty", header: "From:\r\n", rule: "from", reply: unreadable},
		{name: "empty group", header: "From: Undisclosed:;\r\n", rule: "from", reply: unreadable},
		{name: "name alone", header: "From: Anna\r\n", rule: "from", reply: unreadable},
		{name: "address without brackets behind a name", header: "From: Anna anna@example.org\r\n", rule: "from", reply: unreadable},
		{name: "address before brackets", header: "From: ceo@evil.example <anna@example.org>\r\n", rule: "from", reply: unreadable},
		{name: "two without a comma", header: "From: <ceo@evil.example> <anna@example.org>\r\n", rule: "from", reply: unreadable},
		{name: "null address", header: "From: <>\r\n", rule: "from", reply: unreadable},
		{name: "comment that does not end", header: "From: anna@example.org (x\r\n", rule: "from", reply: unreadable},
		{name: "encoded word as local part", header: "From: =?utf-8?q?ceo=40evil.example?=@example.org\r\n", rule: "from", reply: unreadable},
		{name: "obsolete route", header: "From: <@a.example,@b.example:anna@example.org>\r\n", rule: "from", reply: unreadable},
		{name: "route through an owned domain", header: "From: <@example.org:ceo@evil.example>\r\n", rule: "from", reply: unreadable},
		{name: "comment with another address", header: "From: (ceo@evil.example) anna@example.org\r\n", rule: "from", reply: unreadable},
		{name: "folded before the at sign", header: "From: Anna\r\n <anna\r\n @example.org>\r\n", rule: "from", reply: unreadable},
		{name: "blank within the domain", header: "From: ceo@bank.example .example.org\r\n", rule: "from", reply: unreadable},
		{name: "quoted at sign", header: "From: \"a@evil.example\"@example.org\r\n", rule: "from", reply: unreadable},
		{name: "quoted blank", header: "From: \"a evil\"@example.org\r\n", rule: "from", reply: unreadable},
		{name: "quoted brackets", header: "From: X <\"<a>\"@example.org>\r\n", rule: "from", reply: unreadable},
		{name: "quoted comma", header: "From: \"a,b\"@example.org\r\n", rule: "from", reply: unreadable},
		{name: "quoted colon", header: "From: \"a:b\"@example.org\r\n", rule: "from", reply: unreadable},
		{name: "quoted semicolon", header: "From: \"a;b\"@example.org\r\n", rule: "from", reply: unreadable},
		{name: "trailing dot", header: "From: anna@example.org.\r\n", rule: "from", reply: unreadable},

		{name: "somebody else", header: "From: ceo@evil.example\r\n", rule: "from_mismatch", reply: notOwned("ceo@evil.example")},
		{name: "second author is somebody else", header: "From: anna@example.org, ceo@evil.example\r\n", rule: "from_mismatch", reply: notOwned("ceo@evil.example")},
		{name: "somebody else in a group", header: "From: Board: anna@example.org, ceo@evil.example;\r\n", rule: "from_mismatch", reply: notOwned("ceo@evil.example")},
		{name: "percent hack", header: "From: anna%example.org@evil.example\r\n", rule: "from_mismatch", reply: notOwned("anna%example.org@evil.example")},
		{name: "quoted local part as an owned address", header: "From: \"anna@example.org\"@evil.example\r\n", rule: "from_mismatch", reply: notOwned(`"anna@example.org"@evil.example`)},
		{name: "domain that begins alike", header: "From: anna@example.org.evil.example\r\n", rule: "from_mismatch", reply: notOwned("anna@example.org.evil.example")},
		{name: "UTF-8", header: "From: jdöe@mächine.example\r\n", rule: "from_mismatch", reply: notOwned(`jd\x{F6}e@xn--mchine-bua.example`)},
	})
}

// Who owns exactly an address has chosen it, whatever readers make of it.
func TestQuotedLocalPartOfItsOwner(t *testing.T) {
	const from = "From: X <\"first last@evil.example\"@example.org>\r\n"
	own := func(senders ...string) ClientConfig {
		return anna(func(c *ClientConfig) { c.Senders = senders })
	}
	judgeAll(t, own(`"First last@evil.example"@example.org`), []judged{{name: "owned by name", header: from}})
	judgeAll(t, own("@example.org", "@*.org"), []judged{
		{name: "owned by domain", header: from, rule: "from", reply: unreadable},
		{name: "dots that need quotes", header: "From: \"a..b\"@example.org\r\n", rule: "from", reply: unreadable},
		{name: "no-break space", header: "From: \u00a0ceo@example.org\r\n", rule: "from", reply: unreadable},
		{name: "zero width space", header: "From: c\u200beo@example.org\r\n", rule: "from", reply: unreadable},
		{name: "wide at sign", header: "From: ceo\uff20bank.example@example.org\r\n", rule: "from", reply: unreadable},
		{name: "letters beyond ASCII", header: "From: jörg@example.org\r\n"},
	})
	shadow := own("@example.org")
	shadow.FromMismatch = ShadowMismatch
	judgeAll(t, shadow, []judged{
		{name: "in shadow", header: "From: \"ceo@bank.example\"@evil.example\r\n", rule: "from", reply: unreadable},
	})
}

func TestFromMismatchShadowLetsOnlyOwnershipPass(t *testing.T) {
	cfg := anna(func(c *ClientConfig) { c.FromMismatch = ShadowMismatch })
	judgeAll(t, cfg, []judged{
		{name: "owned", header: "From: anna@example.org\r\n"},
		{name: "somebody else", header: "From: ceo@evil.example\r\n", rule: "from_mismatch", shadow: true, reply: notOwned("ceo@evil.example")},
		{name: "none", header: "To: x@partner.example\r\n", rule: "from", reply: "message has no From field, must have one"},
		{name: "two", header: "From: ceo@evil.example\r\nFrom: anna@example.org\r\n", rule: "from", reply: "message has 2 From fields, must have one"},
		{name: "unreadable", header: "From: Anna anna@example.org\r\n", rule: "from", reply: unreadable},
		{name: "somebody else and a duplicate", header: "From: ceo@evil.example\r\nSubject: a\r\nSubject: b\r\n", rule: "duplicate_fields", reply: "header field Subject occurs more than once"},
	})
	for _, v := range []Mismatch{"", "anything"} {
		cfg := anna(func(c *ClientConfig) { c.FromMismatch = v })
		judgeAll(t, cfg, []judged{{name: "blank never widens", header: "From: ceo@evil.example\r\n", rule: "from_mismatch", reply: notOwned("ceo@evil.example")}})
	}
}

func TestDuplicateFields(t *testing.T) {
	var rows []judged
	for _, name := range []string{"Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post"} {
		rows = append(rows,
			judged{name: "one " + name, header: "From: anna@example.org\r\n" + name + ": x\r\n"},
			judged{name: "two " + name, header: "From: anna@example.org\r\n" + name + ": x\r\nX: y\r\n" + strings.ToLower(name) + ":\r\n",
				rule: "duplicate_fields", reply: "header field " + name + " occurs more than once"})
	}
	rows = append(rows,
		judged{name: "fields that may stand often", header: "From: anna@example.org\r\nReceived: a\r\nReceived: b\r\nComments: a\r\nComments: b\r\nKeywords: a\r\nKeywords: b\r\nResent-From: anna@example.org\r\nResent-From: anna@example.org\r\nX-A: a\r\nX-A: b\r\nDKIM-Signature: a\r\nDKIM-Signature: b\r\n"})
	judgeAll(t, anna(nil), rows)
	judgeAll(t, anna(func(c *ClientConfig) { c.DuplicateFields = "" }), rows[:2])
	judgeAll(t, anna(func(c *ClientConfig) { c.DuplicateFields = Allow }), []judged{
		{name: "allowed", header: "From: anna@example.org\r\nSubject: a\r\nSubject: b\r\n"},
		{name: "From never", header: "From: anna@example.org\r\nFrom: anna@example.org\r\n", rule: "from", reply: "message has 2 From fields, must have one"},
	})
}

func TestOtherSenderFieldsAreHeldBySwitch(t *testing.T) {
	for _, tt := range []struct {
		field, rule string
		on          func(c *ClientConfig)
	}{
		{"Sender", "check_sender", func(c *ClientConfig) { c.CheckSender = true }},
		{"Resent-From", "check_resent_from", func(c *ClientConfig) { c.CheckResentFrom = true }},
		{"Resent-Sender", "check_resent_from", func(c *ClientConfig) { c.CheckResentFrom = true }},
		{"Reply-To", "check_reply_to", func(c *ClientConfig) { c.CheckReplyTo = true }},
	} {
		t.Run(tt.field, func(t *testing.T) {
			from := "From: anna@example.org\r\n"
			owned, foreign, bad := from+tt.field+": Ben <ben@example.org>\r\n", from+tt.field+": x@evil.example\r\n", from+tt.field+": Anna anna@example.org\r\n"
			judgeAll(t, anna(nil), []judged{
				{name: "off, owned", header: owned}, {name: "off, foreign", header: foreign}, {name: "off, unreadable", header: bad},
			})
			no := "<x@evil.example>: address in header " + tt.field + " not owned by this client"
			judgeAll(t, anna(tt.on), []judged{
				{name: "absent", header: from},
				{name: "owned", header: owned},
				{name: "foreign", header: foreign, rule: tt.rule, reply: no},
				{name: "foreign among owned", header: from + tt.field + ": a@example.org, x@evil.example\r\n", rule: tt.rule, reply: no},
				{name: "in a form that would be written anew", header: from + tt.field + ": Example, Inc. <anna@example.org>\r\n", rule: tt.rule, reply: "addresses in header " + tt.field + " cannot be read for certain"},
				{name: "quoted local part", header: from + tt.field + ": \"ceo@bank.example\"@example.org\r\n", rule: tt.rule, reply: "addresses in header " + tt.field + " cannot be read for certain"},
				{name: "unreadable", header: bad, rule: tt.rule, reply: "addresses in header " + tt.field + " cannot be read for certain"},
				{name: "in another case", header: strings.Replace(foreign, tt.field, strings.ToUpper(tt.field), 1), rule: tt.rule, reply: no},
			})
		})
	}
	judgeAll(t, anna(func(c *ClientConfig) { c.CheckResentFrom = true }), []judged{
		{name: "the second block counts as the first", header: "Resent-From: a@example.org\r\nResent-From: x@evil.example\r\nFrom: anna@example.org\r\n",
			rule: "check_resent_from", reply: "<x@evil.example>: address in header Resent-From not owned by this client"},
	})
}

func TestEverySenderFieldCounts(t *testing.T) {
	judgeAll(t, anna(func(c *ClientConfig) { c.CheckSender, c.DuplicateFields = true, Allow }), []judged{
		{name: "the second is foreign", header: "Sender: anna@example.org\r\nFrom: anna@example.org\r\nSender: x@evil.example\r\n",
			rule: "check_sender", reply: "<x@evil.example>: address in header Sender not owned by this client"},
	})
}

func TestDisplayNameThatShowsAnotherAddress(t *testing.T) {
	const no = "<anna@example.org>: its name in header From shows another address"
	var rows []judged
	for _, tt := range []struct {
		from  string
		shows bool
	}{
		{`anna@example.org`, false},
		{`Anna <anna@example.org>`, false},
		{`"anna@example.org" <anna@example.org>`, false},
		{`"ANNA@Example.org" <anna@example.org>`, false},
		{"\"anna@exam\u200bple.o\ufe0frg\" <anna@example.org>", false},
		{`"Anna (anna@example.org)" <anna@example.org>`, false},
		{`"Anna @ work" <anna@example.org>`, false},
		{`"Anna @ Example.org" <anna@example.org>`, false},
		{`"Kowalska @ Example.org" <anna@example.org>`, false},
		{`"@anna" <anna@example.org>`, false},
		{`"a@b" <anna@example.org>`, false},
		{`"Anna, Example.org" <anna@example.org>`, false},
		{`=?utf-8?q?Anna_=40_work?= <anna@example.org>`, false},

		{`"ceo@partner.example" <anna@example.org>`, true},
		{`"CEO <ceo@partner.example>" <anna@example.org>`, true},
		{`"anna@example.org, ceo@partner.example" <anna@example.org>`, true},
		{`"mailto:ceo@partner.example" <anna@example.org>`, true},
		{`"ceo@partner.example." <anna@example.org>`, true},
		{`"ceo @ partner.example" <anna@example.org>`, true},
		{`Anna =?us-ascii?q?=40partner.example?= K <anna@example.org>`, true},
		{`"ben@example.org" <anna@example.org>`, true}, // owned, but not this author
		{`=?utf-8?q?ceo=40partner=2Eexample?= <anna@example.org>`, true},
		{`=?utf-8?b?Y2VvQHBhcnRuZXIuZXhhbXBsZQ==?= <anna@example.org>`, true},
		{`=?iso-8859-2?q?ceo=40partner=2Eexample?= <anna@example.org>`, true},
		{`=?utf-8?q?ceo=40?= =?utf-8?q?partner=2Eexample?= <anna@example.org>`, true},
		{`=?utf-8*en?q?ceo=40partner=2Eexample?= <anna@example.org>`, true},
		// Not decoded here, but perhaps there.
		{`=?cp037?B?g4WWfIKBlZJLhaeBlJeThQ==?= <anna@example.org>`, true},
		{`=?utf-7?q?ceo+AEA-partner.example?= <anna@example.org>`, true},
		{`=?utf-16?b?AGMAZQBvAEAAYg==?= <anna@example.org>`, true},
		{`=?utf-32?b?AAAAYw==?= <anna@example.org>`, true},
		{`=?hz-gb-2312?q?ceo?= <anna@example.org>`, true},
		{`=?x-unknown?q?ceo?= <anna@example.org>`, true},
		{`=?utf-8?b?Y?= <anna@example.org>`, true},
		{`=?utf-8?q?=FF?= <anna@example.org>`, true},
		// The wide at sign, in charsets that know one.
		{`=?gb2312?B?Y2Vvo8BiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?gb18030?B?Y2Vvo8BiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?shift_jis?B?Y2VvgZdiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?euc-jp?B?Y2VvofdiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?euc-kr?B?Y2Vvo8BiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?big5?B?Y2VvokliYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?iso-2022-jp?B?Y2VvGyRCIXcbKEJiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		{`=?iso-2022-kr?B?GyQpQ2Nlbw4jQA9iYW5r?= <anna@example.org>`, true},
		{`=?iso-2022-jp?b?Y2VvGyRC?= =?iso-2022-jp?b?IXcbKEJiYW5rLmV4YW1wbGU=?= <anna@example.org>`, true},
		// Known, and without an address.
		{`=?gb2312?B?1cXI/Q==?= <anna@example.org>`, false},
		{`=?shift_jis?B?k/qWew==?= <anna@example.org>`, false},
		{`=?iso-2022-jp?b?GyRCRnxLXBsoQg==?= <anna@example.org>`, false},
		{`=?koi8-r?B?4c7OwQ==?= <anna@example.org>`, false},
		{`=?windows-1251?B?wO3t4A==?= <anna@example.org>`, false},
		{"J\xfcrgen <anna@example.org>", false},
		{"\"J\xfcrgen M\xfcller, Dr. X\" <anna@example.org>", false},
		{"\"ceo\x81\x97partner.example\" <anna@example.org>", true}, // a wide at sign in Shift_JIS
		{`"x@ceo@partner.example" <anna@example.org>`, true},
		{`"ceo＠partner.example" <anna@example.org>`, true},
		{`"ceo﹫partner。example" <anna@example.org>`, true},
		{"\"ceo\u200b@\u200bpartner\u00ad.exa\u2060mple\" <anna@example.org>", true},
		{"\"ceo@part\u034fner\ufe0f.example\" <anna@example.org>", true},
		{"\"\u202eelpmaxe.rentrap@oec\" <anna@example.org>", true},
		{`anna@example.org, "ceo@partner.example" <anna@example.org>`, true},
	} {
		row := judged{name: tt.from, header: "From: " + tt.from + "\r\n"}
		if tt.shows {
			row.rule, row.reply = "display_name_address", no
		}
		rows = append(rows, row)
	}
	judgeAll(t, anna(func(c *ClientConfig) { c.DisplayNameAddress = Reject }), rows)
	judgeAll(t, anna(func(c *ClientConfig) { c.DisplayNameAddress = "" }), rows)
	for i := range rows {
		rows[i].rule, rows[i].reply = "", ""
	}
	judgeAll(t, anna(func(c *ClientConfig) { c.DisplayNameAddress = Allow }), rows)
}

// longFacts takes the fields of a header without folding, whatever their length.
func longFacts(header string) *HeaderFacts {
	var h HeaderFacts
	h.Begin(syntax.AppendAuthors)
	for line := range strings.Lines(header) {
		name, body, _ := strings.Cut(line, ":")
		h.Field([]byte(name), []byte(body))
	}
	h.End()
	return &h
}

// 256 KiB of each must not take time that grows faster than its length.
func TestHeaderTakesLinearTime(t *testing.T) {
	r, c := one(t, anna(func(c *ClientConfig) {
		c.DisplayNameAddress, c.CheckSender, c.CheckReplyTo, c.CheckResentFrom = Reject, true, true, true
	}))
	for _, pattern := range []string{"@", "a@", "a@b.", "a@b.c ", "=?", "=?utf-8?q?=40?=", "\u202e", "\u200b@", "<https://", "<", ">", "(", "auto-replied "} {
		long := strings.Repeat(pattern, 256*1024/len(pattern))
		for _, header := range []string{
			"From: \"" + long + "\" <anna@example.org>\r\n", "From: anna@example.org (" + long + ")\r\n", "From: anna@example.org\r\nSubject: " + long + "\r\nReferences: x\r\n",
			"From: anna@example.org\r\nList-Unsubscribe: " + long + "\r\n", "From: anna@example.org\r\nAuto-Submitted: " + long + "\r\n", "From: anna@example.org\r\nReply-To: " + long + "\r\n",
			"From: anna@example.org\r\nContent-Type: multipart/report;" + long + "\r\n",
		} {
			start := time.Now()
			r.Header(c, longFacts(header))
			// It takes milliseconds; a square of it would take minutes.
			if d := time.Since(start); d > time.Minute {
				t.Errorf("%.60q takes %v", header, d)
			}
		}
	}
}

func TestStreamThatAsksForAWayOut(t *testing.T) {
	const (
		any   = "message of this stream needs a List-Unsubscribe field with a link"
		click = "message of this stream needs List-Unsubscribe with an https link and List-Unsubscribe-Post (RFC 8058)"
		post  = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
	)
	for _, tt := range []struct {
		name, fields string
		yes, click   bool
	}{
		{name: "none"},
		{name: "empty", fields: "List-Unsubscribe:\r\n"},
		{name: "no link", fields: "List-Unsubscribe: write to us\r\n"},
		{name: "link without brackets", fields: "List-Unsubscribe: https://example.org/u\r\n"},
		{name: "post alone", fields: post},
		{name: "mailto", fields: "List-Unsubscribe: <mailto:off@example.org>\r\n", yes: true},
		{name: "mailto and post", fields: "List-Unsubscribe: <mailto:off@example.org>\r\n" + post, yes: true},
		{name: "http and post", fields: "List-Unsubscribe: <http://example.org/u>\r\n" + post, yes: true},
		{name: "https", fields: "List-Unsubscribe: <https://example.org/u>\r\n", yes: true},
		{name: "https and another post", fields: "List-Unsubscribe: <https://example.org/u>\r\nList-Unsubscribe-Post: yes\r\n", yes: true},
		{name: "https and post", fields: "List-Unsubscribe: <mailto:off@example.org>,\r\n <https://example.org/u>\r\n" + post, yes: true, click: true},
		{name: "post first, in other cases", fields: strings.ToUpper(post) + "LIST-UNSUBSCRIBE: <HTTPS://example.org/u>\r\n", yes: true, click: true},
		{name: "folded within the link", fields: "List-Unsubscribe: <\r\n https://example.org/u>\r\n" + strings.Replace(post, ": ", ":\r\n\t", 1), yes: true, click: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for want, ok := range map[Unsubscribe]bool{"": true, NoUnsubscribe: true, AnyUnsubscribe: tt.yes, OneClick: tt.click} {
				r := good(t, Config{Clients: map[string]ClientConfig{"one": anna(nil)}, Streams: map[string]StreamConfig{"main": {RequireListUnsubscribe: want}}})
				reply := ""
				switch {
				case !ok && want == OneClick:
					reply = "550 5.7.1 " + click
				case !ok:
					reply = "550 5.7.1 " + any
				}
				rule, got, _ := r.Header(r.Clients()[0], facts(t, "From: anna@example.org\r\n"+tt.fields))
				wantReply(t, got, reply)
				if ok != (rule == "") || !ok && rule != "require_list_unsubscribe" {
					t.Errorf("rule %q", rule)
				}
			}
		})
	}
}
