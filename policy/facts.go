package policy

import (
	"bytes"
	"strings"

	"postern/mail"
)

// HeaderFacts is what policy needs to know of a header. Begin, Field for each
// field in order and End gather it; facts may be used again for another header
// and then need no new room.
type HeaderFacts struct {
	// ReversePath is that of the envelope; who gathers the facts sets it behind Begin.
	ReversePath mail.Address
	// From is the number of From fields.
	From int
	// Authors are the addresses of the first From; none when it could not be read
	// for certain, and Unreadable is its error.
	Authors    []mail.Author
	Unreadable error
	// Plain: every reader finds these authors in From as it stands. Otherwise the field is
	// to be written anew.
	Plain bool
	// Others are the fields Sender, Resent-From, Resent-Sender and Reply-To, in the order
	// of the header.
	Others []Other
	// Duplicates are the fields that may stand once and do not, by their usual
	// name, each once.
	Duplicates []string
	// Automatic tells replies, reports and notices from other mail.
	Automatic Automatic
	// Unsubscribe is the way out that the message offers.
	Unsubscribe Unsubscribe

	authors ReadAuthors
	seen    uint32 // a bit for each of onceFields
	twice   uint32
	auto    automaticMarks
	out     unsubscribeFields
	lists   int    // fields List-Id
	list    []byte // body of the last
}

// Other is a field other than From that names a sender.
type Other struct {
	Field string // its usual name
	Body  []byte // part of the header; read when a rule asks for it
}

// ReadAuthors appends the addresses of a list to room, which may be nil
// (syntax.AppendAuthors), and says whether all readers take them from it.
type ReadAuthors func(room []mail.Author, body []byte) (authors []mail.Author, plain bool, err error)

// Begin starts another header, whose fields are read with authors. The bodies that Field is
// given must not change until the header has been judged.
func (h *HeaderFacts) Begin(authors ReadAuthors) {
	h.forget()
	h.authors = authors
}

// forget empties h but keeps its room.
func (h *HeaderFacts) forget() {
	clear(h.Authors)
	clear(h.Others)
	*h = HeaderFacts{Authors: h.Authors[:0], Others: h.Others[:0]}
}

// Field takes the next field, its name without the colon.
func (h *HeaderFacts) Field(name, body []byte) {
	rule := fieldRules.find(name)
	if rule == nil {
		return
	}
	if bit := rule.once; bit != 0 {
		if h.seen&bit != 0 && h.twice&bit == 0 {
			h.twice |= bit
			h.Duplicates = append(h.Duplicates, rule.usual)
		}
		h.seen |= bit
	}
	if rule.read != nil {
		rule.read(h, body)
	}
}

// End says that there are no more fields; the facts may be read after it.
func (h *HeaderFacts) End() {
	h.Automatic, h.Unsubscribe = h.auto.kind(), h.out.kind()
}

// onceFields may stand once: RFC 5322 s. 3.6, RFC 2045 s. 3, RFC 2369, RFC
// 8058. Two of one make readers, filters and signatures disagree.
var onceFields = [...]string{
	"Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post",
}

// otherFields name a sender beside From.
var otherFields = [...]string{"Sender", "Resent-From", "Resent-Sender", "Reply-To"}

// fieldRule is what a field of some name is for.
type fieldRule struct {
	name  string // in lower case
	usual string // of onceFields, else ""
	once  uint32 // its bit among onceFields, else 0
	read  func(h *HeaderFacts, body []byte)
}

// longestName is the length of the longest name of a field that policy reads.
const longestName = len("x-ms-exchange-generated-message-source")

// ruleTable has the rules by the length of their names: few names share one,
// and of those hardly two a beginning.
type ruleTable [longestName + 1][]fieldRule

func (t *ruleTable) find(name []byte) *fieldRule {
	if len(name) > longestName {
		return nil
	}
	same := t[len(name)]
	for i := range same {
		if isWord(name, same[i].name) {
			return &same[i]
		}
	}
	return nil
}

// fieldRules are those of all fields that policy looks at.
var fieldRules = func() (t ruleTable) {
	read := map[string]func(h *HeaderFacts, body []byte){
		"from":                     (*HeaderFacts).from,
		"subject":                  func(h *HeaderFacts, body []byte) { h.auto.subject = body },
		"in-reply-to":              (*HeaderFacts).answers,
		"references":               (*HeaderFacts).answers,
		"x-auto-response-suppress": (*HeaderFacts).answers,
		"list-id":                  (*HeaderFacts).listField,
		"list-unsubscribe":         func(h *HeaderFacts, body []byte) { h.out.links(body) },
		"list-unsubscribe-post":    func(h *HeaderFacts, body []byte) { h.out.oneClick(body) },
	}
	for _, name := range otherFields {
		read[strings.ToLower(name)] = func(h *HeaderFacts, body []byte) { h.Others = append(h.Others, Other{name, body}) }
	}
	for name, mark := range marks {
		read[name] = func(h *HeaderFacts, body []byte) { mark(&h.auto, bytes.TrimSpace(body)) }
	}
	add := func(r fieldRule) { t[len(r.name)] = append(t[len(r.name)], r) }
	for i, usual := range onceFields {
		name := strings.ToLower(usual)
		add(fieldRule{name, usual, 1 << i, read[name]})
		delete(read, name)
	}
	for _, name := range sorted(read) {
		add(fieldRule{name: name, read: read[name]})
	}
	return t
}()

func (h *HeaderFacts) from(body []byte) {
	if h.From++; h.From == 1 {
		h.Authors, h.Plain, h.Unreadable = h.authors(h.Authors, body)
	}
}

func (h *HeaderFacts) answers([]byte) { h.auto.answers = true }

// isWord reports whether b is word, which is in lower case, in any case of
// ASCII.
func isWord(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if lowerByte(c) != word[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
