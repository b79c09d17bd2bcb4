package syntax

import (
	"bytes"
	"errors"
	"fmt"
)

// What can be wrong with a header block.
var (
	// ErrNotField: a line that is neither a field nor the folded part of one.
	// Receivers disagree whether it ends the header or is skipped, so what
	// follows would be a From field for some of them only.
	ErrNotField = errors.New("not a header field")
	// ErrNewline: a CR or LF that is not part of CR LF, or NUL.
	ErrNewline = errors.New("bare CR, bare LF or NUL in the header")
	// ErrManyFields: more fields than asked for.
	ErrManyFields = errors.New("too many header fields")
)

// Field is one header field. Its octets are part of the block that was parsed.
type Field struct {
	Raw  []byte // the whole field with name, folding and final CR LF
	name int    // length of the name
	body int    // where the body begins
}

// Name is the name as written, without blanks before the colon. It is a part of
// Raw.
func (f *Field) Name() []byte { return f.Raw[:f.name:f.name] }

// Body is what stands after the colon, with folding and final CR LF. It is a
// part of Raw.
func (f *Field) Body() []byte { return f.Raw[f.body:] }

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

// All returns the fields of that name in their order.
func (h Header) All(name string) []Field {
	var all []Field
	for i := range h {
		if h[i].Is(name) {
			all = append(all, h[i])
		}
	}
	return all
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

// ParseHeader splits a header block, with or without the blank line that ends
// it, into at most maxFields fields. The fields are parts of block, which must
// not change while they are in use.
//
// "Name :" is a field, as obsolete syntax has it (RFC 5322 s. 4.5). Every other
// line that is no field is an error that wraps ErrNotField and names the line:
// no colon, an empty name, a name with blanks, controls or 8-bit octets, the
// "From " line of a mailbox file, and a first line that is folded. The last
// line may lack its CR LF.
func ParseHeader(block []byte, maxFields int) (Header, error) {
	lines, ok := cleanLines(block)
	if !ok {
		return nil, ErrNewline
	}
	h := make(Header, 0, min(maxFields, 1+lines))
	for at := 0; at < len(block) && block[at] != '\r'; { // CR begins the blank line
		if len(h) == maxFields {
			return nil, ErrManyFields
		}
		f, ok := cutField(block[at:])
		if !ok {
			return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(block[:at], []byte{'\n'}), ErrNotField)
		}
		h, at = append(h, f), at+len(f.Raw)
	}
	return h, nil
}

// cutField takes the field that b begins with. Its name is field-name of RFC
// 5322 s. 3.6.8 with the blanks that obsolete syntax allows before the colon.
func cutField(b []byte) (f Field, ok bool) {
	for f.name < len(b) && b[f.name] > ' ' && b[f.name] < 0x7f && b[f.name] != ':' {
		f.name++
	}
	colon := f.name
	for colon < len(b) && (b[colon] == ' ' || b[colon] == '\t') {
		colon++
	}
	if f.name == 0 || colon == len(b) || b[colon] != ':' {
		return Field{}, false
	}
	end := fieldEnd(b, colon)
	f.Raw, f.body = b[:end:end], colon+1
	return f, true
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
