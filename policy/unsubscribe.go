package policy

import "bytes"

// unsubscribeFields gathers List-Unsubscribe (RFC 2369) and its Post (RFC 8058).
type unsubscribeFields struct{ link, https, post bool }

// links looks at what stands behind each "<".
func (w *unsubscribeFields) links(body []byte) {
	w.link, w.https = false, false
	for {
		i := bytes.IndexByte(body, '<')
		if i < 0 {
			return
		}
		body = body[i+1:]
		switch {
		case linkBegins(body, "https://"):
			w.link, w.https = true, true
			return
		case linkBegins(body, "mailto:"), linkBegins(body, "http://"):
			w.link = true
		}
	}
}

// linkBegins reports whether b begins with scheme, which is in lower case, in
// any case and with the white space between that RFC 2369 s. 2 has readers
// ignore within a link.
func linkBegins(b []byte, scheme string) bool {
	have := 0
	for i, c := range b {
		switch {
		case c == ' ', c == '\t', c == '\n' && i > 0 && b[i-1] == '\r':
		case c == '\r' && i+1 < len(b) && b[i+1] == '\n':
		case lowerByte(c) != scheme[have]:
			return false
		default:
			if have++; have == len(scheme) {
				return true
			}
		}
	}
	return false
}

func (w *unsubscribeFields) oneClick(body []byte) {
	w.post = bytes.EqualFold(bytes.TrimSpace(body), []byte("List-Unsubscribe=One-Click"))
}

func (w *unsubscribeFields) kind() Unsubscribe {
	switch {
	case w.https && w.post:
		return OneClick
	case w.link:
		return AnyUnsubscribe
	}
	return NoUnsubscribe
}
