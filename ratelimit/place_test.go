package ratelimit_test

import (
	"net/netip"
	"strings"
	"testing"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

var office = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:20::/48")}

// testNetworks: mail counts by where it comes from, a submitter's by its own address
// and behind the header, and what nobody knows lies outside.
func testNetworks(t *testing.T, bed storetest.Bed) {
	per := ratelimit.Per{ratelimit.PerClientIP, ratelimit.PerSender}
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"in":  {Per: per, Networks: office, Messages: storetest.Numbers(t, "2/1h")},
		"out": {Per: per, NotNetworks: office, Messages: storetest.Numbers(t, "1/1h")},
	})
	for i, row := range []struct {
		name, ip, submitter string
		tells               bool
		want                string
	}{
		{"from the office", "192.0.2.200", "", false, "++in"},
		{"from the office by IPv6", "2001:db8:20:1::7", "", false, "++in"},
		{"from the office as IPv6 writes it", "::ffff:192.0.2.7", "", false, "++in"},
		{"from outside", "198.51.100.7", "", false, "+out"},
		{"from outside by IPv6", "2001:db8:21::7", "", false, "+out"},
		{"from where nobody knows", "unknown", "", false, "+out"},
		{"from where nobody said", "", "", false, "+out"},
		{"a submitter in the office", "198.51.100.7", "192.0.2.9", true, "++in"},
		{"a submitter outside, whose MTA is in the office", "192.0.2.1", "203.0.113.9", true, "+out"},
		{"a submitter of whom the MTA tells no address", "192.0.2.1", "", true, "+out"},
		{"a submitter of whom it tells nonsense", "192.0.2.1", "192.0.2.9/24", true, "+out"},
		{"what no client may tell does not count", "198.51.100.7", "192.0.2.9", false, "+out"},
	} {
		f := storetest.FactsOf(string(rune('a'+i))+"@shop.example", "shop.example")
		f.ClientIP, f.Tells = row.ip, row.tells
		var got strings.Builder
		for range 4 {
			a := l.Begin(f)
			to := []ratelimit.Recipient{storetest.At("r@x.example")}
			d := a.Recipients(t.Context(), to, nil)[0]
			if a.HeaderCame(ratelimit.Header{From: row.submitter}) && d.OK {
				d = a.Submitted(t.Context(), to, []int{0})
			}
			a.End()
			if !d.OK {
				got.WriteString(d.Limit)
				break
			}
			got.WriteByte('+')
		}
		if got.String() != row.want {
			t.Errorf("%s: %q, want %q", row.name, &got, row.want)
		}
	}
}

// TestExplainSaysFromWhere a limit counts.
func TestExplainSaysFromWhere(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"in":  {Per: ratelimit.Per{ratelimit.PerClient}, Networks: office[:1], Messages: storetest.Numbers(t, "2/1h")},
		"out": {Per: ratelimit.Per{ratelimit.PerClient}, NotNetworks: office[:1], Messages: storetest.Numbers(t, "1/1h")},
	})
	const only, not, unknown = "is for mail from 192.0.2.0/24 only", "does not count mail from 192.0.2.0/24", ", and it is not known from where this comes"
	for _, row := range []struct {
		name    string
		f       ratelimit.Facts
		in, out string
	}{
		{"inside", ratelimit.Facts{ClientIP: "192.0.2.7"}, "", not},
		{"outside", ratelimit.Facts{ClientIP: "198.51.100.7"}, only, ""},
		{"not said", ratelimit.Facts{}, only + unknown, ""},
		{"a submitter inside", ratelimit.Facts{Tells: true, ClientIP: "198.51.100.7", SubmitterIP: "192.0.2.7"}, "", not},
		{"wherever it may be", ratelimit.Facts{Anywhere: true}, "", ""},
	} {
		row.f.Client, row.f.Sender = "shop", "a@shop.example"
		all, err := l.Explain(t.Context(), row.f, storetest.At("r@x.example"))
		if err != nil || len(all) != 2 || all[0].Why != row.in || all[1].Why != row.out || all[0].Applies != (row.in == "") || all[1].Applies != (row.out == "") {
			t.Errorf("%s: %v, %+v", row.name, err, all)
		}
	}
}
