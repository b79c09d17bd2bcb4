package syntax

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/mail"
)

func TestLenientMailTakesWhatDevicesSend(t *testing.T) {
	for in, want := range map[string]string{
		"news@example.org":                          "news@example.org",
		" news@example.org ":                        "news@example.org",
		"\tnews@example.org\tSIZE=5":                "news@example.org",
		"<news@example.org >":                       "news@example.org",
		"< news@example.org\t> BODY=8BITMIME":       "news@example.org",
		"<news @ example.org>":                      "news@example.org",
		"< >":                                       "",
		"<user.@docomo.example>":                    `"user."@docomo.example`,
		"<.user@docomo.example>":                    `".user"@docomo.example`,
		"a..b@docomo.example":                       `"a..b"@docomo.example`,
		"<root@web_01.example.org>":                 "root@web_01.example.org",
		"root@_x.Example.ORG":                       "root@_x.Example.ORG",
		`"a b"@example.org SIZE=5`:                  `"a b"@example.org`,
		`< "a> b"@example.org >`:                    `"a> b"@example.org`,
		"<a@example.org> AUTH=":                     "a@example.org",
		"<a@example.org> AUTH":                      "a@example.org",
		"<a@example.org> AUTH=a+b@x SIZE=5":         "a@example.org",
		"<a@example.org> ENVID=a+3db":               "a@example.org",
		"<a@[192.0.2.1] >":                          "a@[192.0.2.1]",
		"<jörg.@example.org> SMTPUTF8":              `"jörg."@example.org`,
		"<\"Anna\"@example.org >":                   "Anna@example.org",
		"<a@example.org> ENVID=q AUTH=<> AUTH=x+1 ": "a@example.org",
	} {
		env, err := LenientMail(in)
		if err != nil || env.From.String() != want || env.Auth != "" && env.Auth != "<>" {
			t.Errorf("%q: %q %+v, %v; want %q", in, env.From.String(), env, err, want)
		}
	}
}

func TestLenientMailRefusesWhatIsNotOneAddress(t *testing.T) {
	for _, in := range []string{
		"", " ", "SIZE=5", "a", "a b@x.example", "<a b@x.example>", "a@x.example <b@y.example>", "<b@y.example> a@x.example", "a@x.example<b@y.example>",
		"<a@x.example>,<b@y.example>", "a@x.example,b@y.example", "a@x.example b@y.example", "<<a@x.example>>", "<a@x.example", "a@x.example>", "<a@x.example>SIZE=5",
		"News <a@x.example>", `"News" <a@x.example>`, "<News <a@x.example>>", "a@b@x.example", "<@r.example:a@x.example>", "@r.example:a@x.example", "(c)a@x.example",
		`"a@x.example`, `<"a"b@x.example>`, "<a@x .example>", "<a@x.exa mple>", "<a. b@x.example>", "a@-x.example", "a@x..example", "a@x.example.", "<a@x.example> SIZE=",
		"<a@x.example> BODY=", "<a@x.example> FOO=bar", "<a@x.example> ORCPT=x", "<a@x.example> SIZE=5 SIZE=6", "<a\x00@x.example>", "<a\x01.@x.example>", "<a.@x\x7f.example>",
		"<jörg.@example.org>", "<\xff.@example.org> SMTPUTF8", "<a@192.0.2.1>", "<a@[192.0.2.1>", "<a@[fe80::1%eth0] >", "<postmaster>", "<a@ü_x.example> SMTPUTF8",
	} {
		if env, err := LenientMail(in); err == nil {
			t.Errorf("%q is %+v", in, env)
		}
	}
}

func TestLenientRcpt(t *testing.T) {
	for in, want := range map[string]string{
		"reader@example.net":                        "reader@example.net",
		"<reader@example.net >":                     "reader@example.net",
		"postmaster":                                "postmaster",
		"<user.@docomo.example>":                    `"user."@docomo.example`,
		"<a@db_1.example.net> ORCPT=rfc822;a+b@x.y": "a@db_1.example.net",
		"<a@x.example> ORCPT=junk NOTIFY=never":     "a@x.example",
	} {
		r, err := LenientRcpt(in, false, false)
		if err != nil || r.Address.String() != want || r.ORcpt != "" {
			t.Errorf("%q: %+v, %v; want %q", in, r, err, want)
		}
	}
	for _, in := range []string{"", "<>", "< >", "<a@[192.0.2.1] >", "<a@x.example> AUTH=", "<a@x.example> NOTIFY=", "a@x.example, b@x.example"} {
		if r, err := LenientRcpt(in, false, false); err == nil {
			t.Errorf("%q is %+v", in, r)
		}
	}
}

func TestUnderscoresAreForLenientClientsAlone(t *testing.T) {
	const in = "<root@web_01.example.org>"
	if _, err := MailCommand(in); !errors.Is(err, errDomain) {
		t.Errorf("MailCommand: %v", err)
	}
	if _, err := RcptCommand(in, false, true); !errors.Is(err, errDomain) {
		t.Errorf("RcptCommand: %v", err)
	}
	if _, _, err := AppendAuthors(nil, []byte(in)); !errors.Is(err, errDomain) {
		t.Errorf("Authors: %v", err)
	}
	if a, err := LenientMailbox("root@Web_01.example.org", false); err != nil || a.Domain != "web_01.example.org" || a.Written != "Web_01.example.org" {
		t.Errorf("LenientMailbox: %+v, %v", a, err)
	}
	if d, err := LenientDomain("_x.EXAMPLE"); err != nil || d != "_x.example" {
		t.Errorf("LenientDomain: %q, %v", d, err)
	}
	authors, plain, err := LenientAuthors(nil, []byte(" Web <root@web_01.example.org>\r\n"))
	if err != nil || !plain || len(authors) != 1 || authors[0].Domain != "web_01.example.org" {
		t.Errorf("LenientAuthors: %+v, %v, %v", authors, plain, err)
	}
}

func TestLenientHelo(t *testing.T) {
	for in, want := range map[string]string{
		"cam": "cam", "M\u00dcLLER-PC": "M??LLER-PC", "my pc": "my?pc", " my pc ": "my?pc", `DOM\HOST`: "DOM?HOST", "a\x01\x7f": "a??", "\u00dc": "??", "a(b)@c": "a?b??c",
		"[10.0.0.5": "?10.0.0.5", "[10.0.0.5]": "[10.0.0.5]", "[x]": "?x?", `";<>,`: "?????", "-": "-", "?": "?", strings.Repeat("x", 300): strings.Repeat("x", 255),
	} {
		if got, err := LenientHelo(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", " ", "\t"} {
		if got, err := LenientHelo(in); err == nil {
			t.Errorf("%q is %q", in, got)
		}
	}
}

// strictly returns an address in whose domain letters stand for underscores.
func strictly(a mail.Address) mail.Address {
	a.Domain, a.Written = strings.ReplaceAll(a.Domain, "_", "u"), strings.ReplaceAll(a.Written, "_", "u")
	return a
}

// FuzzLenient: what is strict stays what it is; else the address that is judged is
// the one in the text, and goes out in a form that the strict parser reads as the
// same address.
func FuzzLenient(f *testing.F) {
	for _, s := range []string{
		"a@x.example", " < a @ x.example > SIZE=1", "<a..b@x_y.example>", `"a b"@x.example AUTH=`, "a@x.example <b@y.example>", "<> ENVID=+", "postmaster ORCPT=x",
		"<a@x.example>,<b@y.example>", "<a@[IPv6:::1] >", "<jörg.@x.example> SMTPUTF8", `<"a\"@b"@x.example >`, "@r:a@x", "a@b@c", "<a@x.example> AUTH=a+b AUTH=c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		strict, strictErr := MailCommand(in)
		env, err := LenientMail(in)
		if strictErr == nil && (err != nil || !reflect.DeepEqual(env, strict)) {
			t.Fatalf("%q: strictly %+v, leniently %+v, %v", in, strict, env, err)
		}
		if err == nil && strictErr != nil {
			sameAddress(t, in, env.From)
			if !env.From.IsNull() && env.From.UTF8() && !env.UTF8 {
				t.Fatalf("%q: %+v without SMTPUTF8", in, env)
			}
		}
		to, strictErr := RcptCommand(in, false, false)
		r, err := LenientRcpt(in, false, false)
		if strictErr == nil && (err != nil || r != to) {
			t.Fatalf("%q: strictly %+v, leniently %+v, %v", in, to, r, err)
		}
		if err == nil && strictErr != nil {
			sameAddress(t, in, r.Address)
			if r.Address.IsNull() || strings.HasPrefix(r.Domain, "[") || !mail.ASCII(r.String()) {
				t.Fatalf("%q: %+v", in, r)
			}
		}
	})
}

// sameAddress holds what was read leniently to the text: of its path nothing is
// left but brackets, blanks, quotes and escapes once the address is taken out, and
// the strict parser reads what goes out as the same address.
func sameAddress(t *testing.T, in string, a mail.Address) {
	t.Helper()
	if a.IsNull() || a == mail.Postmaster {
		return
	}
	s := strictly(a)
	if back, _, err := (hosts{literals: true}).forwardPath("<"+s.String()+">", true); err != nil || back.Key() != s.Key() {
		t.Fatalf("%q goes out as %q, which is %+v, %v", in, a.String(), back, err)
	}
	checkAddress(t, a)
	plain := strings.NewReplacer(" ", "", "\t", "", `"`, "", `\`, "").Replace
	domain := a.Domain
	if a.Written != "" {
		domain = a.Written
	}
	path := strings.TrimLeft(plain(in), "<")
	rest, ok := strings.CutPrefix(path, plain(a.Local)+"@"+domain)
	if !ok || rest != "" && rest[0] != '>' && strings.ContainsAny(strings.TrimLeft(in, blanks)[:1], "<") {
		t.Fatalf("%q is read as %+v", in, a)
	}
	// One at sign of the path's own: all others are within quotes or in parameters.
	if params := strings.Count(rest, "@"); params > 0 && !strings.ContainsAny(rest, "=") {
		t.Fatalf("%q is read as %+v", in, a)
	}
}

func FuzzLenientHelo(f *testing.F) {
	for _, s := range []string{"cam", "M\u00dcLLER-PC", "my pc", `D\H`, "[x", "\r\n\x00", strings.Repeat("\xff", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := LenientHelo(in)
		if Helo(in) == nil && name != in {
			t.Fatalf("%q becomes %q", in, name)
		}
		if err != nil {
			if strings.Trim(in, blanks) != "" {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		// Helo also asks for a letter or digit.
		if err := Helo(name + "x"); err != nil && Helo(name) != nil && len(name) < maxDomain || len(name) > maxDomain {
			t.Fatalf("%q becomes %q: %v", in, name, err)
		}
	})
}

// headed cuts a message as a lenient client's is cut, fed in pieces.
func headed(in []byte, piece int) (header, body []byte) {
	var lines HeaderLines
	for at := 0; at < len(in); {
		n := min(len(in)-at, max(1, piece))
		if end, blank, ok := lines.Next(in[at : at+n]); ok && blank {
			return in[:end], in[end:]
		} else if ok {
			return append(slices.Clone(in[:end]), "\r\n"...), in[end:]
		}
		at += n
	}
	if end, ok := lines.End(); ok {
		return append(slices.Clone(in[:end]), "\r\n"...), in[end:]
	}
	return in, nil
}

func TestHeaderEndsAtTheFirstLineThatIsNotAField(t *testing.T) {
	for _, tt := range []struct{ name, in, header, body string }{
		{"a blank line", "A: b\r\n\r\nx: y\r\n", "A: b\r\n\r\n", "x: y\r\n"},
		{"text without a blank line", "A: b\r\nUPS on battery\r\nC: d\r\n", "A: b\r\n\r\n", "UPS on battery\r\nC: d\r\n"},
		{"text alone", "UPS on battery\r\n", "\r\n", "UPS on battery\r\n"},
		{"a blank line alone", "\r\nx", "\r\n", "x"},
		{"nothing", "", "", ""},
		{"fields alone", "A: b\r\n c\r\n", "A: b\r\n c\r\n", ""},
		{"a first line that is folded", " A: b\r\n", "\r\n", " A: b\r\n"},
		{"a folded line", "A: b\r\n c d\r\n\tx y\r\ne f\r\n", "A: b\r\n c d\r\n\tx y\r\n\r\n", "e f\r\n"},
		{"a blank before the colon", "A: b\r\nFrom : x\r\nB: c\r\n", "A: b\r\n\r\n", "From : x\r\nB: c\r\n"},
		{"no name", ": b\r\n", "\r\n", ": b\r\n"},
		{"octets beyond ASCII in a name", "A: b\r\nGr\xc3\xbc\xc3\x9fe: c\r\n", "A: b\r\n\r\n", "Gr\xc3\xbc\xc3\x9fe: c\r\n"},
		{"a word at the end", "A: b\r\nhello", "A: b\r\n\r\n", "hello"},
		{"a word and its line end", "A: b\r\nhello\r\n", "A: b\r\n\r\n", "hello\r\n"},
		{"the line of a mailbox file", "From a@b Mon\r\nFrom: x\r\n", "\r\n", "From a@b Mon\r\nFrom: x\r\n"},
	} {
		for _, piece := range []int{1, 2, 3, 7, 1000} {
			if header, body := headed([]byte(tt.in), piece); string(header) != tt.header || string(body) != tt.body {
				t.Errorf("%s, in pieces of %d: %q and %q", tt.name, piece, header, body)
			}
		}
	}
}

func TestHeaderGetsAnAuthor(t *testing.T) {
	own := mail.Address{Local: "root", Domain: "example.org"}
	for in, want := range map[string]string{
		"":                                   "From: <root@example.org>\r\n",
		"Subject: x\r\n":                     "From: <root@example.org>\r\nSubject: x\r\n",
		"A: b\r\nfrom:\r\n \t\r\nC: d\r\n":   "From: <root@example.org>\r\nA: b\r\nC: d\r\n",
		"From: root (Cron Daemon)\r\n":       "From: \"root (Cron Daemon)\" <root@example.org>\r\n",
		"From: ro\"ot\r\n":                   "From: =?utf-8?b?cm8ib3Q=?=\r\n <root@example.org>\r\n",
		"From: Ger\xe4t\r\n":                 "From: <root@example.org>\r\n",
		"From: a,\r\n\tb: c;\r\nTo: x@y\r\n": "From: \"a, b: c;\" <root@example.org>\r\nTo: x@y\r\n",
		"From: " + strings.Repeat("x", 201) + "\r\n": "From: <root@example.org>\r\n",
	} {
		h, err := ParseHeader([]byte(in), 10)
		if err != nil || h.HasAuthor() {
			t.Errorf("%q has an author, or %v", in, err)
		}
		got := string(h.AppendAuthor(nil, own))
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		back, err := ParseHeader([]byte(got), 10)
		from, _ := back.Get("From")
		if authors, plain, readErr := AppendAuthors(nil, from.Body()); err != nil || readErr != nil || !plain || len(authors) != 1 || authors[0].Address != own {
			t.Errorf("%q is read as %+v, %v, %v", got, authors, err, readErr)
		}
	}
	for _, in := range []string{"From: a@b.example\r\n", "From:\r\nFrom:\r\n", "From: =?utf-8?q?x?=\r\n", "From: <>\r\n", "From: a\uff20b\r\n", "From: root@\r\n"} {
		if h, err := ParseHeader([]byte(in), 10); err != nil || !h.HasAuthor() {
			t.Errorf("%q has no author, %v", in, err)
		}
	}
}

// FuzzHeaderLines: no octet is lost; what is found is a header for the strict
// parser unless it holds controls or is too long; and where the strict parser reads
// the message as it stands, it ends where that ends it.
func FuzzHeaderLines(f *testing.F) {
	for _, s := range []string{"A: b\r\n\r\nx", "A: b\r\nhello world\r\n", "A : b\r\n", " x\r\n", "A: b\r\n \r\nc", "hello", "A: b\r\n\r\n\r\n", "\r\n"} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		if _, ok := cleanLines(in); !ok {
			return
		}
		header, body := headed(in, int(piece))
		if !bytes.Equal(append(slices.Clone(header), body...), in) {
			whole := append(slices.Clone(bytes.TrimSuffix(header, crlf)), body...)
			if !bytes.Equal(whole, in) {
				t.Fatalf("%q becomes %q and %q", in, header, body)
			}
		}
		fields, err := ParseHeader(header, 1<<20)
		if errors.Is(err, errNotField) || errors.Is(err, errNewline) {
			t.Fatalf("%q: header %q: %v", in, header, err)
		}
		want, strictErr := ParseHeader(in, 1<<20)
		if strictErr == nil && err == nil && (len(want) != len(fields) || want.Size() != fields.Size()) {
			t.Fatalf("%q: header %q, strictly of %d fields", in, header, len(want))
		}
	})
}

var crlf = []byte("\r\n")
