package mx

import (
	"net/netip"
	"testing"

	"postern/internal/dnstest"
)

// TestNamedHosts are asked in their order and port, and judged as all others; what is
// wrong with them is not a word about the domain.
func TestNamedHosts(t *testing.T) {
	zone := dnstest.StartZone(t, "a.example. 60 A 11.0.0.1", "b.example. 60 A 11.0.0.2", "p.example. 60 A 10.0.0.1", "six.example. 60 AAAA 2a00:1::1",
		"d.example. 60 MX 10 mx.d.example.", "mx.d.example. 60 A 11.0.0.9")
	f := newFinder(t, zone.Address, nil)
	v4 := Families{IPv4: true}
	for _, row := range []struct {
		hosts []Host
		want  string
	}{
		{[]Host{{"b.example", 25}, {"a.example", 2525}}, "b.example[11.0.0.2]:25 a.example[11.0.0.1]:2525"},
		{[]Host{{"11.0.0.3", 26}}, "[11.0.0.3]:26"},
		{[]Host{{"p.example", 25}, {"a.example", 25}}, "a.example[11.0.0.1]:25"},
		{[]Host{{"nowhere.example", 25}}, "named"},
		{[]Host{{"p.example", 25}}, "named"},
		{[]Host{{"10.0.0.1", 25}}, "named"},
		{[]Host{{self.Names[0], 25}}, "named"},
		{[]Host{{"six.example", 25}}, "family"},
	} {
		a, err := f.FindNamed(t.Context(), "d.example", row.hosts, v4)
		got := show(a, err)
		if len(a.Targets) > 0 {
			got = ""
			for _, target := range a.Targets {
				got += target.String() + " "
			}
			got = got[:len(got)-1]
		}
		if got != row.want || a.Problem != None {
			t.Errorf("%v: %s, want %s", row.hosts, got, row.want)
		}
	}
	if _, err := f.FindNamed(t.Context(), "d.example", []Host{{"a.example", 25}}, v4); err != nil {
		t.Error(err)
	}
	f = newFinder(t, zone.Address, func(o *Options) { o.Config.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	if a, err := f.FindNamed(t.Context(), "d.example", []Host{{"p.example", 25}}, v4); err != nil || len(a.Targets) != 1 {
		t.Error(a.Targets, err)
	}
}
