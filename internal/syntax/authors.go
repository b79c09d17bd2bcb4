package syntax

import (
	"errors"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

// What can be wrong with a list of addresses in a header, besides the errors of
// an address.
var (
	// errNoAuthor: a list without an address, as in "Nobody:;".
	errNoAuthor = errors.New("no address in the list")
	// errManyAuthors: more than MaxAuthors addresses.
	errManyAuthors = errors.New("too many addresses in the list")
	// errAmbiguous: text around an address that readers take differently, such
	// as two addresses without a comma, or words without brackets.
	errAmbiguous = errors.New("list of addresses cannot be read for certain")
)

// MaxAuthors bounds the addresses of one list.
const MaxAuthors = 100

// Author is one address of a list in a header.
type Author = mail.Author

// AppendAuthors reads the body of a From field, or of any field that holds a
// list of addresses, into the room of list, which is empty. It returns nil
// beside an error.
//
// plain says that every reader finds these authors in the value as it stands:
// mailboxes with a comma between them, each of them "a@b.example",
// "a@b.example (Text)", "<a@b.example>", "Words <a@b.example>" or
// "\"Text\" <a@b.example>", where words may be encoded (RFC 2047) and folding
// stands between words only.
//
// Other forms are read where one reading alone finds an address in them: any
// text before the brackets, comments beside words and addresses, a group that is
// the whole value (RFC 6854). Then every at sign, as written and as decoded,
// is that of an author's own address. appendFrom writes them in plain form.
//
// All else is an error, errAmbiguous most often: white space, comments and
// routes within an address, entries without an address, encoded-words that are
// not words of their own, text that does not end.
//
// Octets above 0x7F in names and comments pass in any charset where the value is
// plain; in an address they must be UTF-8, and the address then needs SMTPUTF8.
func AppendAuthors(list []Author, value []byte) (authors []Author, plain bool, err error) {
	return hosts{literals: true}.appendAuthors(list, value)
}

func (h hosts) appendAuthors(list []Author, value []byte) (authors []Author, plain bool, err error) {
	l, err := newLexer(value)
	if err != nil {
		return nil, false, err
	}
	p := parser{lexer: l, hosts: h, authors: list[:0], plain: true}
	p.group = strings.HasSuffix(strings.TrimRight(p.s, " \t"), ";")
	if err := p.list(); err != nil {
		return nil, false, err
	}
	if !p.plain && !oneReading(p.authors) {
		return nil, false, errAmbiguous
	}
	return p.authors, p.plain, nil
}

// oneReading reports whether the names of authors show no other address and can
// be written anew.
func oneReading(authors []Author) bool {
	for i := range authors {
		a := &authors[i]
		if !utf8.ValidString(a.Comment) || strings.ContainsRune(a.Name, utf8.RuneError) || strings.Contains(a.Name, "=?") {
			return false
		}
		if strings.ContainsAny(a.Name, atSigns) && a.Name != a.Address.String() {
			return false
		}
	}
	return true
}

// atSigns are the characters that readers take for an at sign.
const atSigns = "@\uff20\ufe6b"

// parser reads one list from left to right and never goes back.
type parser struct {
	lexer
	hosts   hosts
	authors []Author
	plain   bool // so far
	group   bool // the value ends as a group does
	inGroup bool // its name has been read

	// Of the entry that is being read:
	name  name
	bare  mail.Address // address without brackets; null before
	began int          // where bare begins
	ended int          // and ends
}

// list reads all entries.
func (p *parser) list() error {
	for {
		p.name, p.bare, p.comment = name{buf: p.name.buf[:0]}, mail.Address{}, p.comment[:0]
		if err := p.entry(); err != nil {
			return err
		}
		switch p.peek() {
		case end:
			return ambiguousIf(p.inGroup)
		case ',':
			p.at++
		case ';': // entry has seen that it ends the group
			p.at++
			return p.onlyWhite()
		}
	}
}

// onlyWhite takes what stands behind a group.
func (p *parser) onlyWhite() error {
	if err := p.white(); err != nil {
		return err
	}
	return ambiguousIf(p.peek() != end)
}

// entry reads up to the comma, semicolon or end behind the next address. What
// stands before brackets is a name, whatever it is.
func (p *parser) entry() error {
	for {
		if err := p.white(); err != nil {
			return err
		}
		var err error
		switch c := p.peek(); {
		case c == '(':
			err = p.besides()
		case c == '<':
			return p.angle()
		case c == end, c == ',' && p.hasBare(), c == ';' && p.inGroup:
			return p.endBare()
		case p.hasBare():
			return errAmbiguous // text behind an address
		case c == ':' && p.group && !p.inGroup && len(p.authors) == 0 && !p.name.empty():
			err = p.groupName()
		case c == ',', c == ':', c == ';':
			err = p.separator(c)
		case c == '"':
			err = p.quoted()
		default:
			err = p.word()
		}
		if err != nil {
			return err
		}
	}
}

func (p *parser) hasBare() bool { return !p.bare.IsNull() }

// groupName ends the name of a group, which does not go on.
func (p *parser) groupName() error {
	if hidesAddress(p.name.String()) {
		return errAmbiguous
	}
	p.at++
	p.inGroup, p.plain = true, false
	p.name, p.comment = name{buf: p.name.buf[:0]}, p.comment[:0]
	return nil
}

// separator reads a comma, colon or semicolon that is text, as the comma in
// "Example, Inc. <news@example.org>".
func (p *parser) separator(c byte) error {
	if p.name.empty() || p.inGroup && c != ',' {
		return errAmbiguous
	}
	p.at++
	p.plain = false
	p.name.join(string(c), p.spaced)
	return nil
}

// besides reads a comment. In plain form it stands behind a bare address.
func (p *parser) besides() error {
	simple := p.hasBare() && p.spaced && len(p.comment) == 0
	plain, err := p.readComment()
	p.plain = p.plain && simple && plain
	return err
}

// word reads an encoded-word, a bare address, or anything without white space.
func (p *parser) word() error {
	if strings.HasPrefix(p.s[p.at:], "=?") {
		return p.encoded()
	}
	start := p.at
	text, atoms := p.run()
	switch {
	case p.peek() == '@':
		p.at = start
		return p.bareAddress()
	case text == "", strings.Contains(text, "=?"):
		return errAmbiguous
	}
	p.plain = p.plain && atoms && p.name.takes(word, p.spaced) && text[0] != '.'
	p.name.join(text, p.spaced)
	p.name.last = word
	return nil
}

// encoded reads an encoded-word (RFC 2047 s. 2), which stands alone.
func (p *parser) encoded() error {
	w, atoms := encodedWord(p.s[p.at:])
	if w == "" || !p.name.empty() && !p.spaced {
		return errAmbiguous
	}
	p.at += len(w)
	switch p.peek() {
	case ' ', '\t', '\r':
		p.plain = p.plain && atoms
	case '<':
		p.plain = false
	default:
		return errAmbiguous
	}
	p.plain = p.plain && p.name.takes(word, p.spaced)
	return p.name.decode(w)
}

// quoted reads a quoted-string: a bare address that begins with one, or a part
// of a name.
func (p *parser) quoted() error {
	start := p.at
	text, plain, err := p.quotedString()
	switch {
	case err != nil:
		return err
	case p.peek() == '@':
		p.at = start
		return p.bareAddress()
	case strings.Contains(text, "=?"):
		// RFC 2047 s. 5 has none within quotes, but many programs write them
		// so, and most readers decode them.
		return p.encodedInQuotes(text)
	}
	p.plain = p.plain && plain && p.name.takes(quoted, p.spaced)
	p.name.join(text, p.spaced)
	p.name.last = quoted
	return nil
}

// encodedInQuotes takes a quoted-string that holds encoded-words and nothing
// else.
func (p *parser) encodedInQuotes(text string) error {
	p.plain = false
	if p.at < len(p.s) && p.s[p.at] != ' ' && p.s[p.at] != '\t' && p.s[p.at] != '\r' && p.s[p.at] != '<' || !p.name.empty() && !p.spaced {
		return errAmbiguous
	}
	for _, w := range strings.Fields(text) {
		if whole, _ := encodedWord(w); whole != w {
			return errAmbiguous
		}
		if err := p.name.decode(w); err != nil {
			return err
		}
	}
	return nil
}

// bareAddress reads an address without brackets.
func (p *parser) bareAddress() (err error) {
	if !p.name.empty() {
		return errAmbiguous
	}
	p.plain = p.plain && len(p.comment) == 0
	p.began = p.at
	p.bare, err = p.address()
	p.ended = p.at
	return err
}

// endBare ends an entry that has no brackets.
func (p *parser) endBare() error {
	switch {
	case p.hasBare():
		return p.add(p.bare, "")
	case !p.name.empty() || len(p.authors) > 0 || len(p.comment) > 0 && p.peek() != end:
		return errAmbiguous
	}
	return errNoAuthor
}

// angle reads angle-addr and what stands behind it.
func (p *parser) angle() error {
	p.at++
	a, err := p.address()
	switch {
	case err != nil:
		return err
	case p.peek() != '>':
		return errAmbiguous
	}
	p.at++
	name := p.name.String()
	if p.hasBare() { // "news@example.org <news@example.org>"
		if p.bare != a || len(p.comment) > 0 {
			return errAmbiguous
		}
		p.plain = false
		name = a.String()
	}
	p.plain = p.plain && p.name.beforeBrackets(p.spaced)
	if err := p.behind(); err != nil {
		return err
	}
	return p.add(a, name)
}

// behind takes white space and comments after brackets, up to the end of the
// entry.
func (p *parser) behind() error {
	for {
		if err := p.white(); err != nil {
			return err
		}
		switch c := p.peek(); {
		case c == '(':
			p.plain = false
			if _, err := p.readComment(); err != nil {
				return err
			}
		case c == end, c == ',', c == ';' && p.inGroup:
			return nil
		default:
			return errAmbiguous
		}
	}
}

// address reads addr-spec of RFC 5321 s. 4.1.2: without white space, comments
// and obsolete syntax. A local-part that holds the start of an encoded-word is
// refused: RFC 2047 s. 5 has none in an address, but some readers decode it
// there and then show another one.
func (p *parser) address() (a mail.Address, err error) {
	start := p.at
	local, n, err := localPart(p.s[p.at:], true)
	if err != nil {
		return a, err
	}
	p.at += n
	if p.peek() != '@' || strings.Contains(local, "=?") {
		return a, errAmbiguous
	}
	p.at++
	var domain string
	if p.peek() == '[' {
		domain = p.bracketed()
	} else {
		domain, _ = p.run()
	}
	a.Local = local
	if err := p.hosts.fill(&a, domain, true); err != nil {
		return mail.Address{}, err
	}
	p.plain = p.plain && strings.HasPrefix(p.s[start:], mail.QuoteLocal(local)+"@") // without quotes that it does not need
	return a, nil
}

// add ends an entry.
func (p *parser) add(a mail.Address, name string) error {
	if len(p.authors) == MaxAuthors {
		return errManyAuthors
	}
	p.authors = append(p.authors, Author{Address: a, Name: name, Comment: string(p.comment)})
	return nil
}

func ambiguousIf(bad bool) error {
	if bad {
		return errAmbiguous
	}
	return nil
}
