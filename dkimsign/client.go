package dkimsign

import (
	"bytes"
	"strings"
)

// Owners are the domains in whose name a client writes; the zero value holds none.
type Owners struct {
	domains map[string]bool
	above   map[string]bool // they and all domains above them
}

// Add adds a domain in lower-case A-labels.
func (o *Owners) Add(domain string) {
	if o.domains == nil {
		o.domains, o.above = map[string]bool{}, map[string]bool{}
	}
	o.domains[domain] = true
	for more := domain != ""; more && !o.above[domain]; {
		o.above[domain] = true
		_, domain, more = strings.Cut(domain, ".")
	}
}

// Made reports whether a DKIM-Signature field was made in the name of one of the
// domains: by that domain, one above or one below it. value is the body of the
// field. What cannot be read as a signature of any domain counts as well, for it
// serves nobody. Without a domain nothing counts.
func (o *Owners) Made(value []byte) bool {
	if len(o.domains) == 0 {
		return false
	}
	d, ok := signedBy(value)
	if !ok || o.above[d] {
		return true
	}
	for more := true; more; _, d, more = strings.Cut(d, ".") {
		if o.domains[d] {
			return true
		}
	}
	return false
}

// signedBy is the tag d= of a signature in lower case. ok is false where there is
// none, more than one, or what is not a tag-list (RFC 6376 s. 3.2).
func signedBy(value []byte) (domain string, ok bool) {
	for tag := range bytes.SplitSeq(value, []byte{';'}) {
		name, v, found := bytes.Cut(tag, []byte{'='})
		if name = bytes.Trim(name, " \t\r\n"); !found && len(name) == 0 {
			continue // behind the last semicolon
		}
		if !found || len(name) == 0 {
			return "", false
		}
		if string(name) != "d" {
			continue
		}
		if ok { // twice
			return "", false
		}
		domain = strings.ToLower(string(bytes.Trim(v, " \t\r\n")))
		if ok = isHostName(domain); !ok {
			return "", false
		}
	}
	return domain, ok
}
