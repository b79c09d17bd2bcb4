package links

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// finder is one with a file of lists, so that there is something to find.
func finder(t testing.TB, change func(*Options)) *Finder {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{}
	o.Config.SetDefaults()
	o.Config.Files = []string{path}
	if change != nil {
		change(&o)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop(nil) })
	return l.Find()
}

func (f *Finder) hosts() (hosts []string) {
	for _, r := range f.asked {
		hosts = append(hosts, r.host)
	}
	slices.Sort(hosts)
	return hosts
}

func TestHostsAreFoundAsReadersMakeLinks(t *testing.T) {
	const html = true
	for name, c := range map[string]struct {
		html    bool
		charset string
		text    string
		want    string // with commas
	}{
		"plain":                          {!html, "", "see https://evil.example/login?x=1 now", "evil.example"},
		"upper case":                     {!html, "", "HTTPS://EVIL.Example/", "evil.example"},
		"a full stop behind":             {!html, "", "go to https://evil.example.", "evil.example"},
		"brackets around":                {!html, "", "(https://evil.example), <https://other.example>", "evil.example,other.example"},
		"a port":                         {!html, "", "https://evil.example:8443/x", "evil.example"},
		"user information":               {!html, "", "https://www.good.example@evil.example/", "evil.example"},
		"user information with a colon":  {!html, "", "https://www.good.example:80@evil.example/", "evil.example"},
		"user information, twice":        {!html, "", "https://a@b@evil.example/", "evil.example"},
		"a word that is a domain":        {!html, "", "visit evil.com today", "evil.com"},
		"www":                            {!html, "", "visit www.evil.com today", "www.evil.com"},
		"a redirection in a query":       {!html, "", "https://good.example/?to=https://evil.example/x", "evil.example,good.example"},
		"an address of mail":             {!html, "", "write to anna@evil.com", ""},
		"no domain":                      {!html, "", "the file report.docx and e.g. v1.2.3, 10.30", ""},
		"percent signs":                  {!html, "", "https://%65vil.exam%70le/", "evil.example"},
		"other letters":                  {!html, "utf-8", "https://bücher.example/", "xn--bcher-kva.example"},
		"other letters in Latin 1":       {!html, "iso-8859-1", "https://b\xfccher.example/", "xn--bcher-kva.example"},
		"wide letters and full stop":     {!html, "", "https://ｅｖｉｌ。example/", "evil.example"},
		"letters that cannot be seen":    {!html, "", "https://ev\u200bil.exa\u00admple/", "evil.example"},
		"UTF-16":                         {!html, "utf-16le", "h\x00t\x00t\x00p\x00:\x00/\x00/\x00e\x00v\x00.\x00e\x00x\x00a\x00m\x00p\x00l\x00e\x00", "ev.example"},
		"href":                           {html, "", `<a href="https://evil.example/">good.example</a>`, "evil.example"},
		"href without quotes":            {html, "", `<a href=https://evil.example/x>x</a>`, "evil.example"},
		"entities":                       {html, "", `<a href="&#104;ttps&colon;//evil&#46;example&sol;">x</a>`, "evil.example"},
		"entities in text":               {html, "", `<p>https:&#x2f;&#x2f;evil.example`, "evil.example"},
		"controls in a reference":        {html, "", "<a href=\"ht\ntps:/\t/ev\nil.example\">x</a>", "evil.example"},
		"backslashes":                    {html, "", `<a href="https:\\evil.example\x">x</a>`, "evil.example"},
		"one slash":                      {html, "", `<a href="https:/evil.example/">x</a>`, "evil.example"},
		"no slash":                       {html, "", `<a href="https:evil.example">x</a>`, "evil.example"},
		"no scheme":                      {html, "", `<img src="//evil.example/x.png">`, "evil.example"},
		"a form":                         {html, "", `<form action="https://evil.example/post"><button formaction=//other.example/>`, "evil.example,other.example"},
		"a refresh":                      {html, "", `<meta http-equiv=refresh content="0; url=https://evil.example/">`, "evil.example"},
		"a style":                        {html, "", `<p style="background:url(https://evil.example/x.png)">`, "evil.example"},
		"a conditional comment":          {html, "", `<!--[if mso]><a href="https://evil.example/">x</a><![endif]-->`, "evil.example"},
		"an unfinished tag":              {html, "", `<a href="https://evil.example/`, ""},
		"namespaces are no links":        {html, "", `<html xmlns="http://www.w3.org/1999/xhtml" xmlns:o="http://schemas.example/office">`, ""},
		"an address in place of a name":  {!html, "", "http://192.0.2.1/", ""},
		"the same host twice":            {!html, "", "https://evil.example/ https://EVIL.example./", "evil.example"},
		"own domains and those to leave": {!html, "", "https://www.own.example/ https://skip.example/ https://notown.example/", "notown.example"},
	} {
		t.Run(name, func(t *testing.T) {
			f := finder(t, func(o *Options) { o.Own, o.Config.Skip = []string{"own.example"}, []string{"Skip.example."} })
			f.Text(c.html, c.charset, []byte(c.text))
			if got := strings.Join(f.hosts(), ","); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestAddressesAreFoundInEveryForm(t *testing.T) {
	for _, s := range []string{"192.0.2.1", "3221225985", "0xC0000201", "192.0.513", "0300.0.2.1", "[::ffff:192.0.2.1]", "%31%392.0.2.1"} {
		if got := hostOf(s); got != "192.0.2.1" {
			t.Errorf("%s is %q", s, got)
		}
	}
	for _, s := range []string{"256.0.2.1", "1.2.3.4.5", "1..2", "[x]", "", "localhost", strings.Repeat("a", 64) + ".example"} {
		if got := hostOf(s); got != "" {
			t.Errorf("%s is %q", s, got)
		}
	}
}

// TestTwentyHostsAreDrawn: which of many hosts are asked about is drawn for each
// message, and none is favoured.
func TestTwentyHostsAreDrawn(t *testing.T) {
	f := finder(t, nil)
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "https://host%d.example/ ", i)
	}
	drawn := map[string]int{}
	for range 200 {
		g := f.lists.Find()
		g.Text(false, "", []byte(text.String()))
		if len(g.asked) != maxAsked || g.names != 100 {
			t.Fatalf("%d asked of %d", len(g.asked), g.names)
		}
		for _, h := range g.hosts() {
			drawn[h]++
		}
	}
	for h, n := range drawn {
		if n < 15 || n > 75 { // 40 is expected, with a deviation of 6
			t.Errorf("%s was drawn %d times of 200", h, n)
		}
	}
	if len(drawn) != 100 {
		t.Errorf("%d hosts were ever drawn", len(drawn))
	}
}

func TestFilesAreListsInManyForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("# a comment\r\n\r\nevil.example # why\nhttps://page.example/x?y\n0.0.0.0 hosts.example\n127.0.0.1\tlocalhost\n"+
		".below.example\n*.star.example\nBücher.example\n192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newHostFile(path)
	if f.refresh(); f.err() != nil {
		t.Fatal(f.err())
	}
	for host, want := range map[string]bool{
		"evil.example": true, "www.evil.example": false, "page.example": true, "hosts.example": true, "below.example": true, "a.b.below.example": true,
		"notbelow.example": false, "x.star.example": true, "xn--bcher-kva.example": true, "192.0.2.1": true, "localhost": false, "example": false,
	} {
		if f.has(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	f := newHostFile(path)
	if f.refresh(); f.err() == nil || f.has("evil.example") {
		t.Error("a file that is not there")
	}
	write := func(text string, at time.Time) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	write("evil.example\n", now)
	if f.refresh(); f.err() != nil || !f.has("evil.example") {
		t.Error(f.err())
	}
	if f.refresh() {
		t.Error("read again without a change")
	}
	write("ev.example\n", now.Add(time.Second))
	if f.refresh(); f.has("evil.example") || !f.has("ev.example") {
		t.Error("not read again")
	}
	write("<html> an error page\nof the feed, say\n", now.Add(2*time.Second))
	if f.refresh(); f.err() == nil || !f.has("ev.example") {
		t.Error("what was read before is gone, or nothing is wrong")
	}
	os.Remove(path)
	if f.refresh(); f.err() == nil || !f.has("ev.example") {
		t.Error("what was read before is gone, or nothing is wrong")
	}
}

// FuzzText: no text makes a finder panic or find what cannot be asked for.
func FuzzText(f *testing.F) {
	f.Add(true, "utf-8", []byte(`<a href="https://a@%65vil.example:1/&#46;">www.x.com</a>`))
	f.Add(false, "utf-16le", []byte("h\x00t\x00t\x00p\x00:\x00/\x00/\x00a\x00.\x00b\x00"))
	f.Fuzz(func(t *testing.T, html bool, charset string, text []byte) {
		g := (&Lists{skip: map[string]bool{}}).Find()
		g.Text(html, charset, text)
		for _, h := range g.hosts() {
			if h == "" || len(h) > 253 || strings.ContainsFunc(h, notInName) || hostOf(h) != h {
				t.Errorf("%q, and once more %q", h, hostOf(h))
			}
		}
	})
}

func BenchmarkText(b *testing.B) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "<p>Word word <a href=\"https://host%d.example/%d\">www.host%d.com</a> word\n", i, rand.Int(), i)
	}
	f := finder(b, nil)
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		f.lists.Find().Text(true, "", []byte(text.String()))
	}
}
