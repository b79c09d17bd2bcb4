package parts

import "bytes"

// envelope takes the message out of S/MIME that is signed and not encrypted, of which
// readers show the content as if it stood there (RFC 8551 s. 3.5.2). The message is an
// octet string in BER (RFC 5652 s. 5), in one piece or in many.
type envelope struct {
	held  []byte // of a header that has not come in full
	state envelopeState
	left  int64 // octets of the piece that follow
}

type envelopeState int

const (
	envelopeStart  envelopeState = iota // the content has not begun
	envelopeHeader                      // the header of a piece comes
	envelopePiece                       // octets of a piece come
	envelopeEnd
)

// maxEnvelope is where the content must have begun.
const maxEnvelope = 1 << 10

var (
	// oidData is id-data, the type of what is signed.
	oidData = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
	// oidSigned and oidCompressed are types of S/MIME; what is neither is encrypted.
	oidSigned     = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02")
	oidCompressed = []byte("\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09")
)

// open passes what b holds of the message on to inner.
func (e *envelope) open(w *walk, b []byte, inner *level) {
	for len(b) > 0 {
		switch e.state {
		case envelopeStart:
			e.held = append(e.held, b...)
			b = e.begin(w)
		case envelopeHeader:
			// At most an octet of the tag, one of the length and eight more.
			n := min(len(b), 10-len(e.held))
			e.held = append(e.held, b[:n]...)
			before := len(e.held) - n
			used, ok := e.piece(w)
			if !ok {
				b = b[n:]
				continue
			}
			e.held = e.held[:0]
			b = b[used-before:]
		case envelopePiece:
			n := min(int64(len(b)), e.left)
			inner.write(b[:n])
			b = b[n:]
			if e.left -= n; e.left == 0 {
				e.state = envelopeHeader
			}
		case envelopeEnd:
			return
		}
	}
}

// begin looks for the start of the content, and returns what was held behind it.
func (e *envelope) begin(w *walk) (rest []byte) {
	if len(e.held) < 64 {
		return nil
	}
	head := e.held[:64]
	switch i := bytes.Index(e.held, oidData); {
	case !bytes.Contains(head, oidSigned) && !bytes.Contains(head, oidCompressed):
		e.state = envelopeEnd
	case bytes.Contains(head, oidCompressed):
		w.ambiguous("compressed S/MIME")
		e.state = envelopeEnd
	case i >= 0:
		// [0] EXPLICIT, with its length, and then the octet string.
		rest = e.held[i+len(oidData):]
		if len(rest) < 10 {
			return nil
		}
		n := 2
		if rest[1] > 0x80 {
			n += int(rest[1] & 0x7f)
		}
		if rest[0] != 0xa0 || n > 10 {
			e.state = envelopeEnd // it has no content, but is a bag of certificates
			return nil
		}
		e.state, e.held = envelopeHeader, nil
		return rest[n:]
	case len(e.held) > maxEnvelope:
		w.ambiguous("S/MIME that cannot be read")
		e.state = envelopeEnd
	}
	return nil
}

// piece reads the header of a piece in held, and returns its size; false when there
// is not enough of it.
func (e *envelope) piece(w *walk) (used int, ok bool) {
	h := e.held
	if len(h) < 2 {
		return 0, false
	}
	used, length := 2, int64(h[1])
	if h[1] > 0x80 {
		n := int(h[1] & 0x7f)
		if n > 7 {
			w.ambiguous("S/MIME that cannot be read")
			e.state = envelopeEnd
			return used, true
		}
		if used += n; len(h) < used {
			return 0, false
		}
		length = 0
		for _, c := range h[2:used] {
			length = length<<8 | int64(c)
		}
	}
	switch h[0] {
	case 0x24: // pieces follow
	case 0x04:
		if e.state, e.left = envelopePiece, length; length == 0 {
			e.state = envelopeHeader
		}
		if h[1] == 0x80 {
			w.ambiguous("S/MIME that cannot be read")
			e.state = envelopeEnd
		}
	default:
		e.state = envelopeEnd
	}
	return used, true
}
