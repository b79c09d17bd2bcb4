package syntax

import (
	"errors"
	"strings"

	"postern/mail"
)

// What can be wrong with a list of addresses in a header, besides the errors of
// an address.
var (
	// ErrNoAuthor: a list without an address, as in "Nobody:;".
	ErrNoAuthor = errors.New("no address in the list")
	// ErrManyAuthors: more than MaxAuthors addresses.
	ErrManyAuthors = errors.New("too many addresses in the list")
	// ErrAmbiguous: text around an address that readers take differently, such
	// as two addresses without a comma, or words without brackets.
	ErrAmbiguous = errors.New("list of addresses cannot be read for certain")
)

// MaxAuthors bounds the addresses of one list.
const MaxAuthors = 100

// maxWords bounds the words of one display name.
const maxWords = 1000

// Author is one address of a list in a header.
type Author = mail.Author

// Authors reads the body of a From field, or of any field that holds a list of
// addresses: RFC 5322 with its obsolete syntax, groups (RFC 6854), UTF-8 (RFC
// 6532). Old routes ("<@a:b@c>") are read and left out. What different readers
// could take for different addresses is an error: ErrAmbiguous, ErrNoAuthor,
// ErrManyAuthors, or that of an address.
//
// Octets above 0x7F in names and comments pass in any charset; in an address
// they must be UTF-8, and the address then needs SMTPUTF8.
func Authors(value []byte) ([]Author, error) { return AppendAuthors(nil, value) }

// AppendAuthors is Authors into the room of list, which is empty. It returns
// nil beside an error.
func AppendAuthors(list []Author, value []byte) ([]Author, error) {
	l, err := newLexer(value)
	if err != nil {
		return nil, err
	}
	var words [4]word
	p := parser{lexer: l, authors: list[:0], words: words[:0]}
	if err := p.list(false); err != nil {
		return nil, err
	}
	if len(p.authors) == 0 {
		return nil, ErrNoAuthor
	}
	if rest := p.beside(); rest != "" { // after the last address
		last := &p.authors[len(p.authors)-1]
		last.Comment = strings.TrimSpace(last.Comment + " " + rest)
	}
	return p.authors, nil
}

// parser reads one list from left to right and never goes back.
type parser struct {
	lexer
	authors []Author
	words   []word // of the entry being read, before "<", "@" or ":"
}

// list reads entries up to the end, or up to ";" in a group (RFC 6854 s. 2).
// Empty entries are obsolete syntax (RFC 5322 s. 4.4).
func (p *parser) list(group bool) error {
	for {
		p.words, p.open = p.words[:0], false
		if err := p.cfws(); err != nil {
			return err
		}
		switch p.peek() {
		case end:
			return ambiguousIf(group)
		case ';':
			p.at++
			return ambiguousIf(!group)
		case ',':
			p.at++
			continue
		}
		if err := p.entry(group); err != nil {
			return err
		}
		if err := p.cfws(); err != nil {
			return err
		}
		if c := p.peek(); c != end && c != ',' && (c != ';' || !group) {
			return ErrAmbiguous
		}
	}
}

func ambiguousIf(bad bool) error {
	if bad {
		return ErrAmbiguous
	}
	return nil
}

// entry reads a mailbox, or a whole group unless in one. Only the character
// after the words tells which.
func (p *parser) entry(group bool) error {
	for len(p.words) < maxWords {
		switch c := p.peek(); {
		case c == '<':
			return p.angle()
		case c == '@':
			return p.bare()
		case c == ':' && !group && len(p.words) > 0:
			p.at++
			p.note(joinName(p.words)) // readers show it beside its members
			return p.list(true)
		}
		w, err := p.word()
		if err != nil {
			return err
		}
		p.words = append(p.words, w)
		if err := p.cfws(); err != nil {
			return err
		}
	}
	return ErrAmbiguous
}

// bare reads the rest of an addr-spec whose local-part is in p.words.
func (p *parser) bare() error {
	local, err := joinLocal(p.words)
	if err != nil {
		return err
	}
	a, err := p.atDomain(local)
	if err != nil {
		return err
	}
	if err := p.cfws(); err != nil { // takes the comment after it
		return err
	}
	return p.add(a, "")
}

// angle reads angle-addr; p.words is the display name.
func (p *parser) angle() error {
	if p.open {
		return ErrAmbiguous
	}
	name, err := displayName(p.words)
	if err != nil {
		return err
	}
	p.at++
	if err := p.route(); err != nil {
		return err
	}
	p.words = p.words[:0]
	for p.peek() != '@' {
		w, err := p.word()
		if err != nil {
			return err
		}
		if p.words = append(p.words, w); len(p.words) > maxLocal {
			return ErrLength
		}
		if err := p.cfws(); err != nil {
			return err
		}
	}
	local, err := joinLocal(p.words)
	if err != nil {
		return err
	}
	a, err := p.atDomain(local)
	if err != nil {
		return err
	}
	if p.peek() != '>' {
		return ErrAmbiguous
	}
	p.at++
	if err := p.cfws(); err != nil { // takes the comment after it
		return err
	}
	return p.add(a, name)
}

// route reads obs-route (RFC 5322 s. 4.4) and leaves it out.
func (p *parser) route() error {
	if err := p.cfws(); err != nil {
		return err
	}
	for start, routed, comma := p.at, false, true; ; {
		switch c := p.peek(); {
		case c == '@' && comma:
			if _, err := p.atDomain("route"); err != nil {
				return err
			}
			routed, comma = true, false
		case c == ',':
			p.at++
			comma = true
		case c == ':' && routed:
			p.at++
			return p.cfws()
		default:
			return ambiguousIf(p.at > start)
		}
		if err := p.cfws(); err != nil {
			return err
		}
	}
}

// atDomain reads "@" and a domain, with the white space and comments that
// obsolete syntax allows around its dots.
func (p *parser) atDomain(local string) (a mail.Address, err error) {
	p.at++
	if err := p.cfws(); err != nil {
		return a, err
	}
	var text string
	if p.peek() == '[' {
		text = p.bracketed()
	} else if text, err = p.dotted(); err != nil {
		return a, err
	}
	a.Local = local
	if err := domainOrLiteral(&a, text, true, true); err != nil {
		return mail.Address{}, err
	}
	return a, p.cfws()
}

// dotted reads labels and dots.
func (p *parser) dotted() (string, error) {
	text := p.run()
	for {
		if err := p.cfws(); err != nil {
			return "", err
		}
		more := p.run()
		switch {
		case more == "":
			return text, nil
		case !strings.HasSuffix(text, ".") && more[0] != '.':
			return "", ErrAmbiguous
		case len(text)+len(more) > maxDomain:
			return "", ErrLength
		}
		text += more
	}
}

// add ends an entry. A local-part that holds the start of an encoded-word is
// refused: RFC 2047 s. 5 has none in an address, but some readers decode it
// there and then show another address.
func (p *parser) add(a mail.Address, name string) error {
	switch {
	case len(p.authors) == MaxAuthors:
		return ErrManyAuthors
	case strings.Contains(a.Local, "=?"):
		return ErrAmbiguous
	}
	p.authors = append(p.authors, Author{Address: a, Name: name, Comment: p.beside()})
	return nil
}

// beside takes the text of comments and groups since the last entry.
func (p *parser) beside() string {
	text := decodeWords(string(p.comment))
	p.comment = p.comment[:0]
	return text
}

// joinLocal makes a local-part of words, which must have one dot between them:
// obs-local-part of RFC 5322 s. 4.4.
func joinLocal(words []word) (string, error) {
	dot := true // a dot may not come first, last or after another
	size := 0
	for _, w := range words {
		size += len(w.text)
		if w.quoted {
			if !dot || w.text == "" {
				return "", ErrAmbiguous
			}
			dot = false
			continue
		}
		if !dot && w.text[0] != '.' {
			return "", ErrAmbiguous
		}
		for i := range len(w.text) {
			if w.text[i] == '.' && dot {
				return "", ErrAmbiguous
			}
			dot = w.text[i] == '.'
		}
	}
	switch {
	case dot:
		return "", ErrAmbiguous
	case size > maxLocal:
		return "", ErrLength
	}
	local := words[0].text
	for _, w := range words[1:] {
		local += w.text
	}
	if err := checkLocal(local, true); err != nil {
		return "", err
	}
	if len(mail.QuoteLocal(local)) > maxLocal {
		return "", ErrLength
	}
	return local, nil
}

// displayName makes a name of words. Dots in it are obsolete syntax, but not as
// its beginning.
func displayName(words []word) (string, error) {
	switch {
	case len(words) == 0:
		return "", nil
	case !words[0].quoted && words[0].text[0] == '.':
		return "", ErrAmbiguous
	}
	return decodeWords(joinName(words)), nil
}

func joinName(words []word) string {
	if len(words) == 1 {
		return words[0].text
	}
	var b strings.Builder
	for i, w := range words {
		if i > 0 && w.spaced {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}
