package dkimsign

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// BodyHash is the SHA-256 of a message body in relaxed canonical form (RFC 6376
// s. 3.4.4), computed while the body passes by. The body comes by Write in
// pieces of any size, without dot-stuffing, its lines ended by CRLF; a bare CR
// or LF counts as an ordinary octet. Memory is constant whatever the body holds.
//
// NewBodyHash makes one; after Reset it serves another body. One goroutine at a
// time may use it.
type BodyHash struct {
	sum hash.Hash
	// What was read but is hashed only if an ordinary octet follows: first
	// blank line ends, then white space, then a CR that lacks its LF.
	ends  int64
	space bool
	cr    bool
	// any is set once an ordinary octet came.
	any bool
	// small collects short pieces, so that a line of many words does not cost
	// one call of the hash for each.
	small [512]byte
	n     int

	done   bool
	result [sha256.Size]byte
}

// NewBodyHash is a BodyHash that has read nothing yet.
func NewBodyHash() *BodyHash { return &BodyHash{sum: sha256.New()} }

// Write takes the next piece of the body. It keeps nothing of p and never
// fails. After Sum it panics: the body had ended.
func (h *BodyHash) Write(p []byte) (int, error) {
	if h.done {
		panic("dkimsign: BodyHash.Write after Sum")
	}
	n := len(p)
	f := finder{p: p, tab: -1, double: -1, trailing: -1}
	for at := 0; at < n; {
		if at += h.hold(p[at:]); at == n {
			break
		}
		h.release()
		end := f.dirty(at)
		// White space and line ends before the dirty place, or before the end
		// of this piece, may yet turn out to be trailing.
		clean := at + trimmed(p[at:end])
		h.put(p[at:clean])
		at = clean
	}
	return n, nil
}

// hold takes white space and line ends off the front of p and returns how many
// octets they were.
func (h *BodyHash) hold(p []byte) int {
	for i := range p {
		c := p[i]
		if h.cr {
			h.cr = false
			if c == '\n' {
				h.ends++
				h.space = false
				continue
			}
			h.release()
			h.put(bareCR)
		}
		switch c {
		case ' ', '\t':
			h.space = true
		case '\r':
			h.cr = true
		default:
			return i
		}
	}
	return len(p)
}

var (
	bareCR = []byte("\r")
	crlfs  = bytes.Repeat([]byte("\r\n"), 512)
)

// release hashes what was held back: an ordinary octet follows.
func (h *BodyHash) release() {
	for h.ends > 0 {
		n := min(h.ends, int64(len(crlfs)/2))
		h.put(crlfs[:2*n])
		h.ends -= n
	}
	if h.space {
		if h.n == len(h.small) {
			h.flush()
		}
		h.small[h.n] = ' '
		h.n++
		h.space = false
	}
	h.any = true
}

// put hashes canonical octets.
func (h *BodyHash) put(p []byte) {
	if len(p) <= len(h.small)/2 {
		if len(p) > len(h.small)-h.n {
			h.flush()
		}
		h.n += copy(h.small[h.n:], p)
		return
	}
	h.flush()
	h.sum.Write(p)
}

func (h *BodyHash) flush() {
	h.sum.Write(h.small[:h.n])
	h.n = 0
}

// Sum ends the body and returns its hash. It may be called again.
func (h *BodyHash) Sum() [sha256.Size]byte {
	if h.done {
		return h.result
	}
	h.done = true
	if h.cr {
		h.release()
		h.put(bareCR)
	}
	// Trailing blank lines are dropped; a last line without CRLF gets one; a
	// body of nothing else stays empty (RFC 6376 s. 3.4.4).
	if h.any {
		h.put(crlfs[:2])
	}
	h.flush()
	h.sum.Sum(h.result[:0])
	return h.result
}

// finder looks for the places where a piece is not yet in canonical form. Each
// kind is searched for once from end to end, however many there are.
type finder struct {
	p []byte
	// The next place of each kind: -1 not searched yet, len(p) none left.
	tab, double, trailing int
}

var (
	twoBlanks = []byte("  ")
	blankCR   = []byte(" \r")
)

// dirty is the first place from at on where a tab, two blanks, or a blank
// before CR stand; len(p) when there is none.
func (f *finder) dirty(at int) int {
	if f.tab < at {
		f.tab = len(f.p)
		if i := bytes.IndexByte(f.p[at:], '\t'); i >= 0 {
			f.tab = at + i
		}
	}
	if f.double < at {
		f.double = f.find(at, twoBlanks)
	}
	if f.trailing < at {
		f.trailing = f.find(at, blankCR)
	}
	return min(f.tab, f.double, f.trailing)
}

func (f *finder) find(at int, what []byte) int {
	if i := bytes.Index(f.p[at:], what); i >= 0 {
		return at + i
	}
	return len(f.p)
}

// trimmed is the length of p without white space and line ends at its end. A
// bare CR or LF there is held back or kept as hold would have it.
func trimmed(p []byte) int {
	n := len(p)
	for n > 0 {
		switch c := p[n-1]; {
		case c == ' ', c == '\t', c == '\r':
		case c == '\n' && n > 1 && p[n-2] == '\r':
		default:
			return n
		}
		n--
	}
	return 0
}
