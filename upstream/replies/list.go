package replies

import (
	"errors"
	"regexp"
	"strings"
)

// listEntry is one line "known NAME domain... | phrase | phrase".
type listEntry struct {
	name    string
	domains []string
	phrases []string
}

func parseListEntry(value string) (listEntry, error) {
	parts := strings.Split(value, "|")
	words := strings.Fields(parts[0])
	e := listEntry{name: words[0], domains: words[1:]}
	for _, p := range parts[1:] {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			e.phrases = append(e.phrases, p)
		}
	}
	if len(e.domains)+len(e.phrases) == 0 {
		return e, errors.New("names neither a domain nor, behind a |, a phrase")
	}
	return e, nil
}

// listNames tells blocklists by their domains and by what they are called.
type listNames struct {
	domains map[string]string // domain to name
	phrases []listPhrase      // in the order of the files
}

type listPhrase struct{ phrase, name string }

func newListNames(entries []listEntry) *listNames {
	l := &listNames{domains: map[string]string{}}
	for _, e := range entries {
		for _, d := range e.domains {
			if _, ok := l.domains[d]; !ok {
				l.domains[d] = e.name
			}
		}
		for _, p := range e.phrases {
			l.phrases = append(l.phrases, listPhrase{p, e.name})
		}
	}
	return l
}

// byDomain returns the name of the list that host is or is under, or "".
func (l *listNames) byDomain(host string) string {
	for host != "" {
		if name, ok := l.domains[host]; ok {
			return name
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return ""
}

// name returns the list that a reply names: by a zone, by what it is called, by
// a link, or else the zone itself where the text says that it is one.
func (l *listNames) name(t *replyText) string {
	for _, h := range t.hosts {
		if name := l.byDomain(h); name != "" {
			return name
		}
	}
	for _, p := range l.phrases {
		if containsWord(t.text, p.phrase) {
			return p.name
		}
	}
	for _, h := range t.links {
		if name := l.byDomain(h); name != "" {
			return name
		}
	}
	return t.unknownZone()
}

var zoneBefore = regexp.MustCompile(`\b(?:using|listed (?:at|in|on|by)|found (?:at|in|on)|blocked by|list:?) HOST\b`)

// unknownZone returns the host name that the text calls a list, or "".
func (t *replyText) unknownZone() string {
	m := zoneBefore.FindStringIndex(t.text)
	if m == nil {
		return ""
	}
	before := t.text[:m[1]-len(maskHost)]
	i := strings.Count(before, maskHost) + strings.Count(before, maskList) - strings.Count(before, maskListURL)
	if i >= len(t.hosts) {
		return ""
	}
	return t.hosts[i]
}

// containsWord reports whether phrase stands in text with no letter or digit
// directly before or behind it.
func containsWord(text, phrase string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], phrase)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(phrase)
		if (i == 0 || !isAlnum(text[i-1])) && (end == len(text) || !isAlnum(text[end])) {
			return true
		}
		from = i + 1
	}
}

func isAlnum(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' }
