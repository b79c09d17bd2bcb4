package find

import (
	"bytes"
	"strings"
)

// needle finds the next place where a line may be one that is asked for. A journal of a
// million lines is searched by an octet that is rare in it, with the instructions of the
// processor for that, and only there by the rest: half the time of bytes.Index for most
// texts, and a third for addresses at a domain that stands in each line.
type needle struct {
	text   []byte
	local  []byte // of an address whose text is "@domain"; nil: none
	word   bool   // no letter and no digit stands before it
	anchor int    // the place of a rare octet in text; -1: none is
}

func newNeedle(text, local []byte) needle {
	n := needle{text: text, anchor: -1}
	if len(local) > 0 {
		n.local = local
	}
	for i, c := range text {
		switch {
		case c == '@':
			n.anchor = i
			return n
		case n.anchor < 0 && (c >= 'A' && c <= 'Z' || strings.IndexByte("+=#%!~$*jqxzkvw", c) >= 0):
			n.anchor = i
		}
	}
	return n
}

// next is where the text begins in b; -1: nowhere.
func (n *needle) next(b []byte) int {
	if n.anchor < 0 {
		return n.plain(b)
	}
	for at := 0; ; at++ {
		i := bytes.IndexByte(b[at:], n.text[n.anchor])
		if i < 0 {
			return -1
		}
		at += i
		start := at - n.anchor
		if start >= 0 && bytes.HasPrefix(b[start:], n.text) && (n.local == nil || n.isLocal(b[:start])) && n.begins(b[:start]) {
			return start
		}
	}
}

// plain is next without a rare octet.
func (n *needle) plain(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], n.text)
		if i < 0 {
			return -1
		}
		if at += i; n.begins(b[:at]) {
			return at
		}
	}
}

// begins reports whether a word may begin behind b, where JSON writes "<" as \u003c.
func (n *needle) begins(b []byte) bool {
	end := len(b)
	return !n.word || end == 0 || !isWord(b[end-1]) || end >= 2 && b[end-2] == '\\' || end >= 6 && b[end-6] == '\\' && b[end-5] == 'u'
}

// isLocal reports whether b ends in the local-part, in any case, or in one that has to be
// decoded to be known.
func (n *needle) isLocal(b []byte) bool {
	if len(b) == 0 || !isPlain(b[len(b)-1]) {
		return true
	}
	if lower(b[len(b)-1]) != lower(n.local[len(n.local)-1]) {
		return false // nearly always
	}
	start := len(b)
	for start > 0 && isPlain(b[start-1]) {
		start--
	}
	// Behind anything but the quote of JSON stands a spelling that has to be decoded.
	return start == 0 || b[start-1] != '"' || start > 1 && b[start-2] == '\\' || bytes.EqualFold(b[start:], n.local)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
