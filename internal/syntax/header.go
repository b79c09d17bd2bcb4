package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// What can be wrong with a header block.
var (
	// errNotField: a line that is neither a field nor the folded part of one.
	// Receivers disagree whether it ends the header or is skipped, so what
	// follows would be a From field for some of them only.
	errNotField = errors.New("not a header field")
	// errNewline: a CR or LF that is not part of CR LF, or NUL.
	errNewline = errors.New("bare CR, bare LF or NUL in the header")
	// ErrManyFields: more fields than asked for.
	ErrManyFields = errors.New("too many header fields")
	// ErrLongField: a field over MaxField octets, or one that names a sender over
	// MaxSenderField. Others cut a long field on its way, and what is left of it
	// says something else.
	ErrLongField = errors.New("header field too long")
	// ErrControl: a control character in a field that is neither a tab nor the
	// CR LF of a line: 0x01 to 0x1F, 0x7F, and U+0080 to U+009F in UTF-8.
	ErrControl = errors.New("control character in the header")
)

// Octets that one field may have, with its name, folding and CR LF.
const (
	MaxField       = 64 << 10
	MaxSenderField = 2 << 10 // From, Sender, Reply-To, Resent-From, Resent-Sender
)

// senderFields say who sent a message.
var senderFields = [...]string{"From", "Sender", "Reply-To", "Resent-From", "Resent-Sender"}

// Field is one header field. Its octets are part of the block that was parsed.
type Field struct {
	Raw  []byte // the whole field with name, folding and final CR LF
	name int    // length of the name
}

// Name is the name as written. It is a part of Raw.
func (f *Field) Name() []byte { return f.Raw[:f.name:f.name] }

// Body is what stands after the colon, with folding and final CR LF. It is a
// part of Raw.
func (f *Field) Body() []byte { return f.Raw[f.name+1:] }

// Text is the body on one line: unfolded (RFC 5322 s. 2.2.3), without white
// space at its ends.
func (f *Field) Text() string {
	b := bytes.TrimSpace(f.Body())
	if bytes.IndexByte(b, '\n') < 0 {
		return string(b)
	}
	return string(bytes.ReplaceAll(b, []byte("\r\n"), nil))
}

// Is reports whether the field has that name, in any case.
func (f *Field) Is(name string) bool {
	if f.name != len(name) {
		return false
	}
	for i := range len(name) {
		if lower(f.Raw[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Header is the fields of a message in their order.
type Header []Field

// Get returns the first field of that name.
func (h Header) Get(name string) (Field, bool) {
	for i := range h {
		if h[i].Is(name) {
			return h[i], true
		}
	}
	return Field{}, false
}

// Count returns how many fields have that name.
func (h Header) Count(name string) int {
	n := 0
	for i := range h {
		if h[i].Is(name) {
			n++
		}
	}
	return n
}

// Size is the number of octets of all fields.
func (h Header) Size() (n int) {
	for i := range h {
		n += len(h[i].Raw)
	}
	return n
}

// ParseHeader splits a header block, with or without the blank line that ends
// it, into at most maxFields fields. The fields are parts of block, which must
// not change while they are in use.
//
// Every line that is not a field is an error that wraps errNotField and names the
// line: no colon, an empty name, a name with blanks, controls or 8-bit octets,
// the "From " line of a mailbox file, and a first line that is folded. So is
// "Name :", though obsolete syntax has it (RFC 5322 s. 4.5): for some readers it
// ends the header, and what stands behind it, From too, is text. ErrLongField
// and ErrControl name the line as well. The last line may lack its CR LF.
func ParseHeader(block []byte, maxFields int) (Header, error) {
	lines, ok := cleanLines(block)
	if !ok {
		return nil, errNewline
	}
	h := make(Header, 0, min(maxFields, 1+lines))
	for at := 0; at < len(block) && block[at] != '\r'; { // CR begins the blank line
		if len(h) == maxFields {
			return nil, ErrManyFields
		}
		f, err := cutField(block[at:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(block[:at], []byte{'\n'}), err)
		}
		h, at = append(h, f), at+len(f.Raw)
	}
	return h, nil
}

// cutField takes the field that b begins with. Its name is field-name of RFC
// 5322 s. 3.6.8.
func cutField(b []byte) (f Field, err error) {
	for f.name < len(b) && nameOctet(b[f.name]) {
		f.name++
	}
	if f.name == 0 || f.name == len(b) || b[f.name] != ':' {
		return Field{}, errNotField
	}
	end := fieldEnd(b, f.name)
	f.Raw = b[:end:end]
	switch {
	case len(f.Raw) > MaxField, len(f.Raw) > MaxSenderField && f.namesSender():
		return Field{}, ErrLongField
	case hasControl(f.Raw):
		return Field{}, ErrControl
	}
	return f, nil
}

func (f *Field) namesSender() bool { return slices.ContainsFunc(senderFields[:], f.Is) }

// hasControl reports whether a field holds a control character. Octets of C1
// alone are letters in many charsets; as UTF-8 they are nothing else.
func hasControl(b []byte) bool {
	c1 := false
	for i, c := range b {
		switch {
		case c >= 0x80:
			c1 = c1 || c < 0xa0 && i > 0 && b[i-1] == 0xc2
		case c < ' ' && c != '\t' && c != '\r' && c != '\n', c == 0x7f:
			return true
		}
	}
	return c1 && utf8.Valid(b)
}

// fieldEnd is where the field ends that at is in: behind the first line that no
// folded one follows.
func fieldEnd(b []byte, at int) int {
	for {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return len(b)
		}
		if at += i + 1; at == len(b) || b[at] != ' ' && b[at] != '\t' {
			return at
		}
	}
}

// cleanLines counts the line ends of b; ok is false where a CR or LF is not part
// of CR LF, or a NUL is there.
func cleanLines(b []byte) (lines int, ok bool) {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		if i == 0 || b[at+i-1] != '\r' {
			return 0, false
		}
		at += i + 1
		lines++
	}
	return lines, bytes.Count(b, []byte{'\r'}) == lines && bytes.IndexByte(b, 0) < 0
}

// HeaderEnd returns where the body begins in b, just after the blank line, or
// -1 when the blank line is not in b yet. from is how much of b an earlier call
// has seen, so that a stream is searched once.
func HeaderEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	from = max(0, from-3) // the blank line may have been cut
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}
