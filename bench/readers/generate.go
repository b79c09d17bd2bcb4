package main

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
)

// The client owns example.org and what is below it, and nothing of
// bank.example.
const (
	own   = "news@example.org"
	other = "ceo@bank.example"
)

// parts are what values are made of: whole addresses and words, and all that
// means something to one reader or another.
var parts = []string{
	own, other, "<" + own + ">", "<" + other + ">", "(" + other + ")", `"` + other + `"`, `"<` + other + `>"`, "(<" + other + ">)",
	"ceo", "bank.example", ".example.org", "example.org", "news", "News", "Anna K", "J. R.", "x", "a b", "-", ".", "..", "'", "&lt;", "mailto:", "%",
	" ", " ", " ", "\t", "\r\n ", "\r\n\t", "\r\n \r\n ", ",", ", ", ";", ":", "<", ">", "(", ")", "()", `"`, `""`, `\`, `\"`, `\\`, "@", "[", "]",
	"[x]", "=?", "?=", "?q?", "=?utf-8?q?", "=?utf-8?b?", "=?utf-8?q?a?=", "=?utf-8?q?a_b?=", "=?utf-8?q?=22?=", "=?utf-8?q?=2C?=", "=?utf-8?q?=3C?=",
	"=?utf-8?q?ceo=40bank.example?=", "=?utf-8?q?=3Cceo=40bank.example=3E?=", "=?utf-8?q?=22_=3Cceo=40bank.example=3E=2C_=22?=", "=?utf-8?q?ceo@bank.example?=",
	"=?utf-8?q?(?=", "=?utf-8?q?)?=", `=?utf-8?q?"?=`, "=?utf-8?q?<?=", "=?utf-8?q?=0D=0A_?=", "=?utf-8?q?=00?=", "=?utf-8?q?=5C?=",
	word("ceo@bank.example"), word("<ceo@bank.example>"), word("ceo@bank.example,"), word(`" <ceo@bank.example>, "`), word("ceo＠bank.example"), word("Jörg"),
	"=?cp037?b?g4WWfIKBlZJLhaeBlJeThQ==?=", "=?utf-7?q?ceo+AEA-bank.example?=", "=?utf-16?b?AGMAZQBvAEA=?=", "=?iso-2022-jp?b?Y2VvGyRC?=", "=?iso-2022-jp?q?!w?=",
	"=?shift_jis?b?gQ==?=", "=?x?x?x?=", "=?utf-8*en?q?ceo=40bank.example?=", "=?us-ascii?q?ceo=40bank.example?=",
	"é", "ö", "\xfc", "\x83\\", "\x81@", "\u00a0", "\u0085", "\u200b", "\u202e", "\u2028", "＠", "＜", "＞", "，", "。", "\ufeff", "\x01", "\x0b", "\x0c", "\x1c", "\x7f",
	"undisclosed:;", "Group:", ":;", "@a.example,@b.example:", "@bank.example:", own + ",", "," + own, "<>", "< ", " >", "a@[192.0.2.1]", `"news"@example.org`,
	`"ceo@bank.example"@example.org`, `"ceo@bank.example "@example.org`, "ceo%bank.example@example.org", "ceo@bank.example@example.org", "bank.example!ceo@example.org",
	"News@EXAMPLE.ORG", "root@web_01.example.org", "ceo@bank_.example", "news@sub.example.org", "news@example.org.", "news@example.org.bank.example", "a+b@example.org", "jörg@example.org", "news@xn--bcher-kva.example.org",
	"(x)", "(x (y))", `(\))`, "( )", `(")`, "(,)", `"x"`, `"a, b"`, `"a\"b"`, `"a` + "\r\n" + ` b"`, "\"\t\"", `"(x)"`, `"<x>"`, `"x`, `x"`,
}

// tokens are what the grammars are made of and little else, so that short rows of
// them meet every corner.
var tokens = []string{
	own, "<" + own + ">", "<" + own + ">", other, "<" + other + ">", "<", ">", "(", ")", `"`, `"`, `\`, ",", ";", ":", " ", " ", "\r\n ", "a", ".", "@", "[", "]",
	"=?utf-8?q?", "?=", "=?utf-8?q?a?=", "=?utf-8?q?=40?=",
}

func word(s string) string {
	return "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// shapes are forms of From that pass; what %s stands for is drawn.
var shapes = []string{
	"%s<news@example.org>", "%s <news@example.org>", `"%s" <news@example.org>`, "%s news@example.org", "news@example.org %s", "news@example.org (%s)",
	"(%s) news@example.org", "<news@example.org>%s", "<news@example.org> (%s)", "%s", "<%s>", "%s@example.org", "<%s@example.org>", `"%s"@example.org`,
	"news@example.org, %s <anna@example.org>", "%s <news@example.org>, anna@example.org", "%s: news@example.org;", "=?utf-8?q?%s?= <news@example.org>",
	"=?utf-8?q?%s?= =?utf-8?q?%s?= <news@example.org>", `"%s" %s <news@example.org>`, `"%s" "%s" <news@example.org>`, "%s (%s) <news@example.org>",
	"[%s] Monitoring <news@example.org>", "Example, %s <news@example.org>", "Alert: %s <news@example.org>", "%s, %s: [%s] <news@example.org>",
	"Anna %s K <news@example.org>", "news@%s", "news@example.org%s <news@example.org>", `"=?utf-8?q?%s?=" <news@example.org>`, "%s\r\n %s\r\n <news@example.org>",
}

// around are fields beside From that change, for some reader, where the header
// ends or which From counts.
var around = []string{
	"Sender: CEO <ceo@bank.example>", "Reply-To: ceo@bank.example", "Resent-From: ceo@bank.example", "X-A : y", "X-A\t: y", "X-A:\r\n \r\n y", "X-A: y\r\n ", "X-A:",
	"X-From: ceo@bank.example", "From : ceo@bank.example", "FROM: ceo@bank.example", "From\u00a0: ceo@bank.example", "X-A: \x0bFrom: ceo@bank.example",
	"X-A: \u0085From: ceo@bank.example", "X-A: \u2028From: ceo@bank.example", "Subject: =?utf-8?q?=0D=0AFrom:_ceo=40bank.example?=", "From ceo@bank.example", ": x",
	"Content-Type: text/plain; charset=utf-7", "Content-Type: message/rfc822", "Content-Type: multipart/mixed; boundary=x", "\xff: y", "X_\"<: y", "Received: from x (y)",
	"UPS on battery", " folded", "\tfolded: x", "From", "\r\nFrom: ceo@bank.example", "=?utf-8?q?From?=: ceo@bank.example",
	"Content-Transfer-Encoding: base64", "MIME-Version: 1.0", "X-A: \x1cFrom: ceo@bank.example", "X-A: y\r\n\tFrom: ceo@bank.example", ">From ceo@bank.example",
}

// generator draws headers. The same seed gives the same ones.
type generator struct{ r *rand.Rand }

func newGenerator(seed uint64) *generator { return &generator{rand.New(rand.NewPCG(seed, 0))} }

func (g *generator) one(of []string) string { return of[g.r.IntN(len(of))] }

// header is one From field, now and then among others.
func (g *generator) header() []byte {
	var b strings.Builder
	if g.r.IntN(8) == 0 {
		b.WriteString(g.one(around) + "\r\n")
	}
	b.WriteString("From:" + g.one([]string{" ", " ", " ", "", "\t", "\r\n "}) + g.value() + "\r\n")
	if g.r.IntN(8) == 0 {
		b.WriteString(g.one(around) + "\r\n")
	}
	return []byte(b.String())
}

// value is a shape whose gaps are filled, with a fault put in now and then.
func (g *generator) value() string {
	if g.r.IntN(4) == 0 {
		return g.row()
	}
	v := g.one(shapes)
	for strings.Contains(v, "%s") {
		v = strings.Replace(v, "%s", g.filling(), 1)
	}
	for g.r.IntN(3) == 0 {
		at := g.r.IntN(len(v) + 1)
		switch g.r.IntN(3) {
		case 0:
			v = v[:at] + g.one(parts) + v[at:]
		case 1:
			v = v[:at] + v[min(len(v), at+1+g.r.IntN(3)):]
		default:
			from := g.r.IntN(at + 1)
			v = v[:at] + v[from:at] + v[at:]
		}
	}
	return v
}

// row is a few tokens.
func (g *generator) row() string {
	var b strings.Builder
	for range 1 + g.r.IntN(12) {
		b.WriteString(g.one(tokens))
	}
	return b.String()
}

// filling is a few parts, most often one or two.
func (g *generator) filling() string {
	var b strings.Builder
	for n := 1 + g.r.IntN(2)*g.r.IntN(4); n > 0; n-- {
		b.WriteString(strings.ReplaceAll(g.one(parts), "%s", ""))
		if g.r.IntN(3) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
