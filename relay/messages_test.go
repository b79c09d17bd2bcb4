package relay

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/internal/syntax"
	"postern/policy"
	"postern/relay/smtpd"

	"github.com/emersion/go-msgauth/dkim"
)

// sample is one message to push through the relay.
type sample struct {
	name, authors, expect string
	date, messageID       bool
	text                  []byte
}

// samples are the messages of package syntax, and large ones made here.
func samples(t testing.TB) (all []sample) {
	t.Helper()
	const dir = "../internal/syntax/testdata/messages"
	index, err := os.ReadFile(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(index)), "\n")[1:] {
		f := strings.Split(line, "\t")
		text, err := os.ReadFile(filepath.Join(dir, f[0]))
		if os.IsNotExist(err) {
			continue // too large to be kept
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{name: f[0], authors: f[7], date: f[8] == "yes", messageID: f[9] == "yes", expect: f[11], text: text})
	}
	own := func(name, body string) {
		text := []byte("From: a@example.org\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\nMessage-ID: <1@example.org>\r\n\r\n" + body)
		all = append(all, sample{name: name, authors: "a@example.org", date: true, messageID: true, expect: "relay", text: text})
	}
	own("line of 64 KiB", strings.Repeat("x", 64<<10)+"\r\n")
	own("lines of dots", strings.Repeat(".\r\n..\r\n...\r\n", 5_000))
	own("attachment", strings.Repeat(base64.StdEncoding.EncodeToString(make([]byte, 57))+"\r\n", 4_000))
	own("empty lines", strings.Repeat("\r\n", 20_000))
	own("every octet but NUL and newlines", everyOctet())
	return all
}

func everyOctet() string {
	var b strings.Builder
	for c := 1; c < 256; c++ {
		if c != '\r' && c != '\n' {
			b.WriteByte(byte(c))
		}
	}
	return strings.Repeat(b.String()+"\r\n", 100)
}

// domains of all authors.
func domains(all []sample) []string {
	seen := map[string]bool{}
	var ds []string
	for _, s := range all {
		for _, a := range strings.FieldsFunc(s.authors, func(r rune) bool { return r == ',' || r == ' ' }) {
			at := strings.LastIndexByte(a, '@')
			d := strings.ToLower(a[at+1:])
			if at >= 0 && !seen[d] {
				seen[d] = true
				ds = append(ds, d)
			}
		}
	}
	return ds
}

// messagesRig lets one client send as anybody whom the samples name, signed.
func messagesRig(t *testing.T, all []sample) *rig {
	r := newRig(t)
	c := r.clients["corporate"]
	c.DuplicateFields = policy.Allow
	c.AutomaticReplies = policy.AutomaticReplies{Mode: policy.AllowReplies}
	for _, d := range domains(all) {
		c.Senders = append(c.Senders, "@"+d)
		if isASCII(d) {
			r.sign(d)
		}
	}
	c.Senders = append(c.Senders, `"first last@evil.example"@example.org`) // of from-quoted-local-part.eml
	r.clients["corporate"] = c
	r.message.MaxLine = 100 << 10
	return r
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(c rune) bool { return c >= 0x80 }) < 0 }

// Whatever a client sends arrives octet for octet, with nothing but trace fields
// and signatures before it, and the signatures verify. A From that is not plain
// is written anew, and a field that is too long is folded.
func TestEveryMessageArrivesAsItCame(t *testing.T) {
	all := samples(t)
	for _, way := range []struct {
		name     string
		chunk    int  // of BDAT; 0: DATA
		upstream bool // takes BDAT
	}{
		{"DATA to DATA", 0, false}, {"DATA to BDAT", 0, true}, {"BDAT whole to DATA", 1 << 30, false},
		{"BDAT of 997 to BDAT", 997, true}, {"BDAT of 61 to DATA", 61, false}, {"BDAT of 3 to BDAT", 3, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			r := messagesRig(t, all)
			r.upConfig.Chunking = way.upstream
			p := r.dial()
			p.say("EHLO mta.example.org", "250")
			arrived := 0
			for _, s := range all {
				if s.expect == "refuse-newline" || way.chunk > 0 && len(s.text)/way.chunk > 1000 {
					continue
				}
				reply := p.mail(s.text, way.chunk)
				if !strings.HasPrefix(reply, "250") {
					if s.expect == "relay" {
						t.Errorf("%s: %s", s.name, reply)
					}
					continue
				}
				arrived++
				m := r.up.Messages()
				r.checkArrived(&s, m[len(m)-1], way.chunk > 0 && way.upstream)
			}
			if want := 40; arrived < want {
				t.Errorf("only %d messages arrived, want %d", arrived, want)
			}
		})
	}
}

// mail sends one message and returns the last reply.
func (p *peer) mail(text []byte, chunk int) string {
	p.say("MAIL FROM:<a@example.org> BODY=8BITMIME SMTPUTF8", "250")
	p.say("RCPT TO:<b@dest.example>", "250")
	if chunk == 0 {
		p.say("DATA", "354")
		p.send(string(smtpDots(text)))
		return p.reply()
	}
	var out bytes.Buffer
	chunks := 0
	for {
		n := min(chunk, len(text))
		last := ""
		if n == len(text) {
			last = " LAST"
		}
		fmt.Fprintf(&out, "BDAT %d%s\r\n%s", n, last, text[:n])
		text, chunks = text[n:], chunks+1
		if last != "" {
			break
		}
	}
	go p.send(out.String())
	reply := ""
	for i := range chunks {
		if reply = p.reply(); reply == "" || reply[0] != '2' {
			for range chunks - i - 1 {
				p.reply()
			}
			break
		}
	}
	return reply
}

// smtpDots is the text as DATA wants it.
func smtpDots(text []byte) []byte {
	out := bytes.ReplaceAll(append([]byte("\r\n"), text...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if !bytes.HasSuffix(out, []byte("\r\n")) && len(out) > 0 {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}

// writtenAnew are the values of From among the samples that leave in another form.
var writtenAnew = map[string]string{
	"Board:anna@example.org, ben@example.org;": "<anna@example.org>,\r\n <ben@example.org>",
	"news@example.org <news@example.org>":      `"news@example.org" <news@example.org>`,
	"[Alert] Monitoring <news@example.org>":    `"[Alert] Monitoring" <news@example.org>`,
	"Example, Inc. <news@example.org>":         `"Example, Inc." <news@example.org>`,
	"Alert: Disk <news@example.org>":           `"Alert: Disk" <news@example.org>`,
}

// checkArrived compares what the upstream got with what was sent; exact: its
// last newline may be missing.
func (r *rig) checkArrived(s *sample, m *smtptest.Message, exact bool) {
	r.t.Helper()
	want := s.text
	for came, leaves := range writtenAnew {
		want = bytes.Replace(want, []byte("From: "+came+"\r\n"), []byte("From: "+leaves+"\r\n"), 1)
	}
	if end := syntax.HeaderEnd(want, 0); end > 0 {
		folded, _ := syntax.FoldLong(want[:end])
		want = append(folded, want[end:]...)
	}
	if !exact && !bytes.HasSuffix(want, []byte("\r\n")) {
		want = append(bytes.Clone(want), "\r\n"...)
	}
	before, ok := bytes.CutSuffix(m.Data, want)
	if !ok {
		r.t.Errorf("%s: arrived changed", s.name)
		return
	}
	var names []string
	for _, line := range strings.Split(strings.TrimSuffix(string(before), "\r\n"), "\r\n") {
		if line[0] != ' ' && line[0] != '\t' {
			names = append(names, line[:strings.IndexByte(line, ':')])
		}
	}
	signatures := 0
	for len(names) > 0 && names[0] == "DKIM-Signature" {
		names, signatures = names[1:], signatures+1
	}
	expect := []string{"Received"}
	if !s.date {
		expect = append(expect, "Date")
	}
	if !s.messageID {
		expect = append(expect, "Message-ID")
	}
	if strings.Join(names, " ") != strings.Join(expect, " ") {
		r.t.Errorf("%s: fields %q were added, want %q", s.name, names, expect)
	}
	r.verify(s.name, m.Data, signatures)
}

// verify lets another implementation check the newest signatures.
func (r *rig) verify(name string, text []byte, signatures int) {
	r.t.Helper()
	records := map[string]string{}
	for _, k := range r.server.snapshot().Signers.Keys() {
		host, txt := k.Record()
		records[host] = txt
	}
	if !bytes.Contains(text, []byte("\r\n\r\n")) { // the verifier asks for a blank line
		text = append(bytes.Clone(text), "\r\n"...)
	}
	all, err := dkim.VerifyWithOptions(bytes.NewReader(text), &dkim.VerifyOptions{LookupTXT: func(host string) ([]string, error) {
		if txt, ok := records[host]; ok {
			return []string{txt}, nil
		}
		return nil, fmt.Errorf("no record %s", host)
	}})
	if err != nil {
		r.t.Errorf("%s: %v", name, err)
		return
	}
	for i := range signatures {
		if all[i].Err != nil {
			r.t.Errorf("%s: signature %d of %s: %v", name, i, all[i].Domain, all[i].Err)
		}
	}
}

// What the index says of refusals holds through the whole session.
func TestMessagesThatAreRefused(t *testing.T) {
	all := samples(t)
	r := messagesRig(t, all)
	c := r.clients["corporate"]
	c.DuplicateFields = policy.Reject
	r.clients["corporate"] = c
	for _, s := range all {
		want := map[string]string{
			"refuse-from": "550 5.7.1", "refuse-duplicate": "550 5.7.1", "refuse-newline": "550 5.5.2",
		}[s.expect]
		if want == "" {
			continue
		}
		p := r.dial()
		p.say("EHLO mta.example.org", "250")
		if reply := p.mail(s.text, 0); !strings.HasPrefix(reply, want) {
			t.Errorf("%s: %q, want %s", s.name, reply, want)
		}
		p.conn.Close()
	}
	if n := r.up.Taken(); n != 0 {
		t.Errorf("%d refused messages are at the upstream", n)
	}
}

// Where newlines are normalized the same messages arrive clean and signed.
func TestBareNewlinesArriveClean(t *testing.T) {
	all := samples(t)
	r := messagesRig(t, all)
	r.message.Newlines = smtpd.NewlinesNormalize
	for _, s := range all {
		if s.expect != "refuse-newline" {
			continue
		}
		p := r.dial()
		p.say("EHLO mta.example.org", "250")
		before := r.up.Taken()
		reply := p.mail(s.text, 0)
		p.conn.Close()
		lone := bytes.ReplaceAll(bytes.ReplaceAll(s.text, []byte("\r\n"), nil), []byte("\n"), nil)
		if bytes.IndexByte(lone, '\r') >= 0 || bytes.IndexByte(s.text, 0) >= 0 {
			if !strings.HasPrefix(reply, "550 5.5.2") || r.up.Taken() != before {
				t.Errorf("%s: %q, want it refused", s.name, reply)
			}
			continue
		}
		if !strings.HasPrefix(reply, "250") {
			t.Errorf("%s: %s", s.name, reply)
			continue
		}
		data := r.up.Messages()[before].Data
		if bytes.ContainsAny(bytes.ReplaceAll(data, []byte("\r\n"), nil), "\r\n") {
			t.Errorf("%s: a bare newline arrived", s.name)
		}
		r.verify(s.name, data, bytes.Count(data[:bytes.Index(data, []byte("Received:"))], []byte("DKIM-Signature:")))
	}
}

// A From that is not plain leaves as we wrote it, under a signature that holds;
// no other octet changes.
func TestFromWrittenAnewIsSignedAsItLeaves(t *testing.T) {
	r := newRig(t)
	r.sign("example.org")
	p := r.dial()
	p.say("EHLO mta.example.org", "250")
	const before, after = "Subject: =?utf-8?q?x?=\r\nto:b@dest.example \r\n", "X-A:  y \r\n\tz\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\nMessage-ID: <1@x>\r\n\r\nFrom: x\r\n \r\n\r\n"
	for i, tt := range []struct{ in, want string }{
		{"From: a@example.org <a@example.org>\r\n", "From: \"a@example.org\" <a@example.org>\r\n"},
		{"FROM:\r\n Example, Inc.\r\n <a@example.org>\r\n", "From: \"Example, Inc.\" <a@example.org>\r\n"},
		{"from:(x) a@EXAMPLE.org\r\n", "From: \"x\" <a@EXAMPLE.org>\r\n"},
		{"From: \"J\\\"\u00f6\" [x] <a@example.org>, b@example.org (y(z))\r\n", "From: =?utf-8?b?SiLDtiBbeF0=?=\r\n <a@example.org>,\r\n \"y(z)\" <b@example.org>\r\n"},
		{"From: " + strings.Repeat("[long, ", 280) + "<a@example.org>\r\n", ""},
	} {
		if reply := p.mail([]byte(before+tt.in+after), 0); !strings.HasPrefix(reply, "250") {
			t.Fatalf("%q: %s", tt.in, reply)
		}
		data := r.up.Messages()[i].Data
		_, rest, ok := bytes.Cut(data, []byte(before))
		from, body, okAfter := bytes.Cut(rest, []byte(after))
		if !ok || !okAfter || len(body) > 0 || tt.want != "" && string(from) != tt.want {
			t.Errorf("%q left as %q", tt.in, data)
		}
		for line := range bytes.Lines(from) {
			if len(line) > 80 {
				t.Errorf("%q left with a line of %d octets", tt.in, len(line))
			}
		}
		r.verify(tt.in, data, 1)
	}
}
