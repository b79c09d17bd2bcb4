package policy

import (
	"net/netip"
	"testing"

	"postern/internal/syntax"
	"postern/mail"
)

func parse(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }

// read takes the facts from a header as the relay does.
func (h *HeaderFacts) read(fields syntax.Header) {
	h.Begin(syntax.AppendAuthors)
	for i := range fields {
		h.Field(fields[i].Name(), fields[i].Body())
	}
	h.End()
}

// addr parses an address of a test; "<>" is the null address.
func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	if s == "<>" {
		return mail.Address{}
	}
	a, err := parse(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func networksOf(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// client is a client with the defaults, changed by change.
func client(change func(c *ClientConfig)) ClientConfig {
	var c ClientConfig
	c.SetDefaults()
	c.Stream = "main"
	if change != nil {
		change(&c)
	}
	return c
}

// anna is a client of one host that owns example.org and what is below it.
func anna(change func(c *ClientConfig)) ClientConfig {
	return client(func(c *ClientConfig) {
		c.Networks = networksOf("192.0.2.1/32")
		c.Senders = []string{"@example.org", "@*.example.org"}
		if change != nil {
			change(c)
		}
	})
}

// said is what Compile reported: path and text, joined by ": ".
type said struct{ problems, warnings []string }

func compile(cfg Config) (*Rules, said) {
	if cfg.Streams == nil {
		cfg.Streams = map[string]StreamConfig{"main": {RequireListUnsubscribe: NoUnsubscribe}}
	}
	var s said
	r := Compile(cfg, parse,
		func(path, text string) { s.problems = append(s.problems, path+": "+text) },
		func(path, text string) { s.warnings = append(s.warnings, path+": "+text) })
	return r, s
}

// good compiles rules in which there is no problem.
func good(t testing.TB, cfg Config) *Rules {
	t.Helper()
	r, s := compile(cfg)
	if r == nil || len(s.problems) > 0 {
		t.Fatalf("problems: %q", s.problems)
	}
	return r
}

// one compiles rules with one client, named "one".
func one(t testing.TB, c ClientConfig) (*Rules, *Client) {
	t.Helper()
	r := good(t, Config{Clients: map[string]ClientConfig{"one": c}})
	return r, r.Clients()[0]
}

func wantReply(t *testing.T, got *mail.Reply, want string) {
	t.Helper()
	text := ""
	if got != nil {
		text = got.String()
	}
	if text != want {
		t.Errorf("reply %q, want %q", text, want)
	}
}
