package syntax

import (
	"strings"
	"testing"
)

// plainForms are read the short way.
var plainForms = []string{
	"a@example.org", " <news@shop.example.org>\r\n", "Anna Kowalska <anna@example.org>", "Anna K. Kowalska <anna.k@example.org> ",
	`"Kowalska, Anna" <anna@example.org>`, `"" <a@example.org>`, `" "<a@example.org>`, "A <a+b=c@EXAMPLE.org>", "<a@mail>", "A<a@xn--mchine-bua.example>",
	"=?UTF-8?Q?Caf=C3=A9_Nord?= <a@example.org>", "=?utf-8?b?w6Q=?= =?utf-8?q?=C3=BC=40x?= =?x?y?z?= e B <a@example.org>", "=?utf-8?q?=00=FF?= <a@example.org>",
	strings.Repeat("a ", 499) + "<a@example.org>",
}

func TestPlainAuthorsAreReadTheShortWay(t *testing.T) {
	for _, s := range plainForms {
		if _, ok := plainAuthor(strings.TrimSuffix(s, "\r\n")); !ok {
			t.Errorf("%.60q is not", s)
		}
		samePlain(t, []byte(s))
	}
}

// Whatever has more than one reading, or a part of the grammar that the short
// way leaves out, takes the long way.
func TestOtherAuthorsAreNotReadTheShortWay(t *testing.T) {
	for _, s := range []string{
		"", " ", "a", "@example.org", "a@", "<>", "<a@example.org", "a@example.org>", "a@b@example.org", "a@example.org, b@example.org", "A: a@example.org;",
		"a..b@example.org", ".a@example.org", "a.@example.org", "a b@example.org", `"a"@example.org`, "a@example.org.", "a@192.0.2.1", "a@[192.0.2.1]", "a@-x.example",
		"a @example.org", "a@ example.org", "< a@example.org>", "<@b:a@example.org>", "a@example.org (Anna)", "<a@example.org> Anna",
		".A <a@example.org>", "A  B <a@example.org>", "A . <a@example.org>", "A\tB <a@example.org>", "A\r\n <a@example.org>", "A, B <a@example.org>", "a@b <a@example.org>",
		`"A <a@example.org>`, `" <a@example.org>`, `"A\"" <a@example.org>`, `"A" B <a@example.org>`, `A "B" <a@example.org>`, `"<b@x.example>" <a@example.org>`, "\"A\tB\" <a@example.org>",
		"<b@x.example> <a@example.org>", "=?utf-8?q?A <a@example.org>", "=?utf-8?q?A B?= <a@example.org>", "=?a?= <a@example.org>", "=?utf-8?q?A?= =?b <a@example.org>", "=?a@example.org", `"=?" <a@example.org>`, "J\u00fc <a@example.org>", "j\u00fc@example.org", "a@m\u00e4chine.example",
		strings.Repeat("a", 65) + "@example.org", "a@" + strings.Repeat("a", 64) + ".example", "a@" + strings.Repeat("a.", 128) + "example", strings.Repeat("a ", 1000) + "<a@example.org>",
	} {
		if a, ok := plainAuthor(s); ok {
			t.Errorf("%.60q is: %+v", s, a)
		}
	}
}
