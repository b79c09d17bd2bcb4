package syntax

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

// longName is the length of a quoted name from which on it is encoded, so that
// it can be folded.
const longName = 200

// appendFrom appends the field From with these authors in plain form, and its
// CR LF: "Name" <a@b.example>, one author a line. A name that quotes cannot hold
// as it is becomes encoded-words of UTF-8 (RFC 2047). Comments follow the name in
// parentheses, or are the name where there is none.
//
// AppendAuthors reads the same addresses from it, and reads it as plain. Authors
// are those that it returned; names with "=?" or of text that is not UTF-8 are
// left out, for no plain form shows them.
func appendFrom(b []byte, authors []Author) []byte {
	b = append(b, "From: "...)
	for i := range authors {
		if i > 0 {
			b = append(b, ",\r\n "...)
		}
		b = appendName(b, shownName(&authors[i]))
		b = append(b, '<')
		b = authors[i].Address.AppendTo(b)
		b = append(b, '>')
	}
	return append(b, "\r\n"...)
}

// AppendWith appends the fields of h but for those named in without; From is as
// appendFrom writes it, or with no authors as it came.
func (h Header) AppendWith(b []byte, authors []Author, without ...string) []byte {
	for i := range h {
		switch {
		case len(authors) > 0 && h[i].Is("From"):
			b = appendFrom(b, authors)
		case !slices.ContainsFunc(without, h[i].Is):
			b = append(b, h[i].Raw...)
		}
	}
	return b
}

func shownName(a *Author) string {
	name := a.Name
	switch {
	case name == "":
		name = a.Comment
	case a.Comment != "":
		name += " (" + a.Comment + ")"
	}
	if strings.Contains(name, "=?") || !utf8.ValidString(name) {
		return ""
	}
	return strings.TrimSpace(name)
}

// appendName appends a display name and the space behind it.
func appendName(b []byte, name string) []byte {
	switch {
	case name == "":
		return b
	case len(name) <= longName && mail.ASCII(name) && !strings.ContainsAny(name, `"\`):
		return append(append(append(b, '"'), name...), `" `...)
	}
	const most = 42 // octets of text that leave a line under 78
	for len(name) > 0 {
		n := min(len(name), most)
		for n < len(name) && !utf8.RuneStart(name[n]) {
			n--
		}
		b = append(b, "=?utf-8?b?"...)
		b = base64.StdEncoding.AppendEncode(b, []byte(name[:n]))
		b = append(b, "?=\r\n "...)
		name = name[n:]
	}
	return b
}
