package syntax

import (
	"errors"
	"strings"
	"testing"

	"postern/mail"
)

var (
	local242  = strings.Repeat("l", 242)
	label63   = strings.Repeat("d", 63)
	domain255 = label63 + "." + label63 + "." + label63 + "." + label63
)

func TestReversePath(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		utf8     bool
		want     mail.Address
		rest     string
		err      error
	}{
		{name: "plain address", in: "<a@example.org>", want: mail.Address{Local: "a", Domain: "example.org"}},
		{name: "null path", in: "<>"},
		{name: "null path with parameters", in: "<> BODY=8BITMIME", rest: "BODY=8BITMIME"},
		{name: "space before the path", in: " <a@example.org>  SIZE=1 ", want: mail.Address{Local: "a", Domain: "example.org"}, rest: "SIZE=1"},
		{name: "case of the domain is kept aside", in: "<News@Example.ORG>", want: mail.Address{Local: "News", Domain: "example.org", Written: "Example.ORG"}},
		{name: "percent hack is a local part", in: "<a%b.example@example.org>", want: mail.Address{Local: "a%b.example", Domain: "example.org"}},
		{name: "bang path is a local part", in: "<b!a@example.org>", want: mail.Address{Local: "b!a", Domain: "example.org"}},
		{name: "every atom character", in: "<!#$%&'*+-/=?^_`{|}~@example.org>", want: mail.Address{Local: "!#$%&'*+-/=?^_`{|}~", Domain: "example.org"}},
		{name: "quoted local part loses its quotes", in: `<"a@b> X=y"@ok.example>`, want: mail.Address{Local: "a@b> X=y", Domain: "ok.example"}},
		{name: "escapes are taken out", in: `<"a\"\\b"@ok.example>`, want: mail.Address{Local: `a"\b`, Domain: "ok.example"}},
		{name: "quotes without need", in: `<"a.b"@ok.example>`, want: mail.Address{Local: "a.b", Domain: "ok.example"}},
		{name: "single label", in: "<root@localhost>", want: mail.Address{Local: "root", Domain: "localhost"}},
		{name: "double hyphen", in: "<a@r3---sn.example>", want: mail.Address{Local: "a", Domain: "r3---sn.example"}},
		{name: "IPv4 literal", in: "<a@[192.0.2.1]>", want: mail.Address{Local: "a", Domain: "[192.0.2.1]"}},
		{name: "IPv6 literal in its one form", in: "<a@[ipv6:2001:DB8:0::1]>", want: mail.Address{Local: "a", Domain: "[IPv6:2001:db8::1]", Written: "[ipv6:2001:DB8:0::1]"}},
		{name: "IPv4 mapped into an IPv6 literal is IPv4", in: "<a@[IPv6:::ffff:192.0.2.1]>", want: mail.Address{Local: "a", Domain: "[192.0.2.1]", Written: "[IPv6:::ffff:192.0.2.1]"}},
		{name: "local part of 242 octets, which fills the path", in: "<" + local242 + "@example.org>", want: mail.Address{Local: local242, Domain: "example.org"}},
		{name: "longest domain", in: "<a@" + domain255 + ">", want: mail.Address{Local: "a", Domain: domain255}},
		{name: "A-label", in: "<a@XN--Mchine-bua.example>", want: mail.Address{Local: "a", Domain: "xn--mchine-bua.example", Written: "XN--Mchine-bua.example"}},
		{name: "U-label", in: "<jdöe@Mächine.example>", utf8: true, want: mail.Address{Local: "jdöe", Domain: "xn--mchine-bua.example", Written: "Mächine.example"}},
		{name: "U-label in upper case", in: "<a@MÄCHINE.example>", utf8: true, want: mail.Address{Local: "a", Domain: "xn--mchine-bua.example", Written: "MÄCHINE.example"}},

		{name: "no brackets", in: "a@example.org", err: errSyntax},
		{name: "nothing", in: "", err: errSyntax},
		{name: "one bracket", in: "<a@example.org", err: errSyntax},
		{name: "text before the bracket", in: "x <a@example.org>", err: errSyntax},
		{name: "text after the bracket", in: "<a@example.org>x", err: errSyntax},
		{name: "tab after the bracket", in: "<a@example.org>\tSIZE=1", err: errSyntax},
		{name: "second bracket", in: "<<a@example.org>>", err: errSyntax},
		{name: "space in brackets", in: "< a@example.org>", err: errSyntax},
		{name: "null path with a space", in: "< >", err: errSyntax},
		{name: "no domain", in: "<a>", err: errSyntax},
		{name: "postmaster without domain", in: "<postmaster>", err: errSyntax},
		{name: "empty domain", in: "<a@>", err: errSyntax},
		{name: "empty local part", in: "<@example.org>", err: ErrSourceRoute},
		{name: "source route", in: "<@a.example,@b.example:c@example.org>", err: ErrSourceRoute},
		{name: "two at signs", in: "<a@b@example.org>", err: errDomain},
		{name: "first dot", in: "<.a@example.org>", err: errSyntax},
		{name: "last dot", in: "<a.@example.org>", err: errSyntax},
		{name: "two dots", in: "<a..b@example.org>", err: errSyntax},
		{name: "space without quotes", in: "<a b@example.org>", err: errSyntax},
		{name: "comment", in: "<a(c)@example.org>", err: errSyntax},
		{name: "quotes that do not end", in: `<"a@example.org>`, err: errSyntax},
		{name: "escape at the end", in: `<"a\`, err: errSyntax},
		{name: "empty quotes", in: `<""@example.org>`, err: errSyntax},
		{name: "quotes beside an atom", in: `<"a"b@example.org>`, err: errSyntax},
		{name: "quotes and a dot", in: `<"a".b@example.org>`, err: errSyntax},
		{name: "NUL in quotes", in: "<\"a\x00b\"@example.org>", err: errSyntax},
		{name: "escaped NUL", in: "<\"a\\\x00b\"@example.org>", err: errSyntax},
		{name: "CR LF in quotes", in: "<\"a\r\nb\"@example.org>", err: errSyntax},
		{name: "tab in quotes", in: "<\"a\tb\"@example.org>", err: errSyntax},
		{name: "DEL in quotes", in: "<\"a\x7fb\"@example.org>", err: errSyntax},
		{name: "DEL in an atom", in: "<a\x7fb@example.org>", err: errSyntax},
		{name: "NUL in the domain", in: "<a@exam\x00ple.org>", err: errDomain},
		{name: "path too long", in: "<" + local242 + "l@example.org>", err: errLength},
		{name: "path too long by the quotes that it needs", in: `<"` + local242[:240] + ` "@example.org>`, err: errLength},
		{name: "path too long by the A-labels that it is counted by", in: "<" + local242 + "@bücher.org>", utf8: true, err: errLength},
		{name: "label too long", in: "<a@" + label63 + "d.example>", err: errLength},
		{name: "domain too long", in: "<a@" + domain255 + ".e>", err: errLength},
		{name: "A-label too long", in: "<a@" + strings.Repeat("ä", 31) + "abcdefghij.example>", utf8: true, err: errLength},
		{name: "trailing dot", in: "<a@example.org.>", err: errDomain},
		{name: "leading dot", in: "<a@.example.org>", err: errDomain},
		{name: "two dots in the domain", in: "<a@example..org>", err: errDomain},
		{name: "underscore", in: "<a@my_host.example>", err: errDomain},
		{name: "hyphen first", in: "<a@-x.example>", err: errDomain},
		{name: "hyphen last", in: "<a@x-.example>", err: errDomain},
		{name: "address without brackets", in: "<a@192.0.2.1>", err: errDomain},
		{name: "punycode that is none", in: "<a@xn--a-ecp.ru.example>", err: errDomain},
		{name: "punycode of ASCII", in: "<a@xn--example-.org>", err: errDomain},
		{name: "empty punycode", in: "<a@xn--.org>", err: errDomain},
		{name: "punycode of upper case", in: "<a@xn--mchine-nqa.example>", err: errDomain},
		{name: "IPv4 literal out of range", in: "<a@[192.0.2.256]>", err: ErrLiteral},
		{name: "IPv4 literal with a leading zero", in: "<a@[192.0.2.01]>", err: ErrLiteral},
		{name: "IPv6 without tag", in: "<a@[2001:db8::1]>", err: ErrLiteral},
		{name: "IPv4 with tag", in: "<a@[IPv6:192.0.2.1]>", err: ErrLiteral},
		{name: "IPv6 with a zone", in: "<a@[IPv6:fe80::1%eth0]>", err: ErrLiteral},
		{name: "unknown tag", in: "<a@[x400:c=de]>", err: ErrLiteral},
		{name: "literal that does not end", in: "<a@[192.0.2.1>", err: ErrLiteral},
		{name: "empty literal", in: "<a@[]>", err: ErrLiteral},
		{name: "8-bit local part without SMTPUTF8", in: "<jdöe@example.org>", err: errNonASCII},
		{name: "8-bit domain without SMTPUTF8", in: "<a@mächine.example>", err: errNonASCII},
		{name: "Latin-1 local part", in: "<jd\xf6e@example.org>", utf8: true, err: errSyntax},
		{name: "Latin-1 domain", in: "<a@m\xe4chine.example>", utf8: true, err: errDomain},
		{name: "C1 control", in: "<a\u0085b@example.org>", utf8: true, err: errSyntax},
		{name: "line separator", in: "<a\u2028b@example.org>", utf8: true, err: errSyntax},
		{name: "escaped UTF-8", in: `<"\ö"@example.org>`, utf8: true, err: errSyntax},
		{name: "ideographic dot", in: "<a@evil。example.org>", utf8: true, err: errDomain},
		{name: "wide letters", in: "<a@ｅxample.org>", utf8: true, err: errDomain},
		{name: "soft hyphen", in: "<a@ex\u00adample.org>", utf8: true, err: errDomain},
		{name: "decomposed letters", in: "<a@ma\u0308chine.example>", utf8: true, err: errDomain},
		{name: "two directions in a label", in: "<a@אa.example>", utf8: true, err: errDomain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, rest, err := hosts{literals: true}.reversePath(tt.in, tt.utf8)
			if a != tt.want || rest != tt.rest || !errors.Is(err, tt.err) {
				t.Errorf("%q: %+v, %q, %v; want %+v, %q, %v", tt.in, a, rest, err, tt.want, tt.rest, tt.err)
			}
		})
	}
}

func TestForwardPath(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		literals bool
		want     mail.Address
		err      error
	}{
		{name: "plain address", in: "<a@example.org>", want: mail.Address{Local: "a", Domain: "example.org"}},
		{name: "postmaster", in: "<Postmaster>", want: mail.Postmaster},
		{name: "postmaster at a domain", in: "<Postmaster@example.org>", want: mail.Address{Local: "Postmaster", Domain: "example.org"}},
		{name: "literal where allowed", in: "<a@[192.0.2.1]>", literals: true, want: mail.Address{Local: "a", Domain: "[192.0.2.1]"}},
		{name: "literal where not", in: "<a@[192.0.2.1]>", err: ErrLiteral},
		{name: "null path", in: "<>", err: errSyntax},
		{name: "somebody else without domain", in: "<abuse>", err: errSyntax},
		{name: "postmaster without brackets", in: "postmaster", err: errSyntax},
		{name: "postmaster that does not end", in: "<postmaster", err: errSyntax},
		{name: "source route", in: "<@a.example:postmaster>", err: ErrSourceRoute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _, err := hosts{literals: tt.literals}.forwardPath(tt.in, false)
			if a != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%q: %+v, %v; want %+v, %v", tt.in, a, err, tt.want, tt.err)
			}
		})
	}
}

func TestMailboxTakesNothingAround(t *testing.T) {
	if a, err := Mailbox("jdöe@mächine.example", true); err != nil || a.Key() != "jdöe@xn--mchine-bua.example" {
		t.Errorf("%q, %v", a.Key(), err)
	}
	for _, in := range []string{"", "a", "a@", "@a", " a@b.example", "a@b.example ", "<a@b.example>", "a@b.example,c@d.example", "a@b.example\r\n"} {
		if a, err := Mailbox(in, true); err == nil {
			t.Errorf("%q gives %+v", in, a)
		}
	}
}

func TestSpellingsOfOneAddressHaveOneKey(t *testing.T) {
	for _, spellings := range [][]string{
		{"a.b@example.org", `"a.b"@example.org`, `"a\.b"@EXAMPLE.org`},
		{`"a b"@example.org`, `"a\ b"@Example.org`},
		{"a@mächine.example", "a@MÄCHINE.EXAMPLE", "a@xn--mchine-bua.example", "a@XN--MCHINE-BUA.example"},
		{"a@[IPv6:2001:db8::1]", "a@[ipv6:2001:0DB8:0:0::1]"},
		{"a@[192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]", "a@[ipv6:0:0:0:0:0:FFFF:c000:201]"},
	} {
		first, err := Mailbox(spellings[0], true)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spellings[1:] {
			if a, err := Mailbox(s, true); err != nil || a.Key() != first.Key() {
				t.Errorf("%s has key %q (%v), %s has %q", s, a.Key(), err, spellings[0], first.Key())
			}
		}
	}
}

func TestHelo(t *testing.T) {
	for _, in := range []string{
		"relay.example.org", "localhost", "WIN-7_PC", "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[2001:db8::1]",
		"2001:db8::1", "host.example.", "a..b", strings.Repeat("x", 255),
	} {
		if err := Helo(in); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{
		"", "-", ".", "a b", "a\tb", "a\x00b", "a\r\nb", "a\x7f", "höst", "<a>", "(a)", `"a"`, "a@b", "a;b", `a\b`,
		"[192.0.2.1", "192.0.2.1]", "[]", "[a]", "a[192.0.2.1]", "[[192.0.2.1]]", strings.Repeat("x", 256),
	} {
		if err := Helo(in); err == nil {
			t.Errorf("%q passes", in)
		}
	}
}
