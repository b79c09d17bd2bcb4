package parts

import (
	"bytes"
	"errors"
	"strings"
)

// RefusedNames are the attachments that are refused, by their names and kinds.
type RefusedNames struct {
	suffixes map[string]string // last extension to entry
	longer   []string          // ".tar.gz" and their like
	patterns []string          // with * and ?
}

// maxEntry is the length up to which an entry makes sense: that of a file's name.
const maxEntry = 255

// CheckEntry says what is wrong with an entry of the rules: an extension such as
// "exe" or "tar.gz", or a pattern of a whole name such as "invoice*.zip".
func CheckEntry(entry string) error {
	switch {
	case entry == "" || len(entry) > maxEntry:
		return errors.New(`is not a name of 1 to 255 octets; write an extension such as "exe", or a pattern such as "invoice*.zip"`)
	case strings.ContainsFunc(entry, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`/\:"`, r) }):
		return errors.New(`holds something else than printable ASCII of a file's name; write an extension such as "exe", or a pattern such as "invoice*.zip"`)
	case strings.Trim(entry, ".*? ") == "":
		return errors.New("is every attachment; name extensions")
	}
	return nil
}

// NewRules makes rules of entries that CheckEntry has nothing against. Nil without
// entries.
func NewRules(entries ...string) *RefusedNames {
	if len(entries) == 0 {
		return nil
	}
	r := &RefusedNames{suffixes: map[string]string{}}
	for _, e := range entries {
		e = strings.ToLower(strings.TrimSpace(e))
		if rest, ok := strings.CutPrefix(e, "*."); ok && !strings.ContainsAny(rest, "*?") {
			e = rest
		}
		if e = strings.TrimPrefix(e, "."); e == "" {
			continue
		}
		switch {
		case strings.ContainsAny(e, "*?"):
			r.patterns = append(r.patterns, e)
		case strings.Contains(e, "."):
			r.longer = append(r.longer, "."+e)
		default:
			r.suffixes[e] = e
		}
	}
	return r
}

// kind returns the entry for a kind that was seen in the octets of a file.
func (r *RefusedNames) kind(kind string) (entry string, ok bool) {
	if r == nil {
		return "", false
	}
	entry, ok = r.suffixes[kind]
	return entry, ok
}

// cost is how often a name is gone through.
func (r *RefusedNames) cost() int {
	if r == nil {
		return 0
	}
	return len(r.patterns) + len(r.longer)/8
}

// match returns the entry for a name in lower case.
func (r *RefusedNames) match(name []byte) (entry string, ok bool) {
	if r == nil {
		return "", false
	}
	if i := bytes.LastIndexByte(name, '.'); i >= 0 {
		if entry, ok = r.suffixes[string(name[i+1:])]; ok {
			return entry, true
		}
	}
	for _, s := range r.longer {
		if len(name) >= len(s) && string(name[len(name)-len(s):]) == s {
			return s[1:], true
		}
	}
	base := name[bytes.LastIndexAny(name, `/\`)+1:]
	for _, p := range r.patterns {
		if like(base, p) {
			return p, true
		}
	}
	return "", false
}

// like holds a name against a pattern, in which * is any octets and ? is one.
func like(name []byte, pattern string) bool {
	at, p, star, from := 0, 0, -1, 0
	for at < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, at
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[at]):
			at, p = at+1, p+1
		case star >= 0:
			from++
			at, p = from, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
