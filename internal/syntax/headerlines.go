package syntax

import "bytes"

// HeaderLines finds, in a message that comes piece by piece, where its header ends
// that may end without a blank line: before the first line that is not a field. Every
// line ends in CR LF. The zero value is at the beginning of a message.
type HeaderLines struct {
	seen  int // octets
	line  int // where the line begins that is being read
	in    linePart
	begun bool // a field has come
}

// linePart is how much of a line of a header has been read.
type linePart uint8

const (
	lineStart linePart = iota
	lineCR             // of a blank line
	lineName
	lineBody // of a field, or a folded line
)

// Next looks at the next octets. Once the end is there, body is where the body
// begins, counted from the first octet of the message; blank says that a blank
// line stands before it, else the line there is not a field.
func (h *HeaderLines) Next(p []byte) (body int, blank, ok bool) {
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch h.in {
		case lineStart:
			h.line = h.seen + i
			switch {
			case c == '\r':
				h.in = lineCR
			case isBlank(c) && h.begun:
				h.in = lineBody
			case nameOctet(c):
				h.in = lineName
			default:
				return h.line, false, true
			}
		case lineCR:
			return h.seen + i + 1, true, true
		case lineName:
			if c == ':' {
				h.in, h.begun = lineBody, true
			} else if !nameOctet(c) {
				return h.line, false, true
			}
		case lineBody:
			n := bytes.IndexByte(p[i:], '\n')
			if n < 0 {
				i = len(p)
				break
			}
			i += n
			h.in = lineStart
		}
	}
	h.seen += len(p)
	return 0, false, false
}

// End is Next where no octets follow: what was begun as a name is not a field.
func (h *HeaderLines) End() (body int, ok bool) { return h.line, h.in == lineName }

// nameOctet reports whether c may stand in the name of a field (RFC 5322 s. 3.6.8).
func nameOctet(c byte) bool { return c > ' ' && c < 0x7f && c != ':' }
