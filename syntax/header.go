package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
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

// Field is one header field. Raw is a part of the block that was parsed.
type Field struct {
	Name string // as written, without blanks before the colon
	Raw  []byte // the whole field with name, folding and final CR LF
}

// Body is what stands after the colon, with folding and final CR LF. It is a
// part of Raw.
func (f Field) Body() []byte {
	return f.Raw[bytes.IndexByte(f.Raw, ':')+1:]
}

// Text is the body on one line: unfolded (RFC 5322 s. 2.2.3), without white
// space at its ends.
func (f Field) Text() string {
	b := bytes.TrimSpace(f.Body())
	if bytes.IndexByte(b, '\n') < 0 {
		return string(b)
	}
	return string(bytes.ReplaceAll(b, []byte("\r\n"), nil))
}

// Is reports whether the field has that name, in any case.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(f.Name, name) // both are US-ASCII
}

// Header is the fields of a message in their order.
type Header []Field

// Each yields the name and body of every field in order.
func (h Header) Each() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, f := range h {
			if !yield(f.Name, f.Body()) {
				return
			}
		}
	}
}

// Get returns the first field of that name.
func (h Header) Get(name string) (Field, bool) {
	for _, f := range h {
		if f.Is(name) {
			return f, true
		}
	}
	return Field{}, false
}

// All returns the fields of that name in their order.
func (h Header) All(name string) []Field {
	var all []Field
	for _, f := range h {
		if f.Is(name) {
			all = append(all, f)
		}
	}
	return all
}

// Count returns how many fields have that name.
func (h Header) Count(name string) int {
	n := 0
	for _, f := range h {
		if f.Is(name) {
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
	return AppendHeader(nil, block, maxFields)
}

// AppendHeader is ParseHeader into the room of h, which is empty.
func AppendHeader(h Header, block []byte, maxFields int) (Header, error) {
	lines, ok := cleanLines(block)
	if !ok {
		return nil, ErrNewline
	}
	names := string(block) // one copy that all names share
	h = slices.Grow(h[:0], min(maxFields, 1+lines))
	line, start := 0, 0 // of the last field
	for at := 0; at < len(block); {
		next := lineEnd(block, at)
		line++
		switch {
		case block[at] == '\r': // the blank line
			return closeField(h, block, start, at), nil
		case block[at] == ' ' || block[at] == '\t':
			if len(h) == 0 {
				return nil, fmt.Errorf("line %d: %w", line, ErrNotField)
			}
		default:
			h = closeField(h, block, start, at)
			if len(h) == maxFields {
				return nil, ErrManyFields
			}
			name, ok := fieldName(names[at:next])
			if !ok {
				return nil, fmt.Errorf("line %d: %w", line, ErrNotField)
			}
			h, start = append(h, Field{Name: name}), at
		}
		at = next
	}
	return closeField(h, block, start, len(block)), nil
}

// closeField gives the last field its octets.
func closeField(h Header, block []byte, start, end int) Header {
	if len(h) > 0 {
		h[len(h)-1].Raw = block[start:end:end]
	}
	return h
}

func lineEnd(block []byte, at int) int {
	if i := bytes.IndexByte(block[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(block)
}

// fieldName is field-name of RFC 5322 s. 3.6.8 with the blanks that obsolete
// syntax allows before the colon.
func fieldName(line string) (string, bool) {
	name, _, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return "", false
		}
	}
	return name, ok && name != ""
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
