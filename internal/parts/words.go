package parts

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// words appends v with its encoded words decoded (RFC 2047), also those that are
// not well formed. Between two of them white space is dropped. With joined the
// octets of words that follow each other are put together before they are decoded,
// as some readers do where base64 was cut anywhere.
func (w *walk) words(to, v []byte, joined bool) []byte {
	data, charset := w.name.data[:0], ""
	flush := func() {
		if len(data) > 0 {
			to = w.convert(to, charset, w.unbase64(data))
			data = data[:0]
		}
	}
	for len(v) > 0 {
		i := bytes.Index(v, []byte("=?"))
		if i < 0 {
			break
		}
		word, rest, ok := cutWord(v[i:])
		if !ok {
			flush()
			to = append(to, v[:i+2]...)
			v = v[i+2:]
			if bytes.Contains(v, []byte("?=")) {
				w.ambiguous("encoded word that cannot be read")
			}
			continue
		}
		if len(bytes.Trim(v[:i], " \t")) > 0 {
			flush()
			to = append(to, v[:i]...)
		}
		v = rest
		if word.encoding != 'b' || !joined || charset != word.charset {
			flush()
		}
		if word.encoding == 'q' {
			w.name.decoded = unquote(w.name.decoded[:0], word.data)
			to = w.convert(to, word.charset, w.name.decoded)
			continue
		}
		charset, data = word.charset, append(data, word.data...)
	}
	flush()
	w.name.data = data
	return append(to, v...)
}

type word struct {
	charset  string
	encoding byte // 'b' or 'q'
	data     []byte
}

// cutWord reads the encoded word at the start of v. Its end may be missing.
func cutWord(v []byte) (w word, rest []byte, ok bool) {
	charset, rest, ok1 := bytes.Cut(v[2:], []byte("?"))
	encoding, rest, ok2 := bytes.Cut(rest, []byte("?"))
	encoding = bytes.TrimSpace(encoding)
	if !ok1 || !ok2 || len(encoding) != 1 || len(charset) > 80 {
		return w, nil, false
	}
	label, _, _ := strings.Cut(string(charset), "*") // RFC 2231 s. 5: language
	w = word{charset: strings.ToLower(strings.TrimSpace(label)), encoding: encoding[0] | 0x20}
	if w.encoding != 'b' && w.encoding != 'q' {
		return w, nil, false
	}
	// "?=" may also be a question mark and an encoded octet.
	w.data, rest, ok = bytes.Cut(rest, []byte("?="))
	if !ok {
		w.data, _, _ = bytes.Cut(w.data, []byte(`"`))
		rest = nil
	}
	return w, rest, true
}

// unquote appends what the Q encoding (RFC 2047 s. 4.2) stands for.
func unquote(to, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '_':
			to = append(to, ' ')
		case v[i] == '=' && i+2 < len(v) && unhex(v[i+1]) >= 0 && unhex(v[i+2]) >= 0:
			to = append(to, byte(unhex(v[i+1])<<4|unhex(v[i+2])))
			i += 2
		default:
			to = append(to, v[i])
		}
	}
	return to
}

// unbase64 returns what v stands for, whatever else is in it. It is good until the
// next call.
func (w *walk) unbase64(v []byte) []byte {
	w.name.decoded = slices.Grow(w.name.decoded[:0], len(v)+3)
	out := w.name.decoded[:len(v)+3]
	var d base64Decoder
	n := d.decode(out, v)
	n += d.flush(out[n:])
	return out[:n]
}

// convert appends octets of a charset as UTF-8. Most charsets hold ASCII as it is,
// and extensions are ASCII.
func (w *walk) convert(to []byte, charset string, v []byte) []byte {
	if asciiWithin(charset) {
		return append(to, v...)
	}
	e, err := htmlindex.Get(charset)
	if err != nil || w.charsets >= maxCharsets {
		// UTF-7, EBCDIC, UTF-32: some reader knows them.
		w.ambiguous("name in a charset that is not known here")
		return append(to, v...)
	}
	w.charsets++
	out, _, err := transform.Append(e.NewDecoder(), to, v)
	if err != nil {
		return append(to, v...)
	}
	return out
}

// asciiWithin reports whether an octet below 128 means in a charset what it means
// in ASCII.
func asciiWithin(charset string) bool {
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "gb2312", "gbk", "gb18030", "big5", "euc-jp", "euc-kr", "ks_c_5601-1987", "cp949",
		"unknown", "unknown-8bit", "x-unknown", "default", "default_charset", "latin1", "macintosh", "tis-620", "binary", "iso-8859-8-i",
		"shift_jis", "shift-jis", "sjis", "cp932", "x-sjis", "cp1252", "cp1251", "cp1250", "ansi_x3.4-1968", "x-user-defined", "cp936", "cp850", "ibm850", "cp437", "cp866":
		return true
	}
	for _, family := range [...]string{"iso-8859-", "iso8859-", "iso_8859-", "windows-", "koi8-", "x-mac-"} {
		if strings.HasPrefix(charset, family) {
			return true
		}
	}
	return false
}
