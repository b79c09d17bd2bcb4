package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/mail"
)

func TestCommandGroupsLeaveInOneWrite(t *testing.T) {
	const first, more = "MAIL FROM:<a@a.example>\r\n", "RCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\n"
	dotted := strings.Replace("Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n", "\r\n.", "\r\n..", -1) + ".\r\n"
	const ehlo = "EHLO relay.example\r\n"
	bdat := fmt.Sprintf("BDAT %d LAST\r\n%s", len(plainText), plainText) + ehlo
	probe, rest := "BDAT 1\r\n"+plainText[:1], fmt.Sprintf("BDAT %d LAST\r\n%s", len(plainText)-1, plainText[1:])+ehlo
	for mode, want := range map[string][]string{
		"lock-step": {first, "RCPT TO:<b@b.example>\r\n", "RCPT TO:<c@b.example>\r\n", "DATA\r\n", dotted},
		"pipelined": {first + more, "DATA\r\n", dotted},
		"chunking":  {first + more, bdat},
	} {
		t.Run(mode, func(t *testing.T) {
			s := smtptest.Start(t, smtptest.Options{Offer: modes[mode]})
			p := newTap(t, s.Addr())
			u := newUpstream(t, testConfig(p.addr()))
			first := append([]string{ehlo}, want...)
			if mode == "chunking" {
				first = []string{ehlo, want[0], probe, rest}
			}
			for _, want := range [][]string{first, want} { // on a new and on a kept connection
				if r := deliver(t, u, "b@b.example", "c@b.example"); r.err != nil {
					t.Fatal(r)
				}
				if got := p.segments(); !slices.Equal(got, want) {
					t.Errorf("segments %q, want %q", got, want)
				}
			}
		})
	}
}

func TestBodyEndsInOneWriteWithItsTail(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{Offer: modes["pipelined"]})
	p := newTap(t, s.Addr())
	u := newUpstream(t, testConfig(p.addr()))
	for _, n := range []int{0, 1, 2000, directSize, arenaSize, groupSize - 1, groupSize, groupSize + 1, 3*groupSize + 7} {
		body := []byte(strings.Repeat("x", n))
		r := send(t.Context(), u, Route{}, mail.Envelope{}, Content{Prefix: []byte("A: b\r\n"), Chunks: [][]byte{body}}, recipients("b@b.example")...)
		if r.err != nil {
			t.Fatal(r)
		}
		segs := p.segments()
		if last := segs[len(segs)-1]; len(last) < 8 || !strings.HasSuffix(last, "\r\n.\r\n") {
			t.Errorf("%d octets end in a segment of %d", n, len(last))
		}
	}
}

func TestRSETGoesOutWithTheNextMAIL(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Times: 1, Reply: "550 5.1.1 no"}}})
	p := newTap(t, s.Addr())
	u := newUpstream(t, testConfig(p.addr()))
	deliver(t, u, "b@b.example")
	p.segments()
	if r := deliver(t, u, "c@b.example"); r.codes() != "250 final 250" {
		t.Fatal(r)
	}
	if got, want := p.segments()[0], "RSET\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<c@b.example>\r\n"; got != want {
		t.Errorf("segment %q, want %q", got, want)
	}
	if s.Accepted() != 1 {
		t.Errorf("%d connections", s.Accepted())
	}
}

func TestRecipientsInSeveralCalls(t *testing.T) {
	for mode, offer := range modes {
		t.Run(mode, func(t *testing.T) {
			u, s := start(t, smtptest.Options{Offer: offer, Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "c@b.example", Reply: "550 5.1.1 no"}}}, nil)
			tx := u.Begin(Route{}, &mail.Envelope{From: addr("a@a.example")})
			defer tx.Close()
			var out []mail.Reply
			var err error
			for _, a := range []string{"b@b.example", "c@b.example", "d@b.example"} {
				if out, err = tx.Recipients(t.Context(), recipients(a), out); err != nil {
					t.Fatal(err)
				}
			}
			r, err := tx.Send(t.Context(), Content{Prefix: []byte(plainText)})
			if got := (result{out, r, err}); got.codes() != "250 550 250 final 250" {
				t.Errorf("got %v", got)
			}
			if m := s.Messages()[0]; len(m.To) != 2 || m.To[1].Address != "d@b.example" {
				t.Errorf("to %v", m.To)
			}
			if tx.Host() != s.Addr() || tx.SourceIP().String() != "127.0.0.1" || tx.TLS() != "" {
				t.Errorf("host %q, source %v, TLS %q", tx.Host(), tx.SourceIP(), tx.TLS())
			}
		})
	}
}

func TestManyRecipients(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	var to []string
	for i := range 1000 {
		to = append(to, fmt.Sprintf("r%d@b.example", i))
	}
	r := deliver(t, u, to...)
	if r.err != nil || len(r.to) != 1000 || len(s.Messages()[0].To) != 1000 {
		t.Errorf("%d replies, %v", len(r.to), r.err)
	}
}

func TestReplyKeepsTextAndStatus(t *testing.T) {
	u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{
		{Stage: smtptest.Rcpt, To: "b@b.example", Reply: "550-5.7.26 first\n550-5.7.26  second\n550 5.7.26 third"},
		{Stage: smtptest.Rcpt, To: "c@b.example", Reply: "450 greylisted"},
		{Stage: smtptest.Rcpt, To: "d@b.example", Reply: "550 4.1.1 odd class"},
		{Stage: smtptest.Rcpt, To: "e@b.example", Raw: "550 5.1.1 bell \a and \xe4\r\n"},
		{Stage: smtptest.Dot, Reply: "250 2.6.0 queued as 4711"},
	}}, nil)
	r := deliver(t, u, "b@b.example", "c@b.example", "d@b.example", "e@b.example", "f@b.example")
	want := []mail.Reply{
		{Code: 550, Status: "5.7.26", Text: "first\n second\nthird"},
		{Code: 450, Status: "4.0.0", Text: "greylisted"},
		{Code: 550, Status: "5.0.0", Text: "4.1.1 odd class"},
		{Code: 550, Status: "5.1.1", Text: "bell ? and ?"},
		{Code: 250, Status: "2.1.5", Text: "recipient ok"},
	}
	for i := range r.to {
		r.to[i].Said = nil // evidence_test.go
	}
	if !slices.Equal(r.to, want) {
		t.Errorf("replies %+v, want %+v", r.to, want)
	}
	if want := (mail.Reply{Code: 250, Status: "2.6.0", Text: "queued as 4711"}); r.final != want {
		t.Errorf("final %+v, want %+v", r.final, want)
	}
}

func TestParametersFollowWhatIsOffered(t *testing.T) {
	utf8 := mail.Address{Local: "grün", Domain: "xn--bcher-kva.example", Written: "bücher.example"}
	ulabel := mail.Address{Local: "a", Domain: "xn--bcher-kva.example", Written: "bücher.example"}
	rcpt := mail.Recipient{Address: addr("b@b.example"), Notify: "SUCCESS,FAILURE", ORcpt: "rfc822;b@b.example"}
	simple := recipients("b@b.example")[0]
	eightBit := mail.Envelope{From: addr("a@a.example"), Size: 100, Body: mail.Body8Bit}
	full := mail.Envelope{From: addr("a@a.example"), Size: 100, Body: mail.Body8Bit, Ret: "HDRS", EnvID: "x+2By"}
	eight := []byte("Subject: x\r\n\r\n\xe4\r\n")
	for name, tc := range map[string]struct {
		offer []string
		env   mail.Envelope
		to    mail.Recipient
		body  []byte
		codes string
		mail  string // as the server saw them
		rcpt  string
	}{
		"everything offered": {
			[]string{"SIZE 1000", "8BITMIME", "DSN"}, full, rcpt, eight, "250 final 250",
			"MAIL FROM:<a@a.example> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By", "RCPT TO:<b@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@b.example",
		},
		"DSN no longer offered, of the message": {[]string{}, full, simple, eight, "451", "", ""},
		"DSN no longer offered, NOTIFY":         {[]string{}, eightBit, mail.Recipient{Address: addr("b@b.example"), Notify: "NEVER"}, eight, "451", "MAIL FROM:<a@a.example>", ""},
		"DSN no longer offered, ORCPT":          {[]string{}, eightBit, mail.Recipient{Address: addr("b@b.example"), ORcpt: "rfc822;b@b.example"}, eight, "451", "MAIL FROM:<a@a.example>", ""},
		"nothing offered, 7-bit content":        {[]string{}, eightBit, simple, []byte(plainText), "250 final 250", "MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>"},
		"nothing offered, 8-bit content":        {[]string{}, eightBit, simple, eight, "250 final 554", "MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>"},
		"8-bit content that is not declared passes": {
			[]string{}, mail.Envelope{From: addr("a@a.example")}, recipients("b@b.example")[0], eight, "250 final 250",
			"MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>",
		},
		"BINARYMIME not offered": {[]string{"CHUNKING", "8BITMIME"}, mail.Envelope{Body: mail.BodyBinary}, simple, eight, "554", "", ""},
		"BINARYMIME without CHUNKING": {
			[]string{"BINARYMIME", "8BITMIME"}, mail.Envelope{Body: mail.BodyBinary}, simple, eight, "554", "", "",
		},
		"BINARYMIME offered": {
			[]string{"CHUNKING", "8BITMIME", "BINARYMIME"}, mail.Envelope{Body: mail.BodyBinary}, recipients("b@b.example")[0], eight, "250 final 250",
			"MAIL FROM:<> BODY=BINARYMIME", "RCPT TO:<b@b.example>",
		},
		"SIZE declared too large":              {[]string{"SIZE 99"}, eightBit, simple, eight, "552", "", ""},
		"SIZE found too large":                 {[]string{"SIZE 10"}, mail.Envelope{}, simple, eight, "250 final 552", "MAIL FROM:<>", "RCPT TO:<b@b.example>"},
		"SIZE without a number":                {[]string{"SIZE"}, eightBit, simple, []byte(plainText), "250 final 250", "MAIL FROM:<a@a.example> SIZE=100", "RCPT TO:<b@b.example>"},
		"REQUIRETLS without TLS":               {[]string{"REQUIRETLS"}, mail.Envelope{RequireTLS: true}, simple, eight, "550", "", ""},
		"SMTPUTF8 offered":                     {[]string{"SMTPUTF8"}, mail.Envelope{From: utf8, UTF8: true}, mail.Recipient{Address: utf8}, eight, "250 final 250", "MAIL FROM:<grün@bücher.example> SMTPUTF8", "RCPT TO:<grün@bücher.example>"},
		"SMTPUTF8 not offered for a sender":    {[]string{}, mail.Envelope{From: utf8, UTF8: true}, simple, eight, "550", "", ""},
		"SMTPUTF8 not offered for a recipient": {[]string{}, mail.Envelope{UTF8: true}, mail.Recipient{Address: utf8}, eight, "553", "MAIL FROM:<>", ""},
		"SMTPUTF8 not offered, domains have A-labels": {
			[]string{}, mail.Envelope{From: ulabel, UTF8: true}, mail.Recipient{Address: ulabel}, []byte(plainText), "250 final 250",
			"MAIL FROM:<a@xn--bcher-kva.example>", "RCPT TO:<a@xn--bcher-kva.example>",
		},
		"SMTPUTF8 not offered, header needs it": {
			[]string{}, mail.Envelope{UTF8: true}, recipients("b@b.example")[0], []byte("From: gr\xc3\xbcn\r\n\r\n"), "250 final 550", "MAIL FROM:<>", "RCPT TO:<b@b.example>",
		},
		"SMTPUTF8 not offered, only the body is 8-bit": {
			[]string{"8BITMIME"}, mail.Envelope{UTF8: true, Body: mail.Body8Bit}, recipients("b@b.example")[0], eight, "250 final 250", "MAIL FROM:<> BODY=8BITMIME", "RCPT TO:<b@b.example>",
		},
		"postmaster and quoted local parts": {
			[]string{}, mail.Envelope{From: addr(`a"b c@a.example`)}, mail.Recipient{Address: mail.Postmaster}, eight, "250 final 250",
			`MAIL FROM:<"a\"b c"@a.example>`, "RCPT TO:<postmaster>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u, s := start(t, smtptest.Options{Offer: tc.offer}, nil)
			// In three pieces, the cut in the middle of the header's end.
			cut := strings.Index(string(tc.body), "\r\n\r\n") + 3
			r := send(t.Context(), u, Route{}, tc.env, Content{Prefix: tc.body[:cut-1], Chunks: [][]byte{tc.body[cut-1 : cut], tc.body[cut:]}}, tc.to)
			if r.err != nil || r.codes() != tc.codes {
				t.Errorf("got %v, want %s", r, tc.codes)
			}
			var gotMail, gotRcpt string
			for _, c := range s.Commands() {
				if strings.HasPrefix(c, "1 MAIL") {
					gotMail = c[2:]
				}
				if strings.HasPrefix(c, "1 RCPT") {
					gotRcpt = c[2:]
				}
			}
			if gotMail != tc.mail || gotRcpt != tc.rcpt {
				t.Errorf("server saw %q and %q, want %q and %q", gotMail, gotRcpt, tc.mail, tc.rcpt)
			}
			if r.final.Code == 250 && string(s.Messages()[0].Data) != string(tc.body) {
				t.Errorf("data %q", s.Messages()[0].Data)
			}
		})
	}
}

func TestNoCommandCanBeInjected(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	for name, tc := range map[string]struct {
		env mail.Envelope
		to  mail.Recipient
	}{
		"sender":    {mail.Envelope{From: addr("a\r\nRCPT TO:<x@x.example>\r\n@a.example")}, recipients("b@b.example")[0]},
		"recipient": {mail.Envelope{}, recipients("b\n@b.example")[0]},
		"parameter": {mail.Envelope{EnvID: "x\r\nDATA"}, recipients("b@b.example")[0]},
		"ORCPT":     {mail.Envelope{}, mail.Recipient{Address: addr("b@b.example"), ORcpt: "rfc822;\x00"}},
	} {
		if r := send(t.Context(), u, Route{}, tc.env, Content{}, tc.to); r.err == nil {
			t.Errorf("%s: got %v", name, r)
		}
	}
	if r := send(t.Context(), u, Route{EHLO: "x\r\nQUIT"}, mail.Envelope{}, Content{}, recipients("b@b.example")...); r.err == nil {
		t.Errorf("EHLO: got %v", r)
	}
	for _, c := range s.Commands() {
		if !strings.Contains(c, "EHLO relay.example") {
			t.Errorf("server saw %q", c)
		}
	}
}

func TestParkGivesTheConnectionBack(t *testing.T) {
	for mode, offer := range modes {
		t.Run(mode, func(t *testing.T) {
			u, s := start(t, smtptest.Options{Offer: offer, Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "c@b.example", Reply: "550 5.1.1 no"}}},
				func(c *Config) { c.MaxConnections = 1 })
			slow := u.Begin(Route{}, &mail.Envelope{From: addr("slow@a.example")})
			defer slow.Close()
			out, err := slow.Recipients(t.Context(), recipients("b@b.example", "c@b.example"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := slow.Park(); err != nil {
				t.Fatal(err)
			}
			if r := deliver(t, u, "d@b.example"); r.codes() != "250 final 250" {
				t.Fatalf("while parked: %v", r)
			}
			// One more recipient, then the data: the envelope is repeated in front.
			if out, err = slow.Recipients(t.Context(), recipients("e@b.example"), out); err != nil {
				t.Fatal(err)
			}
			slow.Park()
			slow.Park()
			r, err := slow.Send(t.Context(), Content{Prefix: []byte(plainText)})
			if got := (result{out, r, err}); got.codes() != "250 550 250 final 250" {
				t.Errorf("got %v", got)
			}
			ms := s.Messages()
			if len(ms) != 2 || ms[1].From.Address != "slow@a.example" || len(ms[1].To) != 2 || ms[1].To[1].Address != "e@b.example" {
				t.Errorf("messages %+v", ms)
			}
			if s.Accepted() != 1 {
				t.Errorf("%d connections", s.Accepted())
			}
		})
	}
}

func TestParkSendsRSETAtOnce(t *testing.T) {
	gate := smtptest.NewGate()
	u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Reset, Gate: gate}}}, nil)
	tx := u.Begin(Route{}, &mail.Envelope{From: addr("a@a.example")})
	defer tx.Close()
	if _, err := tx.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
		t.Fatal(err)
	}
	tx.Park() // waits for no reply
	<-gate.Reached()
	gate.Release()
	if r, err := tx.Send(t.Context(), Content{Prefix: []byte(plainText)}); err != nil || r.Code != 250 || s.Accepted() != 1 {
		t.Errorf("got %v, %v on %d connections", r, err, s.Accepted())
	}
}

func TestChangedVerdictSendsNothing(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"MAIL":     {Stage: smtptest.Mail, After: 1, Reply: "450 4.7.1 later"},
		"RCPT":     {Stage: smtptest.Rcpt, To: "c@b.example", After: 1, Reply: "450 4.2.1 later"},
		"MAIL 421": {Stage: smtptest.Mail, After: 1, Reply: "421 4.7.1 later"},
	} {
		t.Run(name, func(t *testing.T) {
			u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{f}}, nil)
			tx := u.Begin(Route{}, &mail.Envelope{})
			defer tx.Close()
			if _, err := tx.Recipients(t.Context(), recipients("b@b.example", "c@b.example"), nil); err != nil {
				t.Fatal(err)
			}
			tx.Park()
			for range 2 {
				if r, err := tx.Send(t.Context(), Content{Prefix: []byte(plainText)}); !errors.Is(err, ErrVerdictChanged) {
					t.Errorf("got %v, %v", r, err)
				}
			}
			if s.Taken() != 0 {
				t.Errorf("server took %d", s.Taken())
			}
		})
	}
}

func TestParkedTransactionSurvivesItsConnection(t *testing.T) {
	u, s := start(t, smtptest.Options{}, nil)
	tx := u.Begin(Route{}, &mail.Envelope{})
	defer tx.Close()
	if _, err := tx.Recipients(t.Context(), recipients("b@b.example"), nil); err != nil {
		t.Fatal(err)
	}
	tx.Park()
	s.DropAll()
	s.WaitOpen(t.Context(), 0)
	if r, err := tx.Send(t.Context(), Content{Prefix: []byte(plainText)}); err != nil || r.Code != 250 {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestFaultEndsTheTransaction(t *testing.T) {
	u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Times: 1, Drop: smtptest.DropBefore}}}, nil)
	tx := u.Begin(Route{}, &mail.Envelope{})
	_, first := tx.Recipients(t.Context(), recipients("b@b.example"), nil)
	_, again := tx.Recipients(t.Context(), recipients("b@b.example"), nil)
	_, last := tx.Send(t.Context(), Content{})
	if first == nil || again != first || last != first || tx.Park() != first {
		t.Errorf("errors %v, %v, %v", first, again, last)
	}
	tx.Close()
	tx.Close()
	if _, err := tx.Send(t.Context(), Content{}); err == nil || s.Taken() != 0 {
		t.Error("sent after Close")
	}
}

func TestSendWithoutRecipientsIsAFault(t *testing.T) {
	u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Reply: "550 5.1.1 no"}}}, nil)
	tx := u.Begin(Route{}, &mail.Envelope{})
	defer tx.Close()
	tx.Recipients(t.Context(), recipients("b@b.example"), nil)
	if r, err := tx.Send(t.Context(), Content{}); err == nil {
		t.Errorf("got %v", r)
	}
}

func TestShortFileIsAFaultAndNotAMail(t *testing.T) {
	for mode, offer := range modes {
		t.Run(mode, func(t *testing.T) {
			u, s := start(t, smtptest.Options{Offer: offer}, nil)
			f, err := os.Create(filepath.Join(t.TempDir(), "body"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.WriteString(plainText)
			r := send(t.Context(), u, Route{}, mail.Envelope{}, Content{Prefix: []byte("A: b\r\n"), File: f, FileSize: 1000}, recipients("b@b.example")...)
			if r.err == nil || errors.Is(r.err, ErrUnknownOutcome) {
				t.Errorf("got %v", r)
			}
			r = send(t.Context(), u, Route{}, mail.Envelope{}, Content{Prefix: []byte("A: b\r\n"), Size: 5}, recipients("b@b.example")...)
			if r.err == nil {
				t.Errorf("wrong Size: got %v", r)
			}
			s.WaitOpen(context.WithoutCancel(t.Context()), 1)
			if s.Taken() != 0 {
				t.Errorf("server took %d", s.Taken())
			}
		})
	}
}
