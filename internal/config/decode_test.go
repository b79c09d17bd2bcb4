package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/internal/secret"
)

// word is a type that reads itself.
type word string

func (w *word) UnmarshalText(b []byte) error {
	if string(b) != "yes" && string(b) != "no" {
		return fmt.Errorf("%q is not one of yes, no", b)
	}
	*w = word(b)
	return nil
}

// words takes one text or a list.
type words []word

func (w *words) UnmarshalText(b []byte) error {
	for s := range strings.SplitSeq(string(b), " ") {
		*w = append(*w, word(s))
	}
	return nil
}

type inner struct {
	File  string `toml:"file" form:"path"`
	Count int    `toml:"count"`
}

func (i *inner) SetDefaults() { i.Count = 7 }

func (i *inner) Check(report func(key, problem string)) {
	if i.Count > 100 {
		report("count", "is above 100; write less")
	}
}

type Embedded struct {
	Shared string `toml:"shared"`
}

func (e *Embedded) SetDefaults() { e.Shared = "from embedded" }

type outer struct {
	Embedded

	Name     string            `toml:"name"`
	Wait     time.Duration     `toml:"wait"`
	Waits    []time.Duration   `toml:"waits"`
	Size     int64             `toml:"size" form:"size"`
	Number   int               `toml:"number"`
	Share    float64           `toml:"share"`
	On       bool              `toml:"on"`
	Networks []netip.Prefix    `toml:"networks"`
	Listen   netip.AddrPort    `toml:"listen"`
	From     netip.Addr        `toml:"from"`
	Word     word              `toml:"word"`
	Words    words             `toml:"words"`
	Codes    map[string]string `toml:"codes"`
	Inner    inner             `toml:"inner"`
	Maybe    *inner            `toml:"maybe"`
	Many     map[string]inner  `toml:"many"`
	List     []inner           `toml:"list"`
	Files    []string          `toml:"files" form:"path"`

	Password     string `toml:"password"`
	PasswordFile string `toml:"password_file" form:"path"`
	PasswordEnv  string `toml:"password_env"`
}

func (o *outer) SetDefaults() { o.Wait = time.Minute }

// decodeText decodes text as if it stood in folder/test.toml.
func decodeText(t *testing.T, text, folder string) (*outer, *decoder) {
	t.Helper()
	env := map[string]string{"SECRET": "from env"}
	d := newDecoder(newSource("test.toml", []byte(text)), folder, func(k string) string { return env[k] })
	var o outer
	d.decodeFile(&o)
	d.check()
	return &o, d
}

func told(ps []Problem) string { return Problems(order(ps, 0)).Error() }

func TestDecodeReadsEveryForm(t *testing.T) {
	o, d := decodeText(t, `
name = "a\tb"
wait = "1d12h30m"
waits = ["1s", "2m"]
size = "25MiB"
number = 1_000
share = 2
on = true
networks = ["10.20.0.0/28", "2001:db8:20::25/128"]
listen = "[::1]:2525"
from = "::ffff:192.0.2.1"
word = "yes"
words = ["yes", "no"]
codes = { "127.0.0.2" = "SBL" }
files = ["a", "/b"]
shared = "mine"
password_env = "SECRET"

[inner]
file = "keys/a.pem"

[maybe]

[many.one]
count = 1
[many."two.three"]
file = "/abs"

[[list]]
count = 0x10
[[list]]
`, "/etc/postern")
	if len(d.problems) > 0 {
		t.Fatal(told(d.problems))
	}
	want := outer{
		Embedded: Embedded{"mine"},
		Name:     "a\tb", Wait: 36*time.Hour + 30*time.Minute, Waits: []time.Duration{time.Second, 2 * time.Minute},
		Size: 25 << 20, Number: 1000, Share: 2, On: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/28"), netip.MustParsePrefix("2001:db8:20::25/128")},
		Listen:   netip.MustParseAddrPort("[::1]:2525"), From: netip.MustParseAddr("192.0.2.1"),
		Word: "yes", Words: words{"yes", "no"}, Codes: map[string]string{"127.0.0.2": "SBL"},
		Inner: inner{"/etc/postern/keys/a.pem", 7}, Maybe: &inner{Count: 7},
		Many:  map[string]inner{"one": {Count: 1}, "two.three": {File: "/abs", Count: 7}},
		List:  []inner{{Count: 16}, {Count: 7}},
		Files: []string{"/etc/postern/a", "/b"}, Password: "from env", PasswordEnv: "SECRET",
	}
	if !reflect.DeepEqual(*o, want) {
		t.Errorf("got  %+v\nwant %+v", *o, want)
	}
}

func TestDecodeSetsDefaultsWithoutTheFile(t *testing.T) {
	o, d := decodeText(t, "", "/")
	if len(d.problems) > 0 || o.Wait != time.Minute || o.Inner.Count != 7 || o.Shared != "from embedded" || o.Maybe != nil {
		t.Errorf("got %+v, %s", o, told(d.problems))
	}
}

func TestDecodeTellsProblemsWithTheirPlace(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a bare number is no duration", "wait = 30", `test.toml:1:8: wait: is a bare number; use a duration such as "30s"`},
		{"a number in quotes is no duration either", `wait = "30"`, `test.toml:1:8: wait: "30" is not a duration; write one such as "90s", "10m", "1h" or "7d"`},
		{"a duration has no sign", `wait = "-1s"`, `test.toml:1:8: wait: "-1s" is not a duration; write one such as "90s", "10m", "1h" or "7d"`},
		{"a duration in a list", `waits = ["1s", 2]`, `test.toml:1:16: waits.1: is a bare number; use a duration such as "30s"`},
		{"a bare number is no size", "size = 25", `test.toml:1:8: size: is a bare number; use a size such as "25MiB"`},
		{"a size needs a known unit", `size = "25 megs"`, `test.toml:1:8: size: "25 megs" is not a size; write one such as "25MiB", "10KB" or "512B"`},
		{"a whole number in quotes", `number = "5"`, `test.toml:1:10: number: is text, not a whole number; write it without quotes, as 100`},
		{"a number too large", `number = 99999999999999999999`, `test.toml:1:10: number: 99999999999999999999 is too large; write a smaller number`},
		{"infinity", `share = inf`, `test.toml:1:9: share: is no number to reckon with; write one, as 1.5`},
		{"a switch in quotes", `on = "true"`, `test.toml:1:6: on: is text, not a switch; write true or false, without quotes`},
		{"text without quotes", `name = 5`, `test.toml:1:8: name: is a whole number, not text; put it in quotes, as "5"`},
		{"one value where a list stands", `files = "a"`, `test.toml:1:9: files: is text, not a list; put the value in brackets, as ["a"]`},
		{"a blank in a list", `files = ["a", " "]`, `test.toml:1:15: files.1: is blank; write a value or leave it out`},
		{"a date", `name = 2026-01-01`, `test.toml:1:8: name: is a date, not text; put it in quotes, as "2026-01-01"`},
		{"a network without length", `networks = ["10.1.2.3"]`, `test.toml:1:13: networks.0: "10.1.2.3" has no prefix length; for this one address write "10.1.2.3/32"`},
		{"a network with bits beyond", `networks = ["10.1.2.3/8"]`, `test.toml:1:13: networks.0: "10.1.2.3/8" has bits beyond its length; write "10.0.0.0/8" for the network or "10.1.2.3/32" for the one address`},
		{"a mapped network", `networks = ["::ffff:10.0.0.0/104"]`, `test.toml:1:13: networks.0: "::ffff:10.0.0.0/104" is an IPv4 network in IPv6 form; write it as IPv4`},
		{"a port alone", `listen = ":25"`, `test.toml:1:10: listen: ":25" names no address; write "0.0.0.0:25" for all of IPv4, "[::]:25" for all, or "127.0.0.1:25"`},
		{"an address without port", `listen = "127.0.0.1"`, `test.toml:1:10: listen: "127.0.0.1" has no port; write "127.0.0.1:25"`},
		{"a type's own words", `word = "maybe"`, `test.toml:1:8: word: "maybe" is not one of yes, no`},
		{"a number where a word stands", `word = 1`, `test.toml:1:8: word: is a whole number, not text; put it in quotes, as "1"`},
		{"a table where text stands", `name = { a = 1 }`, `test.toml:1:8: name: is a table, not text; put it in quotes, as "..."`},
		{"text where a table stands", `inner = "x"`, `test.toml:1:9: inner: is text, not a table; write [inner] and its keys below it`},
		{"an unknown key near a known one", `nmae = "x"`, `test.toml:1:1: nmae: unknown key; did you mean name`},
		{"an unknown key that lives elsewhere", `count = 1`, "test.toml:1:1: count: unknown key; config.example.toml lists every key"},
		{"an unknown key in a small table", "[inner]\nxyz = 1", `test.toml:2:1: inner.xyz: unknown key; known here: count, file`},
		{"a name with dots and no quotes", "[many.example.org]\ncount = 1", `test.toml:1:15: many.example.org: unknown key; a name with dots needs quotes, as [many."example.org"]`},
		{"a check's words, at the key", "[inner]\n  count = 101", `test.toml:2:3: inner.count: is above 100; write less`},
		{"a check's words in a list of tables", "[[list]]\n[[list]]\ncount = 101", `test.toml:3:1: list.1.count: is above 100; write less`},
		{"a check's words in an inline list", `list = [{}, {count = 101}]`, `test.toml:1:14: list.1.count: is above 100; write less`},
		{"columns count characters", `many = { "ü" = { count = 101 } }`, `test.toml:1:18: many."ü".count: is above 100; write less`},
		{"a key twice", "number = 1\nnumber = 2", `test.toml:2:1: number: is defined twice, first on line 1; keep one`},
		{"a table twice", "[inner]\n[maybe]\n[inner]", `test.toml:3:2: inner: is defined twice, first on line 1; keep one`},
		{"a table by name and by key", "many.a.count = 1\n[many.a]", `test.toml:2:7: many.a: is defined twice, first on line 1; keep one`},
		{"an inline table is closed", "inner = {}\n[inner.x]", `test.toml:2:8: inner: is defined twice, first on line 1; keep one`},
		{"a list and tables of one name", "list = []\n[[list]]", `test.toml:2:3: list: is defined twice, first on line 1; keep one`},
		{"a variable that is not set", `password_env = "NONE"`, `test.toml:1:1: password_env: the environment has no NONE, or it is empty; set it for the relay`},
		{"two ways to give a password", "password = \"a\"\npassword_env = \"SECRET\"", `test.toml:1:1: password: is given in more than one way; keep one of password, password_file, password_env`},
		{"a password without quotes is not shown", `password = 12345678`, `test.toml:1:12: password: is a whole number, not text; put it in quotes, as "..."`},
		{"deep nesting", "files = " + strings.Repeat("[", 40) + strings.Repeat("]", 40), `lie more than 16 deep in one another; write it flatter`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, d := decodeText(t, tt.text, "/")
			if got := told(d.problems); got != tt.want && !(tt.name == "deep nesting" && strings.Contains(got, tt.want)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestDecodeTellsAllAtOnce(t *testing.T) {
	_, d := decodeText(t, `name = unquoted
wait = 5
[inner
count = 101
[many.a]
count = 101
bogus = 1
hosts = [ "a",
size = "x"
[maybe]
file = "never closed
count = 102
`, "/")
	var got []string
	for _, p := range order(d.problems, d.more) {
		got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Col, p.Key))
	}
	want := []string{"1:8 name", "2:8 wait", "3:7 ", "6:1 many.a.count", "7:1 many.a.bogus", "9:1 many.a.hosts", "11:21 maybe.file", "12:1 maybe.count"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q\n%s", got, want, told(d.problems))
	}
}

func TestDecodeIsSilentAboutWhatFollowsFromAProblem(t *testing.T) {
	_, d := decodeText(t, "[inner]\ncount = \"500\"", "/")
	if len(d.problems) != 1 {
		t.Errorf("got %s", told(d.problems))
	}
}

func TestSecretFile(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good", "s3cret \n", 0o600)
	write("open", "s3cret", 0o644)
	write("empty", "\n", 0o600)
	write("large", strings.Repeat("x", secret.Max+1), 0o600)
	for _, tt := range []struct{ file, password, problem, warning string }{
		{"good", "s3cret ", "", ""},
		{"open", "", "every user of this machine can read or change it; run: chmod o= " + folder + "/open", ""},
		{"empty", "", "the file is blank; write the password there", ""},
		{"large", "", "is larger than 65536 octets", ""},
		{"missing", "", "no such file or directory; name a file that the relay can read", ""},
	} {
		o, d := decodeText(t, `password_file = "`+tt.file+`"`, folder)
		if o.Password != tt.password || !strings.Contains(told(d.problems), tt.problem) || (tt.problem == "") != (len(d.problems) == 0) ||
			!strings.Contains(told(d.warnings), tt.warning) || (tt.warning == "") != (len(d.warnings) == 0) {
			t.Errorf("%s: got %q, problems %q, warnings %q", tt.file, o.Password, told(d.problems), told(d.warnings))
		}
		if strings.Contains(told(d.problems)+told(d.warnings), "s3cret") {
			t.Error("a problem holds the password")
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	_, d := decodeText(t, strings.Repeat("=\n", 100_000), "/")
	ps := order(d.problems, d.more)
	if len(ps) != maxProblems+1 || !strings.Contains(ps[maxProblems].String(), "99800 more problems are not shown") {
		t.Errorf("got %d problems, the last %q", len(ps), ps[len(ps)-1])
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "a = 1", "[many.x]\ncount = 1", "[[list]]\n[[list]]\n", "a.b.c = 1\n[a.b]", "name = \"\"\"\nx\n\"\"\"",
		"list = [{count=1},\n # c\n {}]", "\"\\u00fc\" = 1", "x = [\n1,\ny = 2", "'a b'.c = {d.e = 1}", "[list]\n[[list]]", "wait = 1979-05-27T07:32:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, d := decodeText(t, text, "/")
		for _, p := range order(d.problems[:min(len(d.problems), maxProblems)], 0) {
			if p.Line < 1 || p.Col < 1 || p.Line > strings.Count(text, "\n")+1 || p.Text == "" {
				t.Errorf("problem at no place of the file: %+v", p)
			}
		}
		if o.Wait < 0 || o.Size < 0 {
			t.Errorf("negative: %+v", o)
		}
	})
}
