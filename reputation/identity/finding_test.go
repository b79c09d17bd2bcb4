package identity

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/resolve"
)

func TestExitStatusPutsFailuresFirst(t *testing.T) {
	cases := []struct {
		s    Summary
		want int
	}{{Summary{Pass: 3}, 0}, {Summary{Pass: 1, Warn: 2}, 0}, {Summary{Pass: 1, Unknown: 1}, 3}, {Summary{Fail: 1, Unknown: 5}, 1}, {Summary{}, 0}}
	for _, c := range cases {
		if got := c.s.ExitStatus(); got != c.want {
			t.Errorf("%+v: status %d, want %d", c.s, got, c.want)
		}
	}
}

func TestTableShowsTheWorstFirstAndTheRecord(t *testing.T) {
	fs := []Finding{
		{Check: "mx", Status: Pass, Subject: "a.example", Asked: "MX a.example", Seen: "10 mx.a.example."},
		{Check: "spf", Status: Fail, Subject: "a.example from 192.0.2.1", Stream: "main", Asked: "TXT a.example", Seen: "fail by -all",
			Change: "let 192.0.2.1 send", Record: "one\ntwo", Rule: "RFC 7208 s. 4.6", Mechanism: "-all"},
	}
	sortFindings(fs)
	var b strings.Builder
	WriteTable(&b, fs)
	out := b.String()
	for _, want := range []string{"record: one", "record: two", "by:     -all", "see:    RFC 7208 s. 4.6", "1 fail, 0 unknown, 0 warn, 1 pass"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Index(out, "spf") > strings.Index(out, "mx") {
		t.Errorf("the failure does not come first:\n%s", out)
	}
}

func TestNothingFromOutsideMovesTheCursor(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[2Jb": "a?[2Jb", "x\r\ny": "x??y", "\u009bq": "?q", "\u2028": "?", "\xff": "?", "ü": "ü"} {
		if got := resolve.Printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if n := len(resolve.Printable(strings.Repeat("ü", 1000))); n > 600 {
		t.Errorf("%d octets", n)
	}
}

func TestGeneratedNamesAreTold(t *testing.T) {
	v4, v6 := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::a:b")
	for _, name := range []string{"203-0-113-7.isp.example", "host7.113.0.203.isp.example", "ip203000113007.isp.example", "cb007107.isp.example",
		"dyn-12.isp.example", "x.pool.isp.example", "p5.dsl3.isp.example", "customer.static.isp.example", "client.isp.co.uk", "ec2-203-0-113-7.compute-1.amazonaws.com",
		"203-0-113-7.dyndns.org"} {
		if generated(name, v4) == "" {
			t.Errorf("%s was not told", name)
		}
	}
	for _, name := range []string{"mail.client.co.uk", "mail.pool.com.br", "client.org.uk", "mail.203-0-113-7-hosting.example", "203-0-113-7.co.uk", "mail.dyn.jp",
		"mail.example.org", "mx203.example.org", "out-7.example.org", "relay.pool.example", "smtp113.cast.example.org", "express.example.org"} {
		if generated(name, v4) != "" {
			t.Errorf("%s was taken for a generated name", name)
		}
	}
	if generated("2001-db8--a-b.isp.example", v6) == "" || generated("host-00000000000a000b.isp.example", v6) == "" || generated("mail.example.org", v6) != "" {
		t.Error("names of IPv6 addresses")
	}
}

func TestTXTRecordIsSplitAndQuoted(t *testing.T) {
	got := txtRecord("d.example", strings.Repeat("a", 300)+`"\`)
	if want := `d.example. IN TXT "` + strings.Repeat("a", 255) + `" "` + strings.Repeat("a", 45) + `\"\\"`; got != want {
		t.Errorf("got %s", got)
	}
}
