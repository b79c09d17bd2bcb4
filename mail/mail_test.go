package mail

import (
	"strings"
	"testing"
)

func TestAddressForms(t *testing.T) {
	for _, row := range []struct {
		name              string
		addr              Address
		key, wire, shown  string
		utf8, nullReverse bool
	}{
		{"the null reverse-path", Address{}, "<>", "", "<>", false, true},
		{"a plain address", Address{Local: "news", Domain: "example.org"}, "news@example.org", "news@example.org", "<news@example.org>", false, false},
		{"a domain written in capitals", Address{Local: "News", Domain: "example.org", Written: "Example.ORG"}, "News@example.org", "News@Example.ORG", "<News@example.org>", false, false},
		{"a U-label", Address{Local: "a", Domain: "xn--bcher-kva.example", Written: "bücher.example"}, "a@xn--bcher-kva.example", "a@bücher.example", "<a@xn--bcher-kva.example>", true, false},
		{"a local-part beyond ASCII", Address{Local: "jürgen", Domain: "example.org"}, "jürgen@example.org", "jürgen@example.org", `<j\x{FC}rgen@example.org>`, true, false},
		{"a local-part with a space", Address{Local: "a b", Domain: "example.org"}, `"a b"@example.org`, `"a b"@example.org`, `<"a b"@example.org>`, false, false},
		{"an at sign within quotes", Address{Local: "a@evil", Domain: "example.org"}, `"a@evil"@example.org`, `"a@evil"@example.org`, `<"a@evil"@example.org>`, false, false},
		{"quote and backslash", Address{Local: `a"\`, Domain: "example.org"}, `"a\"\\"@example.org`, `"a\"\\"@example.org`, `<"a\"\\"@example.org>`, false, false},
		{"the bare postmaster", Postmaster, "postmaster", "postmaster", "<postmaster>", false, false},
		{"an address literal", Address{Local: "root", Domain: "[192.0.2.1]"}, "root@[192.0.2.1]", "root@[192.0.2.1]", "<root@[192.0.2.1]>", false, false},
	} {
		a := row.addr
		if a.Key() != row.key || a.String() != row.wire || string(a.AppendTo(nil)) != row.wire || a.Shown() != row.shown || a.UTF8() != row.utf8 || a.IsNull() != row.nullReverse {
			t.Errorf("%s: key %s, wire %s, shown %s, UTF-8 %v, null %v", row.name, a.Key(), a.String(), a.Shown(), a.UTF8(), a.IsNull())
		}
	}
}

func TestQuoteLocalQuotesWhatIsNoDotString(t *testing.T) {
	for local, want := range map[string]string{
		"a.b": "a.b", "a..b": `"a..b"`, ".a": `".a"`, "a.": `"a."`, "a+b=c": "a+b=c", "a!b%c": "a!b%c", "a,b": `"a,b"`, "<>": `"<>"`,
	} {
		if got := QuoteLocal(local); got != want {
			t.Errorf("%q: got %s, want %s", local, got, want)
		}
	}
}

func TestReplyOnTheWire(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, row := range []struct {
		name  string
		reply Reply
		want  string
	}{
		{"one line", Reply{Code: 450, Status: "4.7.1", Text: "wait"}, "450 4.7.1 wait\r\n"},
		{"no status", Reply{Code: 354, Text: "go"}, "354 go\r\n"},
		{"no text", Reply{Code: 334}, "334 \r\n"},
		{"several lines", Reply{Code: 250, Status: "2.0.0", Text: "a\nb\nc"}, "250-2.0.0 a\r\n250-2.0.0 b\r\n250 2.0.0 c\r\n"},
		{"controls and UTF-8 of an upstream", Reply{Code: 550, Status: "5.1.1", Text: "a\r\x00\x1bü\x7f"}, "550 5.1.1 a?????" + "?" + "\r\n"},
		{"a line over 512 octets", Reply{Code: 550, Status: "5.1.1", Text: long}, "550 5.1.1 " + long[:500] + "\r\n"},
	} {
		if got := string(row.reply.AppendTo(nil)); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestReplyClasses(t *testing.T) {
	for code, want := range map[int][3]bool{
		250: {true, false, false}, 354: {true, false, false}, 421: {false, true, false}, 450: {false, true, false}, 550: {false, false, true},
	} {
		r := Reply{Code: code}
		if got := [3]bool{r.Positive(), r.Temporary(), r.Permanent()}; got != want {
			t.Errorf("%d: positive, temporary, permanent are %v", code, got)
		}
	}
	if s := (&Reply{Code: 550, Status: "5.7.1", Text: "a\nb"}).String(); s != "550 5.7.1 a / b" {
		t.Errorf("in a log: %q", s)
	}
}
