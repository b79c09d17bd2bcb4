package submitter

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// header yields the fields of a text with LF, the topmost first.
func header(text string) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, body []byte) bool) {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for i := 0; i < len(lines); {
			field := lines[i]
			for i++; i < len(lines) && strings.HasPrefix(lines[i], "\t"); i++ {
				field += "\r\n" + lines[i]
			}
			name, body, _ := strings.Cut(field, ":")
			if !yield([]byte(name), []byte(body+"\r\n")) {
				return
			}
		}
	}
}

func reader(t testing.TB, cfg Config) *Reader {
	t.Helper()
	cfg.Check("mta", func(key, problem string) { t.Fatalf("%s %s", key, problem) })
	return New("mta", cfg, nil)
}

const (
	postfixLine = `Received: from laptop.example.org (unknown [203.0.113.7])
	(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
	 key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)
	(No client certificate requested)
	(Authenticated sender: Anna@Example.org)
	by mta.example.org (Postfix) with ESMTPSA id 4XYZ1
	for <"x (Authenticated sender: bob)"@dest.example>; Mon, 30 Nov 2026 10:00:00 +0000 (UTC)
`
	forged = `Received: from x (x [198.51.100.9])
	(Authenticated sender: bob@example.org)
	by mta.example.org (Postfix) with ESMTPSA id 4FFFF; Mon, 30 Nov 2026 09:00:00 +0000 (UTC)
`
)

func TestHintsOfReceivedLines(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		submitter    string // behind "mta/"
		addr         string
	}{
		{"Postfix", postfixLine, "anna@example.org", "203.0.113.7"},
		{"Postfix, IPv6", "Received: from [IPv6:2001:db8::9] (h.example [IPv6:2001:db8::7])\n\t(Authenticated sender: anna)\n\tby MTA.example.org (Postfix) with ESMTPA id 1; Mon\n", "anna", "2001:db8::7"},
		{"Postfix, only the topmost line counts", postfixLine + forged, "anna@example.org", "203.0.113.7"},
		{"Postfix, from sendmail(1)", "Received: by mta.example.org (Postfix, from userid 33)\n\tid 4XYZ; Mon\n", "userid:33", ""},
		{"Postfix, no AUTH", "Received: from lan.example.org (lan.example.org [192.0.2.3])\n\tby mta.example.org (Postfix) with ESMTP id 1; Mon\n" + forged, "", "192.0.2.3"},
		{"Exim, local", "Received: from www-data by mta.example.org with local (Exim 4.98)\n\t(envelope-from <a@example.org>)\n\tid 1; Mon\n", "www-data", ""},
		{"Exim, by SMTP", "Received: from [203.0.113.7] (helo=[198.51.100.1])\n\tby mta.example.org with esmtpsa (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.98) id 1; Mon\n", "", "203.0.113.7"},
		{"Exim, with rDNS", "Received: from h.example ([203.0.113.7] helo=[198.51.100.1])\n\tby mta.example.org with esmtpsa (Exim 4.98) id 1; Mon\n", "", "203.0.113.7"},
		{"Exim, a HELO that says local", "Received: from anna (helo=x)\n\tby mta.example.org with local (Exim 4.98) id 1; Mon\n", "", ""},
		{"Dovecot submission", "Received: from laptop ([203.0.113.7])\n\t(using TLSv1.3 with cipher X (256/256 bits))\n\tby mta.example.org with ESMTPSA\n\tid abc\n\t(envelope-from <a@example.org>)\n\tfor <b@dest.example>; Mon\n", "", "203.0.113.7"},
		{"Courier", "Received: from laptop ([::ffff:203.0.113.7])\n\t(AUTH: LOGIN anna@example.org, TLS: TLSv1.3,256bits)\n\tby mta.example.org with ESMTPSA; Mon\n", "anna@example.org", "203.0.113.7"},
		{"OpenSMTPD", "Received: from h (h.example [203.0.113.7])\n\tby mta.example.org (OpenSMTPD) with ESMTPSA id 1 (TLSv1.3:X:256:NO) auth=yes user=anna;\n\tMon\n", "anna", "203.0.113.7"},
		{"OpenSMTPD, without the host", "Received: \n\tby mta.example.org (OpenSMTPD) with ESMTPSA id 1 auth=yes user=anna\n\tfor <x@y.example>; Mon\n", "anna", ""},
		{"a HELO by", "Received: from by (x [203.0.113.7]) (Authenticated sender: anna)\n\tby mta.example.org (Postfix) id 1; Mon\n", "anna", "203.0.113.7"},
		{"a comment within a comment", "Received: from x ((Authenticated sender: bob) [203.0.113.7])\n\tby mta.example.org (Postfix) id 1; Mon\n", "", "203.0.113.7"},
		{"in a comment behind by", "Received: from x (x [203.0.113.7]) by mta.example.org (Authenticated sender: bob) id 1; Mon\n", "", "203.0.113.7"},
		{"another host's line", strings.ReplaceAll(forged, "mta.example.org", "evil.example"), "", ""},
		{"two names", "Received: from x (x [203.0.113.7]) (Authenticated sender: bob) (Authenticated sender: anna) by mta.example.org (Postfix) id 1; Mon\n", "", "203.0.113.7"},
		{"a name of two words", "Received: from x (x [203.0.113.7]) (Authenticated sender: an na) by mta.example.org (Postfix) id 1; Mon\n", "", "203.0.113.7"},
		{"a name too long", "Received: from x (x [203.0.113.7]) (Authenticated sender: " + strings.Repeat("a", 257) + ") by mta.example.org (Postfix) id 1; Mon\n", "", "203.0.113.7"},
		{"no name", "Received: from x (x [203.0.113.7]) (Authenticated sender: ) by mta.example.org (Postfix) id 1; Mon\n", "", "203.0.113.7"},
		{"a name with a parenthesis", "Received: from x (x [203.0.113.7]) (Authenticated sender: a)(b) by mta.example.org (Postfix) id 1; Mon\n", "a", "203.0.113.7"},
		{"a comment without end", "Received: from x (x [203.0.113.7]) (Authenticated sender: anna by mta.example.org (Postfix) id 1; Mon\n", "", ""},
		{"a loopback address says nothing", "Received: from localhost (localhost [127.0.0.1])\n\tby mta.example.org (Postfix) id 1; Mon\n", "", ""},
		{"no line", "Subject: x\n", "", ""},
	} {
		h := reader(t, Config{Submitter: []Source{"received-auth"}}).Read(header("X-First: 1\n"+tt.header), Asked{EHLO: "mta.example.org"})
		want := tt.submitter
		if want != "" {
			want = "mta/" + want
		}
		addr := ""
		if h.Addr.IsValid() {
			addr = h.Addr.String()
		}
		if h.Name != want || addr != tt.addr || (h.Name == "") == (h.Doubt == "") {
			t.Errorf("%s: %q from %q, doubt %q", tt.name, h.Name, addr, h.Doubt)
		}
	}
}

func TestAnotherNameBehindBy(t *testing.T) {
	r := reader(t, Config{Submitter: []Source{"received-auth"}, SubmitterBy: []string{"MTA.example.org"}})
	if h := r.Read(header(postfixLine), Asked{EHLO: "out.example.org"}); h.Name != "mta/anna@example.org" || h.Unmarked {
		t.Errorf("%+v", h)
	}
	r = reader(t, Config{Submitter: []Source{"received-auth"}})
	if h := r.Read(header(postfixLine), Asked{EHLO: "out.example.org"}); h.Name != "" || !h.Unmarked || h.Addr.IsValid() {
		t.Errorf("%+v", h)
	}
}

func TestHintsOfFields(t *testing.T) {
	for _, tt := range []struct{ name, source, header, want string }{
		{"the value", "header:X-AuthUser", "x-authuser: anna\n", "anna"},
		{"in angle brackets", "header:X-AuthUser", "X-AuthUser: <Anna@example.org>\n", "anna@example.org"},
		{"PHP", "header:X-PHP-Originating-Script", "X-PHP-Originating-Script: 1000:mailer.php\n", "1000:mailer.php"},
		{"cPanel", "header:X-Authenticated-Sender ^[^:]+: (.+)$", "X-Authenticated-Sender: host.example.org: anna@example.org\n", "anna@example.org"},
		{"Exchange", "header:X-MS-Exchange-CrossTenant-UserPrincipalName", "X-MS-Exchange-CrossTenant-UserPrincipalName: kpY+x/a==\n", "kpy+x/a=="},
		{"folded", "header:X-AuthUser", "X-AuthUser:\n\tanna\n", "anna"},
		{"no match", "header:X-AuthUser ^([0-9]+)$", "X-AuthUser: anna\n", ""},
		{"twice", "header:X-AuthUser", "X-AuthUser: anna\nX-AuthUser: bob\n", ""},
		{"twice the same", "header:X-AuthUser", "X-AuthUser: anna\nx-authuser: anna\n", ""},
		{"blank", "header:X-AuthUser", "X-AuthUser: \n", ""},
		{"too long", "header:X-AuthUser", "X-AuthUser: " + strings.Repeat("a", 257) + "\n", ""},
		{"far too long", "header:X-AuthUser (a)", "X-AuthUser: " + strings.Repeat("a", 5000) + "\n", ""},
		{"several words", "header:X-AuthUser", "X-AuthUser: anna bob\n", ""},
		{"not UTF-8", "header:X-AuthUser", "X-AuthUser: ann\xff\n", ""},
		{"an invisible letter", "header:X-AuthUser", "X-AuthUser: an\u200bna\n", ""},
		{"another field", "header:X-AuthUser", "X-AuthUsers: anna\n", ""},
	} {
		h := reader(t, Config{Submitter: []Source{Source(tt.source)}}).Read(header(tt.header), Asked{})
		want := tt.want
		if want != "" {
			want = "mta/" + want
		}
		if h.Name != want || (want == "") == (h.Doubt == "") || h.Unmarked {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
}

// TestFirstSourceWithANameCounts: who doubles the field of one source is told by the next.
func TestFirstSourceWithANameCounts(t *testing.T) {
	r := reader(t, Config{Submitter: []Source{"header:X-AuthUser", "received-auth", "xforward"}})
	ask := Asked{EHLO: "mta.example.org", Forwarded: netip.MustParseAddr("192.0.2.77")}
	h := r.Read(header("X-AuthUser: bob\nX-AuthUser: bob\n"+postfixLine), ask)
	if h.Name != "mta/anna@example.org" || h.Doubt != "" || h.Addr.String() != "192.0.2.77" {
		t.Errorf("%+v", h)
	}
	h = r.Read(header("X-AuthUser: bob\n"+postfixLine), ask)
	if h.Name != "mta/bob" {
		t.Errorf("%+v", h)
	}
	only := reader(t, Config{Submitter: []Source{"xforward"}})
	if h = only.Read(header(postfixLine), ask); h.Name != "" || h.Doubt != "" || h.Unmarked || h.Addr.String() != "192.0.2.77" {
		t.Errorf("%+v", h)
	}
}

// TestOfAHostInDoubtNoLineIsBelieved: its topmost line may be the sender's.
func TestOfAHostInDoubtNoLineIsBelieved(t *testing.T) {
	r := reader(t, Config{Submitter: []Source{"received-auth"}})
	if h := r.Read(header(forged), Asked{EHLO: "mta.example.org", Doubted: true}); h.Name != "" || h.Unmarked || h.Addr.IsValid() || h.Doubt == "" {
		t.Errorf("%+v", h)
	}
	m, now := NewMarks(), time.Unix(1_800_000_000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if !m.Missed("mta", a, now) || m.Missed("mta", a, now) {
		t.Error("the first time is told once")
	}
	if !m.Doubted("mta", a, now.Add(23*time.Hour)) || m.Doubted("mta", b, now) || m.Doubted("other", a, now) || m.Doubted("mta", a, now.Add(24*time.Hour)) {
		t.Error("doubted for a day, and nobody else")
	}
	for i := range 100_000 { // a compromised network cannot make us remember it all
		m.Missed("mta", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(m.doubted) > maxDoubted+2 || !m.Doubted("mta", b, now) {
		t.Errorf("%d hosts", len(m.doubted))
	}
	m.Missed("mta", b, now.Add(48*time.Hour))
	if len(m.doubted) > 3 {
		t.Errorf("%d hosts after two days", len(m.doubted))
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		client string
		cfg    Config
		want   string
	}{
		{"mta", Config{Submitter: []Source{"received-auth", "header:X-A", "header:X-B ^(.)$", "xforward"}, SubmitterBy: []string{"mta.example.org"}}, ""},
		{"a/b", Config{Submitter: []Source{"xforward"}}, "submitter needs a client"},
		{"mta", Config{Submitter: []Source{"received"}}, "is not a source"},
		{"mta", Config{Submitter: []Source{"header:"}}, "does not name a header field"},
		{"mta", Config{Submitter: []Source{"header:X A(b"}}, "no regular expression"},
		{"mta", Config{Submitter: []Source{"header:X-A ab"}}, "no regular expression"},
		{"mta", Config{Submitter: []Source{"header:from"}}, "every message has of itself"},
		{"mta", Config{Submitter: []Source{"xforward", "xforward"}}, "twice"},
		{"mta", Config{Submitter: []Source{"xforward"}, SubmitterBy: []string{"x"}}, "says nothing"},
		{"mta", Config{Submitter: []Source{"received-auth"}, SubmitterBy: []string{"x y"}}, "is not a host name"},
	} {
		var said []string
		tt.cfg.Check(tt.client, func(key, problem string) { said = append(said, key+" "+problem) })
		if got := strings.Join(said, "\n"); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %q", tt.cfg, got)
		}
	}
}

// FuzzReader: whatever is written below the MTA's own line changes nothing, and what
// is told is one word of bounded length.
func FuzzReader(f *testing.F) {
	f.Add(postfixLine, forged)
	f.Add("X-AuthUser: anna\n", "X-AuthUser: bob\n")
	f.Add("Received: from (a\\) (b) by c ((\n", "Received: by x <\"\n")
	f.Fuzz(func(t *testing.T, top, below string) {
		r := reader(t, Config{Submitter: []Source{"received-auth"}})
		ask := Asked{EHLO: "mta.example.org"}
		h := r.Read(header(top), ask)
		if h.Name != "" {
			name, ok := strings.CutPrefix(h.Name, "mta/")
			if !ok || name == "" || len(name) > 4*MaxName || strings.ContainsAny(name, " \t\r\n\x00<>") {
				t.Errorf("%q", h.Name)
			}
			if h.Unmarked {
				t.Errorf("a name from a line that is not the client's: %+v", h)
			}
		}
		if len(top) > 0 && strings.HasPrefix(strings.ToLower(top), "received:") && !strings.HasPrefix(below, "\t") {
			if again := r.Read(header(strings.TrimSuffix(top, "\n")+"\n"+below), ask); again.Name != h.Name || again.Addr != h.Addr {
				t.Errorf("%q below %q: %+v, not %+v", below, top, again, h)
			}
		}
		reader(t, Config{Submitter: []Source{"header:X-AuthUser"}}).Read(header(top+below), ask)
	})
}

func BenchmarkReader(b *testing.B) {
	r := reader(b, Config{Submitter: []Source{"received-auth"}})
	h := header(postfixLine + strings.Repeat("X-Field: value\n", 20))
	b.ReportAllocs()
	for b.Loop() {
		if r.Read(h, Asked{EHLO: "mta.example.org"}).Name == "" {
			b.Fatal("no name")
		}
	}
}

func ExampleReader_Read() {
	r := New("mta", Config{Submitter: []Source{"received-auth"}}, nil)
	h := r.Read(header(postfixLine), Asked{EHLO: "mta.example.org"})
	fmt.Println(h.Name, h.Addr)
	// Output: mta/anna@example.org 203.0.113.7
}
