package syntax

import (
	"bytes"
	"cmp"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// checkAddress holds an address that passed to what its type promises.
func checkAddress(t *testing.T, a mail.Address) {
	t.Helper()
	if local := len(mail.QuoteLocal(a.Local)); a.Local == "" || local > leastLocal && max(len(a.Key()), len(a.String())) > maxAddress {
		t.Fatalf("local part of %+v", a)
	}
	if a.Domain == "" || len(a.Domain) > maxDomain || len(a.Written) > maxDomain || a.Written == a.Domain {
		t.Fatalf("domain of %+v", a)
	}
	if !mail.ASCII(a.Domain) || a.Domain[0] != '[' && strings.ToLower(a.Domain) != a.Domain {
		t.Fatalf("domain of %+v is not in lower-case A-labels", a)
	}
	noControls(t, a.String())
	noControls(t, a.Key())
}

func noControls(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		t.Fatalf("controls or broken UTF-8 in %q", s)
	}
}

// roundTrip holds what goes to the upstream to what was judged.
func roundTrip(t *testing.T, a mail.Address, literals bool) {
	t.Helper()
	for _, s := range []string{a.String(), a.Key()} {
		b, err := Mailbox(s, true)
		if err != nil || b.Key() != a.Key() {
			t.Fatalf("%+v goes out as %q and comes back as %+v, %v", a, s, b, err)
		}
	}
	if b, err := Mailbox(a.String(), true); err != nil || b != a {
		t.Fatalf("%+v comes back as %+v, %v", a, b, err)
	}
	b, rest, err := hosts{literals: literals}.forwardPath("<"+a.String()+"> X=y", true)
	if err != nil || b != a || rest != "X=y" {
		t.Fatalf("%+v comes back as %+v, %q, %v", a, b, rest, err)
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"<>", "<a@example.org> SIZE=1", `<"a@b> X=y"@ok.example>`, `<"a\"\\b"@[192.0.2.1]>`, "<a@[IPv6:2001:db8::1]>", "<postmaster>",
		"<jdöe@mächine.example>", "<a@XN--Mchine-bua.example>", "<@a,@b:c@d>", "<a@xn--a-ecp.ru>", "<a@אב.example>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, _, err := (hosts{literals: true}).reversePath(s, true); err == nil && !a.IsNull() {
			checkAddress(t, a)
			roundTrip(t, a, true)
		}
		a, _, err := hosts{literals: true}.reversePath(s, false)
		if err == nil && (a.UTF8() || !mail.ASCII(a.Written)) {
			t.Fatalf("%+v without SMTPUTF8", a)
		}
		r, _, err := hosts{literals: false}.forwardPath(s, false)
		if err == nil && r != mail.Postmaster {
			checkAddress(t, r)
			roundTrip(t, r, false)
		}
	})
}

func FuzzMailCommand(f *testing.F) {
	f.Add("<a@example.org> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<> REQUIRETLS")
	f.Add("<jdöe@example.org> SMTPUTF8")
	f.Fuzz(func(t *testing.T, s string) {
		env, err := MailCommand(s)
		if err != nil {
			return
		}
		if env.From.UTF8() && !env.UTF8 || env.Size < 0 {
			t.Fatalf("%+v", env)
		}
		for _, v := range []string{env.Body, env.Ret, env.EnvID, env.Auth} {
			if v != strings.TrimFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || strings.ContainsAny(v, " =") {
				t.Fatalf("%+v", env)
			}
		}
	})
}

func FuzzRcptCommand(f *testing.F) {
	f.Add("<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@example.org", false)
	f.Add(`<b@example.org> ORCPT=utf-8;jdöe\x{20}@example.org`, true)
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		r, err := RcptCommand(s, utf8, true)
		if err != nil {
			return
		}
		noControls(t, r.Notify)
		noControls(t, r.ORcpt)
		if strings.Contains(r.Notify+r.ORcpt, " ") || !utf8 && !mail.ASCII(r.ORcpt) {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzHelo(f *testing.F) {
	f.Add("relay.example.org")
	f.Add("[IPv6:2001:db8::1]")
	f.Fuzz(func(t *testing.T, s string) {
		if Helo(s) == nil && (!mail.ASCII(s) || strings.ContainsAny(s, " ()<>\r\n\x00\x7f")) {
			t.Fatalf("%q passes", s)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("From : a\r\nSubject: b\r\n c\r\n\r\nbody"))
	f.Add([]byte("From a Mon\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b, 50)
		if err != nil {
			return
		}
		var all []byte
		for _, f := range h {
			noControls(t, string(f.Name()))
			if len(f.Name()) == 0 || !bytes.HasPrefix(f.Raw, f.Name()) || bytes.ContainsAny([]byte(f.Text()), "\r\n") {
				t.Fatalf("field %q %q", f.Name(), f.Raw)
			}
			all = append(all, f.Raw...)
		}
		if !bytes.HasPrefix(b, all) || len(all) < len(b) && !bytes.HasPrefix(b[len(all):], []byte("\r\n")) {
			t.Fatalf("%q is split into %q", b, all)
		}
		if end := HeaderEnd(b, 0); end >= 0 && end != len(all)+2 {
			t.Fatalf("header ends at %d or at %d", end, len(all)+2)
		}
		if want := names(h); want != plainNames(all) {
			t.Fatalf("%q: names %q, want %q", b, want, plainNames(all))
		}
		if again, err := ParseHeader(all, 50); err != nil || len(again) != len(h) {
			t.Fatalf("%q then gives %d fields, %v", all, len(again), err)
		}
	})
}

// plainNames finds the names of fields, joined by commas, line by line.
func plainNames(fields []byte) string {
	var all []string
	for line := range strings.SplitSeq(string(fields), "\r\n") {
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		name, _, _ := strings.Cut(line, ":")
		all = append(all, strings.TrimRight(name, " \t"))
	}
	return strings.Join(all, ",")
}

// usualForms are what nearly every From looks like.
var usualForms = []string{
	"a@example.org", " <news@shop.example.org>\r\n", "Anna Kowalska <anna@example.org>", "Anna K. Kowalska <anna.k@example.org> ",
	`"Kowalska, Anna" <anna@example.org>`, `"" <a@example.org>`, `" "<a@example.org>`, "A <a+b=c@EXAMPLE.org>", "<a@mail>", "A<a@xn--mchine-bua.example>",
	"=?UTF-8?Q?Caf=C3=A9_Nord?= <a@example.org>", "=?utf-8?b?w6Q=?= =?utf-8?q?=C3=BC=40x?= =?x?y?z?= e B <a@example.org>", "=?utf-8?q?=00=FF?= <a@example.org>",
	strings.Repeat("a ", 499) + "<a@example.org>",
}

// FuzzAuthors holds what passes, in the form in which it leaves, to net/mail:
// the same addresses, or no reading at all where it stood so before.
func FuzzAuthors(f *testing.F) {
	for _, s := range []string{
		"Anna <a@example.org>", `"a@evil"@example.org (x \) y)`, "B:a@b.example, c@d.example;", "<@a:b@[192.0.2.1]>", "=?utf-8?q?a=40b?= <a@b.example>",
		"J\xfc <jdöe@mächine.example>", "a . b @ c . d", "a@b.example <a@b.example>", "[x] a, b: c; <a@b.example>", `"x" y (z) <a@b.example>`,
		"a@[IPv6:::ffff:192.0.2.1]", `=?utf-8?q?"?=c@d <c@d>" <a@b>`, "B: (x) a@b.example;, c@d.example", `=?utf-8?q?a=40b?=@c.example`,
		`"=?utf-8?b?YQ==?= =?utf-8?q?_b?=" <a@b.example>`, "=?utf-8?q?a, (b)?=<a@b.example>", "\"?=\" [x] <a@b.example>", `"a\"\\" <a@b.example>`, "Größe [x]\r\n <a@b.example>",
	} {
		f.Add([]byte(s))
	}
	for _, s := range usualForms {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		authors, plain, err := AppendAuthors(nil, b)
		if err != nil {
			if authors != nil || plain {
				t.Fatal("authors beside an error")
			}
			return
		}
		if len(authors) == 0 || len(authors) > MaxAuthors {
			t.Fatalf("%d authors", len(authors))
		}
		for _, a := range authors {
			checkAddress(t, a.Address)
			roundTrip(t, a.Address, true)
			noControls(t, a.Name)
		}
		if !plain {
			fixed(t, authors)
			ownAtSigns(t, b, authors)
			b = appendFrom(nil, authors)[len("From:"):]
		}
		list, err := netmail.ParseAddressList(strings.ReplaceAll(string(b), "\r\n", ""))
		if err != nil {
			if !plain && !slices.ContainsFunc(authors, oddForNetMail) {
				t.Fatalf("net/mail does not read %q: %v", b, err)
			}
			return
		}
		for i, a := range authors {
			if len(list) != len(authors) || list[i].Address != a.Local+"@"+cmp.Or(a.Written, a.Domain) {
				t.Fatalf("%q: %s; net/mail finds %v", b, shown(authors), list)
			}
		}
	})
}

// oddForNetMail: it knows no IPv6 literals, and few quoted local-parts.
func oddForNetMail(a Author) bool {
	return strings.HasPrefix(a.Domain, "[") || mail.QuoteLocal(a.Local) != a.Local
}

// ownAtSigns holds a value that is written anew to its at signs: each belongs to
// an author.
func ownAtSigns(t *testing.T, value []byte, authors []Author) {
	t.Helper()
	rest := string(value)
	for _, a := range authors {
		for _, own := range []string{a.Address.String(), `"` + a.Local + `"@`, `"` + strings.ReplaceAll(strings.ReplaceAll(a.Local, `\`, `\\`), `"`, `\"`) + `"@`} {
			rest = strings.ReplaceAll(rest, own, "")
		}
	}
	if strings.Contains(rest, "@") && !slices.ContainsFunc(authors, oddForNetMail) && !strings.Contains(rest, `\`) {
		t.Fatalf("%q passes for %s", value, shown(authors))
	}
}
