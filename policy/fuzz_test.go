package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/syntax"
	"postern/mail"
)

// FuzzHeaderJudgement holds every header that passes to what a reader without
// our grammar finds in it: one From, and in it no address of somebody else.
func FuzzHeaderJudgement(f *testing.F) {
	for _, m := range messages(f) {
		b, err := os.ReadFile(filepath.Join(corpus, m.name))
		if err != nil {
			f.Fatal(err)
		}
		if end := syntax.HeaderEnd(b, 0); end >= 0 && end < 4096 {
			f.Add(b[:end])
		}
	}
	for _, from := range []string{
		`Anna <anna@example.org>`, `"a@evil.example"@example.org`, `ceo@evil.example <anna@example.org>`, `B: a@example.org, b@x.example.org;`,
		`<@evil.example:a@example.org>`, `=?utf-8?q?ceo=40evil.example?= <a@example.org>`, "a (b\r\n (c@evil.example)) @ example . org",
	} {
		f.Add([]byte("From: " + from + "\r\nReply-To: <x@evil.example>\r\nSubject: Out of office: x\r\n\r\n"))
	}
	all := anna(func(c *ClientConfig) {
		c.DisplayNameAddress, c.CheckSender, c.CheckResentFrom, c.CheckReplyTo = Reject, true, true, true
	})
	r := good(f, Config{Clients: map[string]ClientConfig{"plain": anna(nil), "strict": all2(all)}})
	plain, strict := r.Clients()[0], r.Clients()[1]
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := syntax.ParseHeader(b, 100)
		if err != nil {
			return
		}
		var h HeaderFacts
		h.read(fields)
		rule, reply, shadow := r.Header(plain, &h)
		if shadow || (rule == "") != (reply == nil) {
			t.Fatalf("rule %q, reply %v, shadow %v", rule, reply, shadow)
		}
		if reply != nil && (reply.Code != 550 || reply.Status != "5.7.1" || !mail.ASCII(reply.Text) || strings.ContainsAny(reply.Text, "\r\n\x00")) {
			t.Fatalf("reply %q", reply)
		}
		if _, strictly, _ := r.Header(strict, &h); strictly == nil && reply != nil {
			t.Fatal("more switches let more pass")
		}
		if reply == nil {
			checkFrom(t, b)
		}
	})
}

// all2 is the same client at another address, so that the two do not tie.
func all2(c ClientConfig) ClientConfig {
	c.Networks = networksOf("192.0.2.2/32")
	return c
}

// checkFrom finds From fields and their addresses by eye: what stands around
// each at sign outside of quotes and comments is a domain of ours, or a route.
func checkFrom(t *testing.T, header []byte) {
	t.Helper()
	text := strings.ReplaceAll(strings.ReplaceAll(string(header), "\r\n ", " "), "\r\n\t", " ")
	var bodies []string
	for line := range strings.SplitSeq(text, "\r\n") {
		if line == "" {
			break
		}
		name, body, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimRight(name, " \t"), "from") {
			bodies = append(bodies, body)
		}
	}
	if len(bodies) != 1 {
		t.Fatalf("%d From fields pass in %q", len(bodies), header)
	}
	plain := outside(bodies[0])
	found := 0
	for i := range len(plain) {
		if plain[i] != '@' {
			continue
		}
		domain := plain[i+1:]
		end := strings.IndexAny(domain, "<>,;:@")
		if end < 0 {
			end = len(domain)
		}
		if end < len(domain) && domain[end] == ':' || strings.HasPrefix(domain[end:], ",@") || strings.HasPrefix(domain[end:], ",,") {
			continue // a route, which leads to the address behind it
		}
		if !ours(domain[:end]) {
			t.Fatalf("%q passes in %q", domain[:end], header)
		}
		found++
	}
	if found == 0 {
		t.Fatalf("no author in %q", header)
	}
}

// ours asks for example.org or what is below it, as any of its spellings.
func ours(domain string) bool {
	domain = strings.ToLower(domain)
	return utf8.ValidString(domain) && (domain == "example.org" || strings.HasSuffix(domain, ".example.org"))
}

// outside leaves out comments, white space and what stands in quotes.
func outside(s string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0 || c == ' ' || c == '\t' || c == '\r' || c == '\n':
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// FuzzPattern holds a match to what the pattern says as text.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"@example.org", "@*.example.org", "news@example.org", "@Mächine.example", `"a b"@example.org`, "@[192.0.2.1]", "*@x.example"} {
		f.Add(s, "news@example.org")
		f.Add(s, "news@sub.example.org")
		f.Add(s, `"a@example.org"@evil.example`)
		f.Add(s, "a@xn--mchine-bua.example")
	}
	f.Fuzz(func(t *testing.T, pattern, address string) {
		var p patterns
		problem := p.add(pattern, parse)
		if (problem == "") == p.Empty() {
			t.Fatalf("%q: problem %q", pattern, problem)
		}
		a, err := parse(address)
		if err != nil || problem != "" {
			return
		}
		domain, err := syntax.Domain(strings.TrimPrefix(pattern[strings.LastIndexByte(pattern, '@')+1:], "*."))
		if err != nil { // a literal
			domain = a.Domain
		}
		want := false
		switch {
		case strings.HasPrefix(pattern, "@*."):
			want = strings.HasSuffix(a.Domain, "."+domain)
		case strings.HasPrefix(pattern, "@"):
			want = a.Domain == domain
		default:
			b, _ := parse(pattern)
			want = a.Domain == domain && a.Identity() == b.Identity()
		}
		if got := p.MatchSender(a); got != want && !strings.Contains(pattern, "[") {
			t.Fatalf("%q and %q: %v", pattern, a.Key(), got)
		}
		if got := p.MatchSender(a); got {
			for _, same := range []string{a.String(), a.Key()} {
				if b, err := parse(same); err != nil || !p.MatchSender(b) {
					t.Fatalf("%q matches %q but not as %q", pattern, address, same)
				}
			}
		}
	})
}
