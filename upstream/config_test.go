package upstream

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestConfigCheckNamesEveryProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(*Config)
		want string // keys, sorted
	}{
		"a host is enough":              {func(c *Config) { c.Hosts = []string{"a.example"} }, ""},
		"nothing at all":                {func(c *Config) {}, "hosts"},
		"capture alone":                 {func(c *Config) { c.Capture = "outbox" }, ""},
		"capture and hosts":             {func(c *Config) { c.Capture = "outbox"; c.Hosts = []string{"a"} }, "capture"},
		"address literals":              {func(c *Config) { c.Hosts = []string{"[2001:db8::1]:587", "192.0.2.1", "2001:db8::2"} }, ""},
		"bad port and bad name":         {func(c *Config) { c.Hosts = []string{"a:0", "a:x", "a b:25", ":25", ""} }, "hosts.0 hosts.1 hosts.2 hosts.3 hosts.4"},
		"the same host twice":           {func(c *Config) { c.Hosts = []string{"a.example", "a.example.:25"} }, "hosts.1"},
		"port 465 without implicit TLS": {func(c *Config) { c.Hosts = []string{"a:465"} }, "hosts.0"},
		"password in plain text": {func(c *Config) {
			c.Hosts = []string{"a"}
			c.TLS = EncryptOpportunistic
			c.Username, c.Password = "u", "p"
		}, "tls"},
		"user without password":                 {func(c *Config) { c.Hosts = []string{"a"}; c.Username = "u" }, "password"},
		"password without user, with a newline": {func(c *Config) { c.Hosts = []string{"a"}; c.Password = "p\n" }, "password username"},
		"numbers":                               {func(c *Config) { c.Hosts = []string{"a"}; c.MaxConnections, c.IdleTimeout = 0, -1 }, "idle_timeout max_connections"},
		"a CA that nobody looks at":             {func(c *Config) { c.Hosts = []string{"a"}; c.TLS = EncryptRequired; c.CA = "x" }, "ca"},
		"off with TLS settings":                 {func(c *Config) { c.Hosts = []string{"a"}; c.TLS = EncryptOff; c.ImplicitTLS = true }, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			var c Config
			c.SetDefaults()
			tc.set(&c)
			got := map[string]bool{}
			c.Check(func(key, problem string) {
				got[key] = true
				if !strings.Contains(problem, ";") {
					t.Errorf("%s: %q names no fix", key, problem)
				}
			})
			if s := strings.Join(slices.Sorted(maps.Keys(got)), " "); s != tc.want {
				t.Errorf("keys %q, want %q", s, tc.want)
			}
		})
	}
}

func TestTLSPolicyRefusesBlank(t *testing.T) {
	var p TLSPolicy
	if p.UnmarshalText([]byte("")) == nil || p.UnmarshalText([]byte("Verified")) == nil {
		t.Error("accepted")
	}
	if err := p.UnmarshalText([]byte("required")); err != nil || p != EncryptRequired {
		t.Errorf("%q, %v", p, err)
	}
}
