package policy

import (
	"slices"
	"strings"
	"testing"

	"postern/mail"
)

// TestEachUserSendsAsThemselves: one client holds many users, and none of them
// can send as another, however the names are spelled.
func TestEachUserSendsAsThemselves(t *testing.T) {
	rules := good(t, Config{Clients: map[string]ClientConfig{
		"mailboxes": client(func(c *ClientConfig) {
			c.Users = []string{AnyUser}
			c.Senders = []string{"{user}", "{user}@example.org", "shared@example.org"}
		}),
		"shop": client(func(c *ClientConfig) { c.Users, c.Senders = []string{"shop"}, []string{"shop@shop.example"} }),
	}})
	for _, tt := range []struct {
		user, sender string
		owned        bool
	}{
		{"anna", "anna@example.org", true},
		{"Anna", "ANNA@Example.org", true},
		{"anna", "bob@example.org", false},
		{"anna", "anna@example.net", false},
		{"anna", "anna@sub.example.org", false},
		{"anna", "anna+x@example.org", false},
		{"anna", "shared@example.org", true},
		{"anna", "<>", false},
		{"anna@example.net", "Anna@example.NET", true},
		{"anna@example.net", "bob@example.net", false},
		{"anna@example.net", "anna@example.org", false},
		{"anna@example.net", `"anna@example.net"@example.org`, true},
		{"anna@example.net", `"anna@example.net"@example.net`, false},
		{"a b", `"a b"@example.org`, true},
		{"*", "bob@example.org", false},
		{"{user}", "bob@example.org", false},
	} {
		p := peer("192.0.2.9", overTLS, as(mail.User(tt.user, parse)))
		c, refusal := rules.Client(p)
		if refusal != nil || c.Name() != "mailboxes" {
			t.Fatalf("%s: %v", tt.user, refusal)
		}
		if got := c.Owns(addr(t, tt.sender)); got != tt.owned {
			t.Errorf("%s owns %s: %v", tt.user, tt.sender, got)
		}
		if got := rules.Sender(c, addr(t, tt.sender)) == nil; got != tt.owned && tt.sender != "<>" {
			t.Errorf("%s may send as %s: %v", tt.user, tt.sender, got)
		}
	}
	c, _ := rules.Client(peer("192.0.2.9", overTLS, as("shop")))
	if c == nil || c.Name() != "shop" || c.Owns(addr(t, "shop@example.org")) {
		t.Error("a user who is another client's by name became one of all")
	}
	if c, _ := rules.Client(peer("192.0.2.9", overTLS)); c != nil {
		t.Errorf("without a user it is %s", c.Name())
	}
	for _, c := range rules.Clients() {
		if c.Owns(mail.Address{Local: "", Domain: "example.org"}) {
			t.Errorf("%s owns an address without a user", c.Name())
		}
	}
}

// problem compiles a configuration and looks for one problem.
func problem(t *testing.T, cfg Config, path, says string) {
	t.Helper()
	r, s := compile(cfg)
	if r != nil || !slices.ContainsFunc(s.problems, func(p string) bool { return strings.HasPrefix(p, path) && strings.Contains(p, says) }) {
		t.Errorf("problems %q, want %s with %q", s.problems, path, says)
	}
}

func TestPatternsOfUsersAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, sender, says string }{
		{"within a local part", "x{user}@example.org", "pattern of users' own addresses"},
		{"as a domain", "news@{user}", "pattern of users' own addresses"},
		{"below a domain", "{user}@*.example.org", "pattern of users' own addresses"},
		{"no domain", "{user}@", "pattern of users' own addresses"},
		{"another domain than DNS has", "{user}@a b", "pattern of users' own addresses"},
	} {
		problem(t, Config{Clients: map[string]ClientConfig{"a": client(func(c *ClientConfig) {
			c.Users, c.Senders = []string{"x"}, []string{tt.sender}
		})}}, "client.a.senders.0", tt.says)
	}
	problem(t, Config{Clients: map[string]ClientConfig{"a": client(func(c *ClientConfig) {
		c.Networks, c.Senders = networksOf("192.0.2.1/32"), []string{"{user}@example.org"}
	})}}, "client.a.senders", "nobody of this client authenticates")
	problem(t, Config{Clients: map[string]ClientConfig{"a": client(func(c *ClientConfig) {
		c.Users, c.Senders = []string{"x", "*"}, []string{"{user}@example.org"}
	})}}, "client.a.users", "beside others")
}

func TestWidestHoldsAllThatUsersOwn(t *testing.T) {
	c := ClientConfig{Users: []string{AnyUser}, Senders: []string{"a@example.net", "{user}@example.org", "{user}"}}
	var got []string
	var at []int
	for i, p := range c.Widest(func() []string { return []string{"bob", "carol@example.com", "x@"} }) {
		got, at = append(got, p), append(at, i)
	}
	if want := []string{"a@example.net", "@example.org", "carol@example.com"}; len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || at[2] != 2 {
		t.Errorf("%q at %v", got, at)
	}
}
