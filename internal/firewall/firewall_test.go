package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/mx"
	"postern/upstream"
)

func TestRules(t *testing.T) {
	direct := upstream.Config{Config: mx.Config{MX: true, Port: 25}}
	for _, row := range []struct {
		name   string
		up     upstream.Config
		o      Options
		has    []string
		hasNot []string
	}{
		{"to exchangers", direct, Options{Users: []string{"postern"}},
			[]string{"tcp dport { 25 } meta skuid { \"postern\" } accept\n\t\ttcp dport { 25 } counter reject", "oifname \"lo\" accept"}, []string{"saddr", "-user"}},
		{"to exchangers at another port", upstream.Config{Config: mx.Config{MX: true, Port: 2525}}, Options{Users: []string{"postern"}},
			[]string{"tcp dport { 25, 2525 } meta skuid"}, nil},
		{"to a provider", upstream.Config{Hosts: []string{"smtp.provider.example:587"}}, Options{Users: []string{"postern"}},
			[]string{"# no upstream is on port 25", "\t\ttcp dport { 25 } counter reject"}, []string{"skuid"}},
		{"to hosts of one domain", upstream.Config{Config: mx.Config{MX: true, Port: 2525}, Domain: map[string]upstream.Exception{"partner.example": {Hosts: []string{"mail.partner.example", "127.0.0.1:10025"}}}},
			Options{Users: []string{"postern", "postfix"}}, []string{"tcp dport { 25, 2525 } meta skuid", "is a program on this machine (127.0.0.1:10025)"}, nil},
		{"to a gateway", upstream.Config{Hosts: []string{"gateway.example"}}, Options{Users: []string{"postern"}},
			[]string{"tcp dport { 25 } meta skuid { \"postern\" } accept"}, nil},
		{"to a program here", upstream.Config{Hosts: []string{"[::1]:10025"}}, Options{Users: []string{"postern", "postfix"}},
			[]string{"# upstream up is a program on this machine ([::1]:10025)", "meta skuid { \"postern\", \"postfix\" } accept"}, nil},
		{"from a container", direct, Options{Users: []string{"postern"}, Forwarded: []netip.Addr{netip.MustParseAddr("172.18.0.2"), netip.MustParseAddr("fd00::2")}},
			[]string{"ip saddr 172.18.0.2 tcp dport { 25 } accept", "ip6 saddr fd00::2 tcp dport { 25 } accept"}, nil},
	} {
		f := &config.File{Upstream: map[string]config.UpstreamConfig{"up": {Config: row.up}}}
		var b strings.Builder
		if err := Write(&b, f, row.o); err != nil {
			t.Fatal(err)
		}
		for _, want := range row.has {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in\n%s", row.name, want, &b)
			}
		}
		for _, not := range row.hasNot {
			if strings.Contains(b.String(), not) {
				t.Errorf("%s: %q in\n%s", row.name, not, &b)
			}
		}
		if strings.Count(b.String(), "{\n") != strings.Count(b.String(), "}\n")-strings.Count(b.String(), "} }\n") {
			t.Errorf("%s: brackets\n%s", row.name, &b)
		}
	}
}

// TestUsersAreNames: they become part of a program that root runs.
func TestUsersAreNames(t *testing.T) {
	for user, want := range map[string]bool{"postern": true, "_relay-1.x": true, "1000": true, "": false, `x" } accept #`: false, "a b": false, strings.Repeat("x", 33): false} {
		if err := (Options{Users: []string{user}}).Check(); (err == nil) != want {
			t.Errorf("%q: %v", user, err)
		}
	}
}
