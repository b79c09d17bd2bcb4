package dkimsign

import "bytes"

// mode says how often a field name goes into h=. A name that stands there once
// more than the field occurs makes every field added later break the signature
// (RFC 6376 s. 8.15).
type mode uint8

const (
	sealed  mode = iota // one more than there are: nobody may add one
	guarded             // the same, but only where there is one
	present             // as many as there are: mailing lists and forwarders add theirs
)

// signedFields are the fields that a signature covers, in the order of h=.
// Sealed is what a reader or filter goes by. Trace fields and those that are
// changed on the way (Received, Return-Path, Authentication-Results, Bcc) are
// left out, as RFC 6376 s. 5.4.1 has it.
var signedFields = []struct {
	name string
	mode mode
}{
	{"From", sealed},
	{"Sender", sealed},
	{"Reply-To", sealed},
	{"To", sealed},
	{"Cc", sealed},
	{"Subject", sealed},
	{"Date", sealed},
	{"Message-ID", sealed},
	{"In-Reply-To", sealed},
	{"References", sealed},
	{"MIME-Version", sealed},
	{"Content-Type", sealed},
	{"Content-Transfer-Encoding", sealed},
	{"Content-Disposition", sealed},
	{"Content-ID", guarded},
	{"Auto-Submitted", guarded},
	// RFC 8058 s. 4: one-click unsubscription counts only when both are signed.
	// Sealed, so that nobody who passes the message on adds a link of his own.
	{"List-Unsubscribe", sealed},
	{"List-Unsubscribe-Post", sealed},
	{"List-ID", present},
	{"List-Help", present},
	{"List-Owner", present},
	{"List-Post", present},
	{"List-Subscribe", present},
	{"List-Archive", present},
	{"Resent-From", present},
	{"Resent-Sender", present},
	{"Resent-To", present},
	{"Resent-Cc", present},
	{"Resent-Date", present},
	{"Resent-Message-ID", present},
	// A stranger's selector would show another logo beside our name.
	{"BIMI-Selector", sealed},
	// Feedback loops of receivers count only what is signed (RFC 9477 s. 3.1).
	{"Feedback-ID", guarded},
	{"CFBL-Address", guarded},
	{"CFBL-Feedback-ID", guarded},
	{"Autocrypt", present},
	{"OpenPGP", present},
}

// fieldIndex finds a field in signedFields by its name in lower case.
var fieldIndex = func() map[string]int {
	m := make(map[string]int, len(signedFields))
	for i, f := range signedFields {
		m[string(bytes.ToLower([]byte(f.name)))] = i
	}
	return m
}()

// longestName is the length of the longest name in signedFields.
var longestName = func() (n int) {
	for _, f := range signedFields {
		n = max(n, len(f.name))
	}
	return n
}()

// instance is one field that will be signed.
type instance struct {
	start, end int // of the whole field in the header block, CRLF included
	colon      int
	above      int // the next instance of that name upwards in picked.list, or -1
}

// picked are the fields of one header block that will be signed, by name, the
// lowest first (RFC 6376 s. 5.4.2).
type picked struct {
	list  []instance
	last  []int // by index in signedFields: the lowest instance, or -1
	count []int
	way   *Way // whose unsigned fields are left out
}

func (p *picked) reset() {
	p.list = p.list[:0]
	if p.last == nil {
		p.last = make([]int, len(signedFields))
		p.count = make([]int, len(signedFields))
	}
	for i := range p.last {
		p.last[i], p.count[i] = -1, 0
	}
}

// pick finds the fields to sign in header, in one pass. It ends at the blank
// line. What is not a field (no colon, white space first) is passed over, as
// verifiers do.
func (p *picked) pick(header []byte, way *Way) {
	p.reset()
	p.way = way
	for at := 0; at < len(header); {
		end, first := fieldEnd(header, at)
		if first == at+2 && header[at] == '\r' {
			return
		}
		if colon := bytes.IndexByte(header[at:first], ':'); colon > 0 {
			if i, ok := nameIndex(header[at : at+colon]); ok && !way.leaves(i) {
				p.list = append(p.list, instance{at, end, at + colon, p.last[i]})
				p.last[i] = len(p.list) - 1
				p.count[i]++
			}
		}
		at = end
	}
}

// fieldEnd returns where the field that starts at at ends, and where its first
// line ends.
func fieldEnd(header []byte, at int) (end, first int) {
	for end = at; ; {
		i := bytes.IndexByte(header[end:], '\n')
		if i < 0 {
			end = len(header)
		} else {
			end += i + 1
		}
		if first == 0 {
			first = end
			if first == at+2 && header[at] == '\r' {
				return end, first // the blank line has no continuation
			}
		}
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			return end, first
		}
	}
}

// nameIndex looks a field name up, case and trailing white space aside.
func nameIndex(name []byte) (int, bool) {
	for len(name) > 0 && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name = name[:len(name)-1]
	}
	if len(name) > longestName {
		return 0, false
	}
	var low [64]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		low[i] = c
	}
	i, ok := fieldIndex[string(low[:len(name)])]
	return i, ok
}

// appendSigned appends the canonical form of all picked fields in the order of
// h=.
func (p *picked) appendSigned(dst, header []byte) []byte {
	for _, low := range p.last {
		for i := low; i >= 0; i = p.list[i].above {
			f := p.list[i]
			dst = appendRelaxed(dst, header[f.start:f.colon], header[f.colon+1:f.end])
			dst = append(dst, '\r', '\n')
		}
	}
	return dst
}

// times is how often the name of signedFields[i] stands in h=.
func (p *picked) times(i int) int {
	if p.way.leaves(i) {
		return 0
	}
	n := p.count[i]
	if signedFields[i].mode == sealed || signedFields[i].mode == guarded && n > 0 {
		n++
	}
	return n
}

// appendRelaxed appends one field in relaxed canonical form without its CRLF
// (RFC 6376 s. 3.4.2).
func appendRelaxed(dst, name, value []byte) []byte {
	for _, c := range name {
		switch {
		case c == ' ' || c == '\t':
			continue
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	return appendUnfolded(dst, value)
}

// appendUnfolded appends value on one line, each run of white space and line
// ends as one blank, none at either end.
func appendUnfolded(dst, value []byte) []byte {
	start := len(dst)
	for len(value) > 0 {
		n := 0
		for n < len(value) && !isSpace[value[n]] {
			n++
		}
		if n > 0 {
			if len(dst) > start {
				dst = append(dst, ' ')
			}
			dst = append(dst, value[:n]...)
		}
		for n < len(value) && isSpace[value[n]] {
			n++
		}
		value = value[n:]
	}
	return dst
}

// isSpace is true for white space, CR and LF.
var isSpace = [256]bool{' ': true, '\t': true, '\r': true, '\n': true}
