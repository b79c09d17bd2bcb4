// Package find looks a message up in the journal: newest first, by who sent it, who was
// to get it, its Message-ID, the queue id that the upstream gave it, how it ended, and
// when. Most lines are never decoded: they are searched for octets that a line of
// the right kind must hold, which is a hundred times faster.
package find

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

// Query is what is looked for; what is blank is not asked for, and all else must hold.
type Query struct {
	From string // reverse-path, "<>" the null one; "@example.org": any of that domain
	To   string // a recipient, or "@example.org"
	// Submitter whom a client has told: "client/name", or the name alone.
	Submitter string
	MessageID string // with or without angle brackets
	// QueueID stands in the upstream's reply as a word of its own, or is the id of the
	// transaction.
	QueueID string
	// Code is a reply code ("550"), an enhanced status code ("5.7.1") or a class of codes
	// ("4xx") that the transaction or one of its recipients ended with.
	Code  string
	Class mail.Class // of an upstream's refusal
	// Client is one of the configuration; blank: any, also mail that has none.
	Client string
	// Since and Until bound the time of MAIL; zero: no bound.
	Since, Until time.Time
}

// Check says what is wrong with a query, for who asked.
func (q Query) Check() error {
	_, err := newMatcher(q)
	return err
}

// matcher is a Query made ready.
type matcher struct {
	q         Query
	code      int
	class     int // first digit of "4xx"
	status    string
	from, to  address
	submitter string   // as events have it
	needles   []needle // each must stand in a line; the rarest first
	messageID string
}

// address is one to look for.
type address struct {
	identity mail.Identity
	domain   string // of any address there
}

// newMatcher reads a query; the error is for who asked.
func newMatcher(q Query) (*matcher, error) {
	m := &matcher{q: q}
	if q == (Query{}) || q == (Query{Since: q.Since, Until: q.Until}) && q.Since.IsZero() && q.Until.IsZero() {
		return nil, errors.New("say what to look for: a sender, a recipient, a Message-ID, a queue id, a code, a class or a time")
	}
	if err := m.readCode(); err != nil {
		return nil, err
	}
	m.messageID = strings.Trim(strings.TrimSpace(q.MessageID), "<>")
	m.add(`"id":`, "") // every event has one
	if q.Class != "" {
		m.need(`"class":`, string(q.Class))
	}
	if q.Client != "" {
		m.need(`"client":`, q.Client)
	}
	switch {
	case m.code > 0:
		m.add(`"code":`+strconv.Itoa(m.code), "")
	case m.status != "":
		m.need(`"status":`, m.status)
	}
	m.to, m.from = m.address(q.To), m.address(q.From)
	m.readSubmitter()
	m.needWord(q.QueueID)
	m.needWord(m.messageID)
	// The last one is the rarest.
	slices.Reverse(m.needles)
	return m, nil
}

func (m *matcher) readCode() error {
	c := strings.ToLower(m.q.Code)
	switch n, err := strconv.Atoi(c); {
	case c == "":
	case err == nil && n >= 200 && n <= 599:
		m.code = n
	case len(c) == 3 && c[0] >= '2' && c[0] <= '5' && (c[1:] == "xx" || c[1:] == "yz"):
		m.class = int(c[0] - '0')
	case strings.Count(c, ".") == 2 && strings.Trim(c, "0123456789.") == "":
		m.status = c
	default:
		return fmt.Errorf("%q is no code; write one such as 550, 5.7.1 or 4xx", m.q.Code)
	}
	return nil
}

// readSubmitter reads a submitter, whose name stands in events in one form.
func (m *matcher) readSubmitter() {
	client, name, both := strings.Cut(m.q.Submitter, "/")
	if !both {
		client, name = "", m.q.Submitter
	}
	name = mail.User(name, nil)
	m.submitter = name
	if both {
		m.submitter = client + "/" + name
	}
	if name != "" {
		m.add(`"submitter":`, "")
		m.needPart(name)
	}
}

// need asks for a key with a value as JSON writes it.
func (m *matcher) need(key, value string) {
	text, _ := json.Marshal(value)
	m.add(key+string(text), "")
}

func (m *matcher) add(text, local string) {
	m.needles = append(m.needles, newNeedle([]byte(text), []byte(local)))
}

// needPart asks for the longest part of a text that JSON writes as it is.
func (m *matcher) needPart(text string) {
	if part := plainPart(text); part != "" {
		m.add(part, "")
	}
}

// needWord is needPart of a text that nothing is written before.
func (m *matcher) needWord(text string) {
	m.needPart(text)
	if text != "" && plainPart(text) == text {
		m.needles[len(m.needles)-1].word = true
	}
}

// plainPart is the longest run of octets that stand in JSON as they are.
func plainPart(text string) (longest string) {
	start := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && isPlain(text[i]) {
			continue
		}
		if i-start > len(longest) {
			longest = text[start:i]
		}
		start = i + 1
	}
	return longest
}

func isPlain(c byte) bool {
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

// address reads one and asks for its domain; the case of a local-part does not count, so
// that it cannot be asked for by its octets.
func (m *matcher) address(text string) (a address) {
	text = strings.TrimSpace(text)
	if text == "" {
		return a
	}
	if text == "<>" {
		m.need(`"from":`, "<>")
		return address{identity: "<>"}
	}
	text = strings.Trim(text, "<>")
	local, domain, ok := cutLast(text, '@')
	if !ok {
		m.needPart(strings.ToLower(text))
		return address{identity: mail.IdentityOf(text)}
	}
	domain = strings.ToLower(domain)
	if local == "" {
		m.needPart("@" + domain)
		return address{domain: domain}
	}
	if plainPart(local) == local && plainPart(domain) == domain {
		m.add("@"+domain, local)
	} else {
		m.needPart("@" + domain)
	}
	return address{identity: mail.IdentityOf(local + "@" + domain)}
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func (a *address) is(key string) bool {
	if a.domain != "" {
		_, domain, ok := cutLast(key, '@')
		return ok && strings.EqualFold(domain, a.domain)
	}
	return mail.IdentityOf(key) == a.identity
}

func (a *address) asked() bool { return a.domain != "" || a.identity != "" }

// mayMatch looks at the octets of a line.
func (m *matcher) mayMatch(line []byte) bool {
	for i := range m.needles {
		if m.needles[i].next(line) < 0 {
			return false
		}
	}
	return m.inTime(line)
}

// inTime reports whether the time that a line begins with may be asked for.
func (m *matcher) inTime(line []byte) bool {
	if m.q.Since.IsZero() && m.q.Until.IsZero() {
		return true
	}
	rest, ok := bytes.CutPrefix(line, []byte(`{"time":"`))
	text, _, ends := bytes.Cut(rest, []byte{'"'})
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if !ok || !ends || err != nil {
		return true
	}
	return (m.q.Since.IsZero() || !t.Before(m.q.Since)) && (m.q.Until.IsZero() || !t.After(m.q.Until))
}

// matches looks at an event.
func (m *matcher) matches(e *mail.Event) bool {
	q := &m.q
	switch {
	case !q.Since.IsZero() && e.Time.Before(q.Since), !q.Until.IsZero() && e.Time.After(q.Until),
		m.from.asked() && !m.from.is(e.From),
		m.messageID != "" && strings.Trim(e.MessageID, "<>") != m.messageID,
		q.QueueID != "" && !m.hasQueueID(e),
		q.Client != "" && e.Client != q.Client,
		q.Submitter != "" && e.Submitter != m.submitter && !m.isSubmitter(e.Submitter),
		q.Code != "" && !m.hasCode(e):
		return false
	}
	if q.Class != "" && e.Class != q.Class && !anyTo(e, func(r *mail.RecipientEvent) bool { return r.Class == q.Class }) {
		return false
	}
	return !m.to.asked() || anyTo(e, func(r *mail.RecipientEvent) bool { return m.to.is(r.Address) })
}

// isSubmitter reports whether a submitter of any client has the name that is asked for.
func (m *matcher) isSubmitter(s string) bool {
	_, name, ok := strings.Cut(s, "/")
	return ok && name == m.submitter
}

func anyTo(e *mail.Event, is func(*mail.RecipientEvent) bool) bool {
	for i := range e.To {
		if is(&e.To[i]) {
			return true
		}
	}
	return false
}

func (m *matcher) hasCode(e *mail.Event) bool {
	is := func(code int, status string) bool {
		return m.code > 0 && code == m.code || m.class > 0 && code/100 == m.class || m.status != "" && status == m.status
	}
	return is(e.Code, e.Status) || anyTo(e, func(r *mail.RecipientEvent) bool { return is(r.Code, r.Status) })
}

func (m *matcher) hasQueueID(e *mail.Event) bool {
	return e.ID == m.q.QueueID || hasWord(e.Reply, m.q.QueueID) ||
		anyTo(e, func(r *mail.RecipientEvent) bool { return hasWord(r.Reply, m.q.QueueID) })
}

// hasWord reports whether word stands in text with nothing but blanks, brackets and such
// beside it.
func hasWord(text, word string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		at += i
		end := at + len(word)
		if (at == 0 || !isWord(text[at-1])) && (end == len(text) || !isWord(text[end])) {
			return true
		}
		at++
	}
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
