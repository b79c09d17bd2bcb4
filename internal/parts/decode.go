package parts

// base64Decoder decodes what a lenient reader would: it passes over octets that
// are not in the alphabet, and begins anew behind padding.
type base64Decoder struct {
	bits   uint32
	have   int // characters in bits
	padded int // padding characters behind an unfinished group

	junk  bool // there was something that is neither alphabet, padding nor white space
	broke bool // data followed padding that does not end a group
}

const (
	notBase64 = 0xff
	blank64   = 0xfe
	pad64     = 0xfd
)

var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = notBase64
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	for _, c := range " \t\r\n" {
		t[c] = blank64
	}
	t['='] = pad64
	return t
}()

// decode decodes src into dst, which has room for 3/4 of it and 3 more, and returns
// the number of octets.
func (d *base64Decoder) decode(dst, src []byte) (n int) {
	for i := 0; i < len(src); i++ {
		if d.have == 0 && d.padded == 0 {
			// Whole groups go fast.
			for i+4 <= len(src) && n+3 <= len(dst) {
				a, b, c, e := base64Values[src[i]], base64Values[src[i+1]], base64Values[src[i+2]], base64Values[src[i+3]]
				if a|b|c|e > 63 {
					break
				}
				dst[n], dst[n+1], dst[n+2] = a<<2|b>>4, b<<4|c>>2, c<<6|e
				n, i = n+3, i+4
			}
			if i >= len(src) {
				break
			}
		}
		switch v := base64Values[src[i]]; v {
		case blank64:
		case notBase64:
			d.junk = true
		case pad64:
			d.padded++
		default:
			if d.padded > 0 {
				d.broke = d.broke || d.have == 0 && d.padded > 2 || d.have == 1 || d.have == 2 && d.padded != 2 || d.have == 3 && d.padded != 1
				n += d.flush(dst[n:])
			}
			d.bits, d.have = d.bits<<6|uint32(v), d.have+1
			if d.have == 4 {
				dst[n], dst[n+1], dst[n+2] = byte(d.bits>>16), byte(d.bits>>8), byte(d.bits)
				n += 3
				d.bits, d.have = 0, 0
			}
		}
	}
	return n
}

// flush decodes what is left of a group.
func (d *base64Decoder) flush(dst []byte) (n int) {
	switch d.have {
	case 2:
		dst[0] = byte(d.bits >> 4)
		n = 1
	case 3:
		dst[0], dst[1] = byte(d.bits>>10), byte(d.bits>>2)
		n = 2
	}
	d.bits, d.have, d.padded = 0, 0, 0
	return n
}

// quotedDecoder decodes quoted-printable (RFC 2045 s. 6.7).
type quotedDecoder struct {
	held  [2]byte // an equals sign, and a digit behind it
	count int
	pad   bool // white space follows the equals sign
}

// decode appends what v stands for.
func (d *quotedDecoder) decode(to, v []byte) []byte {
	for _, c := range v {
		switch {
		case d.count == 1 && !d.pad && unhex(c) >= 0:
			d.held[1], d.count = c, 2
			continue
		case d.count == 2 && unhex(c) >= 0:
			to = append(to, byte(unhex(d.held[1])<<4|unhex(c)))
			d.count = 0
			continue
		case d.count == 1 && (c == ' ' || c == '\t'):
			d.pad = true
			continue
		case d.count > 0:
			to = append(to, d.held[:d.count]...)
			d.count, d.pad = 0, false
		}
		if c == '=' {
			d.held[0], d.count = c, 1
			continue
		}
		to = append(to, c)
	}
	return to
}

// newline appends what the end of a line stands for: nothing behind an equals sign.
func (d *quotedDecoder) newline(to []byte) []byte {
	soft := d.count == 1
	if d.count == 2 {
		to = append(to, d.held[:2]...)
	}
	d.count, d.pad = 0, false
	if soft {
		return to
	}
	return append(to, '\r', '\n')
}
