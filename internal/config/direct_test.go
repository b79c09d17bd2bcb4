package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestExceptionsOfDomains: names are those that recipients have, and what cannot be is
// said at load.
func TestExceptionsOfDomains(t *testing.T) {
	t.Parallel()
	const head = "hostname = \"relay.example.org\"\n[listener.m]\naddress = \"127.0.0.1:2525\"\n[client.c]\nnetworks = [\"127.0.0.1/32\"]\nsenders = [\"@example.org\"]\n" +
		"stream = \"s\"\n[stream.s]\nupstream = \"w\"\n[upstream.w]\n"
	for _, row := range []struct{ name, text, want string }{
		{"one", "mx = true\n[upstream.w.domain.\"Partner.Example\"]\ntls = \"verified\"\nhosts = [\"mx.partner.example:2525\"]\n", ""},
		{"a name with umlauts", "mx = true\n[upstream.w.domain.\"b\u00fccher.example\"]\ntls = \"verified\"\n", ""},
		{"no mx", "hosts = [\"a.example\"]\n[upstream.w.domain.\"partner.example\"]\ntls = \"verified\"\n", "upstream.w.domain: does something with mx = true only"},
		{"no domain", "mx = true\n[upstream.w.domain.\"a..b\"]\ntls = \"verified\"\n", `upstream.w.domain."a..b": is not a domain`},
		{"one twice", "mx = true\n[upstream.w.domain.\"a.example\"]\n[upstream.w.domain.\"A.example\"]\n", `upstream.w.domain."a.example": is the same domain`},
		{"a host that is none", "mx = true\n[upstream.w.domain.\"a.example\"]\nhosts = [\"a b\"]\n", `upstream.w.domain."a.example".hosts.0: "a b" is not a host`},
		{"a private address", "mx = true\n[upstream.w.domain.\"a.example\"]\nhosts = [\"10.0.0.1\"]\n", `hosts.0: no mail goes there: private; add it to allow_networks`},
		{"a private address that is allowed", "mx = true\nallow_networks = [\"10.0.0.0/8\"]\n[upstream.w.domain.\"a.example\"]\nhosts = [\"10.0.0.1\"]\n", ""},
		{"an address, verified", "mx = true\n[upstream.w.domain.\"a.example\"]\ntls = \"verified\"\nhosts = [\"11.0.0.1\"]\n", `hosts.0: is an address, for which no certificate can be verified`},
		{"an unknown word", "mx = true\n[upstream.w.domain.\"a.example\"]\ntls = \"strict\"\n", `upstream.w.domain."a.example".tls: "strict" is unknown`},
	} {
		path := filepath.Join(t.TempDir(), "relay.toml")
		write(t, path, []byte(head+row.text))
		f, _, err := Load(path)
		if row.want == "" {
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
				continue
			}
			for domain := range f.Upstream["w"].Domain {
				if domain != "partner.example" && domain != "xn--bcher-kva.example" && domain != "a.example" {
					t.Errorf("%s: the domain is %q", row.name, domain)
				}
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}
