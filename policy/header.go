package policy

import (
	"bytes"
	"iter"
	"strconv"
	"strings"
	"unicode"

	"postern/mail"
)

// HeaderFacts is what policy needs to know of a header.
type HeaderFacts struct {
	// From is the number of From fields.
	From int
	// Authors are the addresses of the first From; nil when it could not be read
	// for certain, and Unreadable is its error.
	Authors    []mail.Author
	Unreadable error
	// Others are the addresses of Sender, Resent-From, Resent-Sender and
	// Reply-To.
	Others []Other
	// Duplicates are the fields that may stand once and do not, by their usual
	// name, each once.
	Duplicates []string
	// Automatic tells replies, reports and notices from other mail.
	Automatic Automatic
	// Unsubscribe is the way out that the message offers.
	Unsubscribe Unsubscribe
}

// Other is a field beside From that names a sender, with its addresses.
type Other struct {
	Field      string // its usual name
	Addresses  []mail.Author
	Unreadable error
}

// ReadHeader takes the facts from the fields of a header (name and body, in
// order). authors reads a list of addresses (syntax.Authors).
func ReadHeader(fields iter.Seq2[string, []byte], authors func([]byte) ([]mail.Author, error)) HeaderFacts {
	r := headerReader{authors: authors, facts: HeaderFacts{Unsubscribe: NoUnsubscribe}}
	fields(r.read)
	r.facts.Automatic, r.facts.Unsubscribe = r.auto.kind(), r.out.kind()
	return r.facts
}

// headerReader gathers the facts of one header.
type headerReader struct {
	authors func([]byte) ([]mail.Author, error)
	facts   HeaderFacts
	seen    [len(onceFields)]int
	auto    automaticMarks
	out     wayOut
	room    [longestName]byte
}

// read looks at one field and has the next one follow.
func (r *headerReader) read(field string, body []byte) bool {
	rule, ok := fieldRules[string(fold(&r.room, field))]
	if !ok {
		return true
	}
	if rule.once >= 0 {
		if r.seen[rule.once]++; r.seen[rule.once] == 2 {
			r.facts.Duplicates = append(r.facts.Duplicates, onceFields[rule.once])
		}
	}
	if rule.read != nil {
		rule.read(r, body)
	}
	return true
}

// fieldRule is what a field of some name is for.
type fieldRule struct {
	once int // index among onceFields; -1: it may stand often
	read func(r *headerReader, body []byte)
}

// fieldRules are those of all fields that policy looks at, by name in lower case.
var fieldRules = func() map[string]fieldRule {
	read := map[string]func(r *headerReader, body []byte){
		"from":                     (*headerReader).from,
		"subject":                  func(r *headerReader, body []byte) { r.auto.subject = body },
		"in-reply-to":              func(r *headerReader, _ []byte) { r.auto.answers = true },
		"references":               func(r *headerReader, _ []byte) { r.auto.answers = true },
		"x-auto-response-suppress": func(r *headerReader, _ []byte) { r.auto.answers = true },
		"list-unsubscribe":         func(r *headerReader, body []byte) { r.out.links(body) },
		"list-unsubscribe-post":    func(r *headerReader, body []byte) { r.out.oneClick(body) },
	}
	for _, name := range otherFields {
		read[strings.ToLower(name)] = func(r *headerReader, body []byte) { r.other(name, body) }
	}
	for name, mark := range marks {
		read[name] = func(r *headerReader, body []byte) { mark(&r.auto, lower(strings.TrimSpace(string(body)))) }
	}
	rules := map[string]fieldRule{}
	for name, f := range read {
		rules[name] = fieldRule{-1, f}
	}
	for i, name := range onceFields {
		name = strings.ToLower(name)
		rules[name] = fieldRule{i, read[name]}
	}
	return rules
}()

func (r *headerReader) from(body []byte) {
	h := &r.facts
	if h.From++; h.From == 1 {
		h.Authors, h.Unreadable = r.authors(body)
	}
}

// otherFields name a sender beside From.
var otherFields = [...]string{"Sender", "Resent-From", "Resent-Sender", "Reply-To"}

func (r *headerReader) other(field string, body []byte) {
	o := Other{Field: field}
	o.Addresses, o.Unreadable = r.authors(body)
	r.facts.Others = append(r.facts.Others, o)
}

// longestName is the length of the longest name of a field that policy reads.
const longestName = len("x-ms-exchange-generated-message-source")

// fold puts a field's name into room in lower case, without an allocation. It
// is empty for a name that is longer than all that policy reads.
func fold(room *[longestName]byte, name string) []byte {
	if len(name) > len(room) {
		return nil
	}
	for i := range len(name) {
		room[i] = byte(lowerRune(rune(name[i])))
	}
	return room[:len(name)]
}

// onceFields may stand once: RFC 5322 s. 3.6, RFC 2045 s. 3, RFC 2369, RFC
// 8058. Two of one make readers, filters and signatures disagree.
var onceFields = [...]string{
	"Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post",
}

// checks reports whether the client's settings hold that field to its senders.
func (c *Client) checks(field string) bool {
	switch field {
	case "Sender":
		return c.cfg.CheckSender
	case "Resent-From", "Resent-Sender":
		return c.cfg.CheckResentFrom
	case "Reply-To":
		return c.cfg.CheckReplyTo
	}
	return false
}

// Header judges a message by its header: 550 5.7.1, and the key of the setting
// that decided ("from" where none is: there must be one From that can be read).
// With shadow the message may pass, and the refusal is for the log alone.
func (r *Rules) Header(c *Client, h *HeaderFacts) (rule string, reply *mail.Reply, shadow bool) {
	switch {
	case h.From != 1:
		return "from", replyFromCount(h.From), false
	case h.Unreadable != nil || len(h.Authors) == 0:
		return "from", replyUnreadable("From"), false
	}
	mismatch := c.foreign("From", h.Authors)
	if mismatch != nil && c.cfg.FromMismatch != ShadowMismatch {
		return "from_mismatch", mismatch, false
	}
	for _, judge := range [...]func(*Client, *HeaderFacts) (string, *mail.Reply){
		(*Client).names, (*Client).duplicates, (*Client).others, (*Client).wayOut,
	} {
		if rule, reply := judge(c, h); reply != nil {
			return rule, reply, false
		}
	}
	if mismatch != nil {
		return "from_mismatch", mismatch, true
	}
	return "", nil, false
}

func (c *Client) foreign(field string, addresses []mail.Author) *mail.Reply {
	for i := range addresses {
		if !c.Owns(addresses[i].Address) {
			return replyNotOwned(field, addresses[i].Address)
		}
	}
	return nil
}

func (c *Client) names(h *HeaderFacts) (string, *mail.Reply) {
	const rule = "display_name_address"
	if c.cfg.DisplayNameAddress == Allow {
		return "", nil
	}
	for i := range h.Authors {
		if a := &h.Authors[i]; deceives(a.Name, a.Address) || deceives(a.Comment, a.Address) {
			return rule, replyDisplayName(a.Address)
		}
	}
	return "", nil
}

func (c *Client) duplicates(h *HeaderFacts) (string, *mail.Reply) {
	if c.cfg.DuplicateFields == Allow || len(h.Duplicates) == 0 {
		return "", nil
	}
	return "duplicate_fields", replyDuplicate(h.Duplicates[0])
}

func (c *Client) others(h *HeaderFacts) (string, *mail.Reply) {
	for i := range h.Others {
		o := &h.Others[i]
		if !c.checks(o.Field) {
			continue
		}
		rule := "check_" + strings.ReplaceAll(strings.ToLower(o.Field), "-", "_")
		if o.Field == "Resent-Sender" {
			rule = "check_resent_from"
		}
		if o.Unreadable != nil {
			return rule, replyUnreadable(o.Field)
		}
		if reply := c.foreign(o.Field, o.Addresses); reply != nil {
			return rule, reply
		}
	}
	return "", nil
}

func (c *Client) wayOut(h *HeaderFacts) (string, *mail.Reply) {
	const rule = "require_list_unsubscribe"
	switch want := c.stream.unsubscribe; {
	case want == AnyUnsubscribe && h.Unsubscribe == NoUnsubscribe:
		return rule, replyNoUnsubscribe()
	case want == OneClick && h.Unsubscribe != OneClick:
		return rule, replyNoOneClick()
	}
	return "", nil
}

// wayOut gathers List-Unsubscribe (RFC 2369) and its Post (RFC 8058).
type wayOut struct{ link, https, post bool }

func (w *wayOut) links(body []byte) {
	text := links(body)
	w.https = bytes.Contains(text, []byte("<https://"))
	w.link = w.https || bytes.Contains(text, []byte("<mailto:")) || bytes.Contains(text, []byte("<http://"))
}

func (w *wayOut) oneClick(body []byte) {
	w.post = bytes.EqualFold(bytes.TrimSpace(body), []byte("List-Unsubscribe=One-Click"))
}

// links is a field's body in lower case, without what RFC 2369 s. 2 has readers
// ignore within a link.
func links(body []byte) []byte {
	text := make([]byte, 0, len(body))
	for i := range len(body) {
		switch c := body[i]; {
		case c == ' ', c == '\t', c == '\n' && i > 0 && body[i-1] == '\r':
		case c == '\r' && i+1 < len(body) && body[i+1] == '\n':
		default:
			text = append(text, byte(lowerRune(rune(c))))
		}
	}
	return text
}

func (w *wayOut) kind() Unsubscribe {
	switch {
	case w.https && w.post:
		return OneClick
	case w.link:
		return AnyUnsubscribe
	}
	return NoUnsubscribe
}

// deceives reports whether text shows an address that is not the author's own,
// or may show one to some readers: it holds an encoded-word that could not be
// decoded, or turns the direction of writing around an at sign.
func deceives(text string, own mail.Address) bool {
	if _, rest, ok := strings.Cut(text, "=?"); ok && strings.Contains(rest, "?=") {
		return true
	}
	if !strings.ContainsAny(text, "@\uff20\ufe6b") {
		return false
	}
	if strings.ContainsAny(text, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") {
		return true
	}
	text = strings.Map(look, text)
	for at := strings.IndexByte(text, '@'); at >= 0; {
		local, domain := lastWord(text[:at]), firstWord(text[at+1:])
		domain = strings.Trim(domain, ".!?*")
		if local != "" && strings.Contains(domain, ".") && !isOwn(local+"@"+domain, own) {
			return true
		}
		next := strings.IndexByte(text[at+1:], '@')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return false
}

func isOwn(shown string, own mail.Address) bool {
	return strings.EqualFold(shown, own.Key()) || strings.EqualFold(shown, own.String())
}

// look is what readers take a character for; -1 for those that cannot be seen.
func look(r rune) rune {
	switch r {
	case '\uff20', '\ufe6b': // wide and small at sign
		return '@'
	case '\uff0e', '\ufe52', '\u3002', '\uff61', '\u2024': // dots
		return '.'
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u3164', '\uffa0': // letters without a form
		return -1
	}
	if unicode.In(r, unicode.Cf, unicode.Variation_Selector) {
		return -1
	}
	if unicode.Is(unicode.Zs, r) {
		return ' '
	}
	return r
}

const aroundAddress = "@ \t<>()[]\"',;:|/"

func lastWord(s string) string { return s[strings.LastIndexAny(s, aroundAddress)+1:] }

func firstWord(s string) string {
	if i := strings.IndexAny(s, aroundAddress); i >= 0 {
		return s[:i]
	}
	return s
}

// plural writes a number of From fields.
func plural(n int) string {
	if n == 0 {
		return "no From field"
	}
	return strconv.Itoa(n) + " From fields"
}
