package provider

import (
	"strings"
	"testing"
)

func TestHostsAreGrouped(t *testing.T) {
	g, err := New(map[string]Config{
		"google":  {Connections: 3},
		"partner": {MX: []string{"*.Mx.Partner.Example.", "mail.partner.example"}},
		"inner":   {MX: []string{"*.deep.mx.partner.example"}},
		"mine":    {MX: []string{"*.yahoodns.net"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"aspmx.l.google.com": "google", "ASPMX.L.GOOGLE.COM.": "google", "alt1.aspmx.l.google.com": "google", "smtp.google.com": "google", "aspmx2.googlemail.com": "google",
		"example-com.mail.protection.outlook.com": "office365", "hotmail-com.olc.protection.outlook.com": "outlook", "example-com.p-v1.mx.microsoft": "office365",
		"mx01.mail.icloud.com": "apple", "smtp-in.orange.fr": "orange", "mx1a1.mxge.comcast.net": "comcast", "mx00.t-online.de": "t-online",
		"a.mx.partner.example": "partner", "a.b.mx.partner.example": "partner", "mail.partner.example": "partner", "x.deep.mx.partner.example": "inner",
		"mta5.am0.yahoodns.net": "mine",
		// What looks alike is nobody's.
		"google.com": Other, "aspmx.l.google.com.evil.example": Other, "google.com.evil.example": Other, "notgoogle.com": Other, "a.notgoogle.com": Other,
		"aspmx-l-google-com.example": Other, "mx.partner.example": Other, "mail.partner.example.net": Other,
		"xn--ggle-55da.com": Other, "aspmx.l.xn--ggle-55da.com": Other, "aspmx.l.g\u043e\u043egle.com": Other, "": Other, ".": Other, "com": Other, "..google.com": "google",
		// The line of a customer of an access provider is not its mail host.
		"c-73-1-2-3.hsd1.ca.comcast.net": Other, "lns-bzn-1.abo.wanadoo.fr": Other, "p5b0a.dip.t-online.de": Other, "mx00.t-online.de.example": Other,
	} {
		if got := NameOf(g.OfHost(host)); got != want {
			t.Errorf("%q is in %s, want %s", host, got, want)
		}
	}
	if got := g.byName["google"]; got.Connections != 3 || got.MessagesPerConnection != 50 || got.TLS != Required {
		t.Errorf("%+v", got)
	}
	if g.byName["yahoo"] == nil || g.byName[Other] != nil || g.byName["nobody"] != nil {
		t.Error("names")
	}
	if n := g.Names(); n[len(n)-1] != Other || len(n) != len(table)+4 {
		t.Errorf("%v", n)
	}
	if (*Groups)(nil).OfHost("smtp.google.com") != nil || (*Groups)(nil).Of([]string{"smtp.google.com"}) != nil {
		t.Error("no groups know a host")
	}
}

// TestDomainIsInTheGroupOfItsFirstHostThatHasOne: a part of the mail is enough, in
// whatever order DNS gives equals, and however many others there are.
func TestDomainIsInTheGroupOfItsFirstHostThatHasOne(t *testing.T) {
	g, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]string, 64)
	for i := range many {
		many[i] = strings.Repeat("a", i%50+1) + ".evil.example"
	}
	for _, row := range []struct {
		hosts []string
		want  string
	}{
		{nil, Other},
		{[]string{"mx.example.net"}, Other},
		{[]string{"mx.example.net", "aspmx.l.google.com"}, "google"},
		{[]string{"a-com.mail.protection.outlook.com", "aspmx.l.google.com"}, "office365"},
		{append(many, "aspmx.l.google.com"), "google"},
	} {
		if got := NameOf(g.Of(row.hosts)); got != row.want {
			t.Errorf("%v: %s, want %s", row.hosts, got, row.want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, row := range []struct {
		name string
		c    Config
		want string // part of the first problem; "": there is none
	}{
		{"google", Config{}, ""},
		{"mine", Config{}, "provider.mine.mx: missing"},
		{Other, Config{MX: []string{"mx.example.net"}}, "provider.other: is the group of all"},
		{"mine", Config{MX: []string{"*.com"}}, "not the name of a host"},
		{"mine", Config{MX: []string{"*"}}, "not the name of a host"},
		{"mine", Config{MX: []string{""}}, "not the name of a host"},
		{"mine", Config{MX: []string{"mx*.example.net"}}, "not the name of a host"},
		{"mine", Config{MX: []string{"m\u00fcller.example"}}, "not the name of a host"},
		{"mine", Config{MX: []string{"*.example.net"}, Connections: -1}, "not from 1 to 1000"},
		{"mine", Config{MX: []string{"*.example.net"}, MessagesPerConnection: 1 << 20}, "not from 1 to 100000"},
	} {
		var problems []string
		row.c.Check(func(key, problem string) { problems = append(problems, key+": "+problem) })
		if _, err := New(map[string]Config{row.name: row.c}); err != nil {
			problems = append(problems, err.Error())
		}
		if all := strings.Join(problems, "\n"); row.want == "" && all != "" || !strings.Contains(all, row.want) {
			t.Errorf("%s %+v: %q", row.name, row.c, all)
		}
	}
	if _, err := New(map[string]Config{"a": {MX: []string{"*.example.net"}}, "b": {MX: []string{"*.EXAMPLE.net"}}}); err == nil || !strings.Contains(err.Error(), `provider.b.mx.0: "*.EXAMPLE.net" stands in [provider.a], too`) {
		t.Errorf("%v", err)
	}
}

func TestTableIsSound(t *testing.T) {
	seen := map[string]string{}
	for _, g := range table {
		if g.Name == "" || g.Name == Other || len(g.MX) == 0 {
			t.Errorf("%+v", g)
		}
		for _, p := range g.MX {
			if n, err := normal(p); err != nil || n != p || seen[p] != "" {
				t.Errorf("%s: %q, %v, also in %q", g.Name, p, err, seen[p])
			}
			seen[p] = g.Name
		}
	}
}

func FuzzRate(f *testing.F) {
	for _, s := range []string{"20/1s", "1/24h", "", "/", "0/1s", "-1/1s", "20/0s", "20/1", "99999999999999999999/1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var r, again Rate
		if r.UnmarshalText([]byte(s)) != nil {
			return
		}
		if r.N < 1 || r.Per <= 0 {
			t.Fatalf("%q is %+v", s, r)
		}
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Fatalf("%q is %v, and %v again (%v)", s, r, again, err)
		}
	})
}

func FuzzOfHost(f *testing.F) {
	g, err := New(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("aspmx.l.google.com")
	f.Add("google.com.evil.example")
	f.Fuzz(func(t *testing.T, name string) {
		low := strings.ToLower(strings.TrimSuffix(name, "."))
		in := g.OfHost(name) == g.byName["google"]
		if want := strings.HasSuffix(low, ".google.com") || strings.HasSuffix(low, ".googlemail.com"); in != want && g.OfHost(name) == nil {
			t.Fatalf("%q: %v", name, in)
		}
	})
}
