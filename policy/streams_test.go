package policy

import (
	"maps"
	"slices"
	"testing"

	"postern/mail"
)

// TestStreamsOfClientsThatAPeerCanBecome: whichever client a peer is, or AUTH makes of
// it, its stream is among those; of clients that it cannot reach no stream is.
func TestStreamsOfClientsThatAPeerCanBecome(t *testing.T) {
	in := func(stream string, change func(c *ClientConfig)) ClientConfig {
		return client(func(c *ClientConfig) { c.Stream = stream; change(c) })
	}
	r := good(t, Config{Streams: map[string]StreamConfig{"net": {}, "user": {}, "any": {}, "tls": {}, "cert": {}, "both": {}, "sub": {}}, Clients: map[string]ClientConfig{
		"net":  in("net", func(c *ClientConfig) { c.Networks = networksOf("10.0.0.0/16") }),
		"host": in("net", func(c *ClientConfig) { c.Networks = networksOf("10.0.0.7/32") }),
		"user": in("user", func(c *ClientConfig) { c.Users = []string{"shop"}; c.Networks = networksOf("10.0.0.0/8") }),
		"any":  in("any", func(c *ClientConfig) { c.Users = []string{AnyUser}; c.Listeners = []string{"submission"} }),
		"tls":  in("tls", func(c *ClientConfig) { c.Networks = networksOf("10.3.0.0/16"); c.RequireTLS = true }),
		"cert": in("cert", func(c *ClientConfig) { c.Certificates = []string{"mta.example.org"} }),
		"both": in("both", func(c *ClientConfig) { c.Certificates = []string{"till.example.org"}; c.Users = []string{"till"} }),
		"sub":  in("sub", func(c *ClientConfig) { c.Networks = networksOf("10.4.0.0/16"); c.Listeners = []string{"submission"} }),
	}})
	for _, tt := range []struct {
		name string
		peer *mail.Peer
		auth bool
		want []string
	}{
		{"a network", peer("10.0.1.1"), false, []string{"net"}},
		{"a network where AUTH is offered", peer("10.0.1.1"), true, []string{"net", "user"}},
		{"a host that AUTH makes another", peer("10.0.0.7"), true, []string{"net", "user"}},
		{"a stranger", peer("203.0.113.5"), true, nil},
		{"a stranger where anybody with a password may", peer("203.0.113.5", on("submission")), true, []string{"any"}},
		{"the same without AUTH", peer("203.0.113.5", on("submission")), false, nil},
		{"a network that asks for TLS, in plain text", peer("10.3.0.1"), false, nil},
		{"a network that asks for TLS", peer("10.3.0.1", overTLS), false, []string{"tls"}},
		{"a certificate", peer("203.0.113.5", with("mta.example.org")), false, []string{"cert"}},
		{"a certificate where AUTH is offered", peer("203.0.113.5", with("till.example.org")), true, []string{"both", "cert"}},
		{"another listener", peer("10.4.0.1", on("submission")), false, []string{"sub"}},
		{"a user", peer("10.0.0.7", as("shop")), true, []string{"user"}},
		{"a user of no client", peer("203.0.113.5", as("nobody")), true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := map[string]bool{}
			for s := range r.Streams(tt.peer, tt.auth) {
				set[s] = true
			}
			if got := slices.Sorted(maps.Keys(set)); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
			for _, user := range []string{"", "shop", "till", "other"} {
				p := *tt.peer
				if user != "" && (!tt.auth || p.User != "") {
					continue
				}
				if user != "" {
					p.User = user
				}
				if c, refused := r.Client(&p); refused == nil && !set[c.Stream()] {
					t.Errorf("as %q it is %s, whose stream is not among %q", user, c.Name(), tt.want)
				}
			}
		})
	}
}
