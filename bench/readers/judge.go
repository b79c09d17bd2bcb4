package main

import (
	"fmt"
	"net/netip"
	"slices"
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

// setting is what a client of the example configuration may be set to.
type setting struct {
	strictNames  bool // display_name_address = "reject"
	lenientForms bool // forms = "lenient"
}

func (s setting) String() string {
	names, forms := "allow", "strict"
	if s.strictNames {
		names = "reject"
	}
	if s.lenientForms {
		forms = "lenient"
	}
	return fmt.Sprintf("display_name_address = %q, forms = %q", names, forms)
}

// judge is a client as the example configuration has it.
type judge struct {
	setting
	rules  *policy.Rules
	client *policy.Client
	facts  policy.HeaderFacts
}

func newJudge(with setting) (*judge, error) {
	var c policy.ClientConfig
	c.SetDefaults()
	c.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	c.Senders, c.Stream = []string{"@example.org", "@*.example.org"}, "main"
	if with.strictNames {
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
	return &judge{setting: with, rules: rules, client: rules.Clients()[0]}, nil
}

// pass returns what becomes of a header: nothing, or the message that leaves.
func (j *judge) pass(header []byte) (m message, ok bool) {
	header, body, readAuthors := header, []byte("\r\nx\r\n"), syntax.AppendAuthors
	if j.lenientForms {
		header, body = cutLenient(header, body)
		readAuthors = syntax.LenientAuthors
	}
	h, err := syntax.ParseHeader(header, 2000)
	if err == nil && j.lenientForms && !h.HasAuthor() {
		header = h.AppendAuthor(nil, reversePath)
		h, err = syntax.ParseHeader(header, 2000)
	}
	if err != nil {
		return m, false
	}
	j.facts.Begin(readAuthors)
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
	m.text = append(m.text[:len(m.text):len(m.text)], body...)
	for i := range j.facts.Authors {
		m.authors = append(m.authors, readable(j.facts.Authors[i].Address))
	}
	return m, true
}

// reversePath is that of all messages.
var reversePath = mail.Address{Local: "news", Domain: "example.org"}

// cutLenient cuts a message where the header of a lenient client ends; body begins with
// a blank line.
func cutLenient(header, body []byte) ([]byte, []byte) {
	whole := slices.Concat(header, body)
	var lines syntax.HeaderLines
	at, blank, ok := lines.Next(whole)
	switch {
	case !ok: // no field ends without a line end
		return whole, nil
	case blank:
		at -= len("\r\n")
		return whole[:at], whole[at:]
	}
	return whole[:at], append([]byte("\r\n"), whole[at:]...)
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
func pass(n int, seed uint64, with setting) (passed []message, err error) {
	j, err := newJudge(with)
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
