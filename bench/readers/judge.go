package main

import (
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
)

// message is one that passes, as it leaves.
type message struct {
	text    []byte
	authors []string // whom the relay judged
	anew    bool
}

// judge is a client as the example configuration has it.
type judge struct {
	rules  *policy.Rules
	client *policy.Client
	facts  policy.HeaderFacts
}

func newJudge(strict bool) (*judge, error) {
	var c policy.ClientConfig
	c.SetDefaults()
	c.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	c.Senders, c.Stream = []string{"@example.org", "@*.example.org"}, "main"
	if strict {
		c.DisplayNameAddress = policy.Reject
	}
	var s policy.StreamConfig
	s.SetDefaults()
	var problems []string
	problem := func(path, text string) { problems = append(problems, path+": "+text) }
	rules := policy.Compile(policy.Config{
		Clients: map[string]policy.ClientConfig{"local": c}, Streams: map[string]policy.StreamConfig{"main": s},
	}, func(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }, problem, func(_, _ string) {})
	if rules == nil {
		return nil, fmt.Errorf("compile the rules: %s", strings.Join(problems, "; "))
	}
	return &judge{rules: rules, client: rules.Clients()[0]}, nil
}

// pass returns what becomes of a header: nothing, or the message that leaves.
func (j *judge) pass(header []byte) (m message, ok bool) {
	h, err := syntax.ParseHeader(header, 2000)
	if err != nil {
		return m, false
	}
	j.facts.Begin(syntax.AppendAuthors)
	for i := range h {
		j.facts.Field(h[i].Name(), h[i].Body())
	}
	j.facts.End()
	if _, reply, _ := j.rules.Header(j.client, &j.facts); reply != nil {
		return m, false
	}
	m.text = header
	if m.anew = !j.facts.Plain; m.anew {
		m.text = h.AppendWith(nil, j.facts.Authors)
	}
	m.text = append(append(m.text[:len(m.text):len(m.text)], "\r\n"...), "x\r\n"...)
	for i := range j.facts.Authors {
		m.authors = append(m.authors, readable(j.facts.Authors[i].Address))
	}
	return m, true
}

// readable is an address as readers give it: without quotes, in any case.
func readable(a mail.Address) string {
	domain := a.Written
	if domain == "" {
		domain = a.Domain
	}
	return strings.ToLower(a.Local + "@" + domain)
}

// pass makes n headers and returns those that pass, each once.
func pass(n int, seed uint64, strict bool) (passed []message, err error) {
	j, err := newJudge(strict)
	if err != nil {
		return nil, err
	}
	g := newGenerator(seed)
	seen := map[string]bool{}
	for range n {
		header := g.header()
		if seen[string(header)] {
			continue
		}
		seen[string(header)] = true
		if m, ok := j.pass(header); ok {
			passed = append(passed, m)
		}
	}
	return passed, nil
}
