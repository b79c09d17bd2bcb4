package syntax

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

// part is a kind of the parts of a display name.
type part uint8

const (
	none   part = iota
	word        // an atom, also encoded
	quoted      // a quoted-string
	other       // anything else
)

// name gathers a display name: words with a space between them where white space
// stood, decoded.
type name struct {
	buf     []byte
	last    part
	encoded bool // the last word was encoded: no space before another such
}

func (n *name) empty() bool { return n.last == none }

// takes reports whether a plain name goes on with such a part: words with space
// between them, or one quoted-string.
func (n *name) takes(next part, spaced bool) bool {
	return n.last == none || n.last == word && next == word && spaced
}

// beforeBrackets reports whether brackets may follow in plain form.
func (n *name) beforeBrackets(spaced bool) bool { return n.last != word || spaced }

// join appends text that is not encoded.
func (n *name) join(text string, spaced bool) {
	if spaced && len(n.buf) > 0 {
		n.buf = append(n.buf, ' ')
	}
	n.buf = append(n.buf, text...)
	n.last, n.encoded = other, false
}

// decode appends an encoded-word. One that cannot be decoded for certain stays
// as it is. Controls are refused: some readers then see no author at all.
func (n *name) decode(w string) error {
	text := decodeWord(w)
	if strings.ContainsFunc(text, unicode.IsControl) {
		return errAmbiguous
	}
	if len(n.buf) > 0 && !n.encoded {
		n.buf = append(n.buf, ' ')
	}
	n.buf = append(n.buf, text...)
	n.last, n.encoded = word, true
	return nil
}

// String is the name in UTF-8, without controls.
func (n *name) String() string {
	if printable(n.buf) {
		return string(n.buf)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, string(bytes.ToValidUTF8(n.buf, []byte("\uFFFD"))))
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

var (
	errCharset = errors.New("charset of an encoded-word is not known for certain")
	decoder    = mime.WordDecoder{CharsetReader: charsetReader}
)

// decodeWord decodes an encoded-word, or returns it as it is: what we cannot
// decode for certain some reader may decode to anything.
func decodeWord(w string) string {
	text, err := decoder.Decode(w)
	if err != nil || !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		return w
	}
	return text
}

// charsetReader knows the charsets of the Encoding Standard of WHATWG, with the
// language that RFC 2231 s. 5 allows behind the name. UTF-16 is not among them:
// readers differ in its order of octets.
func charsetReader(charset string, in io.Reader) (io.Reader, error) {
	charset, _, _ = strings.Cut(charset, "*")
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, errCharset
	}
	canonical, err := htmlindex.Name(e)
	if err != nil || strings.HasPrefix(canonical, "utf-16") || e == encoding.Replacement {
		return nil, errCharset
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	// A word that does not end in ASCII (RFC 2047 s. 3) changes what some readers
	// make of the next one.
	if i := bytes.LastIndexByte(b, 0x1b); i >= 0 && canonical == "iso-2022-jp" && !bytes.HasPrefix(b[i:], []byte("\x1b(B")) {
		return nil, errCharset
	}
	return e.NewDecoder().Reader(bytes.NewReader(b)), nil
}
