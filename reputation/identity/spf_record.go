package identity

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/resolve"
	"postern/internal/text"
)

// spfTerm is one mechanism or modifier of an SPF record (RFC 7208 s. 4.6.1).
type spfTerm struct {
	text string // as it stands in the record
	// qualifier is '+', '-', '~' or '?' of a mechanism; 0 of a modifier.
	qualifier byte
	name      string // in lower case: "ip4", "include", "redirect" ...
	// value is the network of ip4 and ip6, else the domain-spec without a length
	// of prefix; "" where there is none.
	value string
}

// asks reports whether the term counts towards the ten look-ups (RFC 7208
// s. 4.6.4).
func (t *spfTerm) asks() bool {
	switch t.name {
	case "include", "a", "mx", "ptr", "exists", "redirect":
		return true
	}
	return false
}

// spfSyntaxError names a term that does not follow the grammar. The result of
// its record is permerror (RFC 7208 s. 4.6).
type spfSyntaxError struct {
	domain  string // whose record it is; "" when not known
	term    string // as it stands in the record
	problem string
}

func (e *spfSyntaxError) Error() string {
	return fmt.Sprintf("%q %s", text.Clip(e.term, 60), e.problem)
}

// parseSPF reads a whole record, as receivers must before they evaluate any of
// it (RFC 7208 s. 4.6). bad is what does not follow the grammar, in order: one
// entry makes the record a permerror. terms are those that can be read.
func parseSPF(record string) (terms []spfTerm, bad []*spfSyntaxError) {
	version, rest, _ := strings.Cut(record, " ")
	if !strings.EqualFold(version, "v=spf1") {
		return nil, []*spfSyntaxError{{term: version, problem: "is not v=spf1"}}
	}
	seen := map[string]bool{}
	for word := range strings.SplitSeq(rest, " ") {
		if word == "" {
			continue
		}
		t, problem := parseSPFTerm(word)
		once := t.name == "redirect" || t.name == "exp" // RFC 7208 s. 6
		if problem == "" && once && seen[t.name] {
			problem = "may stand once only"
		}
		if problem != "" {
			bad = append(bad, &spfSyntaxError{term: word, problem: problem})
			continue
		}
		seen[t.name] = seen[t.name] || once
		terms = append(terms, t)
	}
	return terms, bad
}

// parseSPFTerm reads one term; problem is "" when it follows the grammar.
func parseSPFTerm(word string) (t spfTerm, problem string) {
	t = spfTerm{text: word}
	if name, value, ok := strings.Cut(word, "="); ok && isModifierName(name) {
		t.name, t.value = strings.ToLower(name), value
		return t, modifierProblem(t.name, value)
	}
	t.qualifier = '+'
	if strings.IndexByte("+-~?", word[0]) >= 0 {
		t.qualifier, word = word[0], word[1:]
	}
	i := strings.IndexAny(word, ":/")
	if i < 0 {
		i = len(word)
	}
	t.name = strings.ToLower(word[:i])
	t.value, problem = mechanismValue(t.name, word[i:])
	return t, problem
}

// isModifierName reports whether s is a name (RFC 7208 s. 12).
func isModifierName(s string) bool {
	for i := range len(s) {
		if !isAlpha(s[i]) && (i == 0 || !resolve.IsDigit(s[i]) && strings.IndexByte("-_.", s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

func modifierProblem(name, value string) string {
	if name == "redirect" || name == "exp" {
		return domainSpecProblem(value)
	}
	_, problem := macroStringEnd(value, "slodiphcrtv")
	return problem
}

// mechanismValue reads what follows the name of a mechanism, ":" or "/"
// included.
func mechanismValue(name, rest string) (value, problem string) {
	value, given := strings.CutPrefix(rest, ":")
	switch name {
	case "all":
		if rest != "" {
			return "", "all stands alone"
		}
		return "", ""
	case "ip4", "ip6":
		if !given {
			return "", "names no network"
		}
		return value, networkProblem(name, value)
	case "include", "exists":
		if !given {
			return "", "names no domain"
		}
		return value, domainSpecProblem(value)
	case "ptr":
		if rest == "" {
			return "", ""
		}
		if !given {
			return "", "takes no length of prefix"
		}
		return value, domainSpecProblem(value)
	case "a", "mx":
		return hostValue(rest)
	}
	return "", "is neither a mechanism nor a modifier"
}

// hostValue reads [":" domain-spec] [dual-cidr-length].
func hostValue(rest string) (value, problem string) {
	rest, problem = cutLengths(rest)
	if problem != "" || rest == "" {
		return "", problem
	}
	value, given := strings.CutPrefix(rest, ":")
	if !given {
		return "", "has a length of prefix that is none"
	}
	return value, domainSpecProblem(value)
}

// cutLengths takes the lengths of prefix off the end: "/24", "//64", "/24//64".
func cutLengths(s string) (rest, problem string) {
	if at, n, ok := lengthAtEnd(s); ok && strings.HasSuffix(s[:at], "/") {
		if !isPrefixLength(n, 128) {
			return s, "has a length of prefix over 128 or with a zero in front"
		}
		s = s[:at-1]
	}
	if at, n, ok := lengthAtEnd(s); ok {
		if !isPrefixLength(n, 32) {
			return s, "has a length of prefix over 32 or with a zero in front"
		}
		s = s[:at]
	}
	return s, ""
}

// lengthAtEnd finds "/" and digits at the end of s; at is where the "/" stands.
func lengthAtEnd(s string) (at int, digits string, ok bool) {
	at = strings.LastIndexByte(s, '/')
	if at < 0 || at == len(s)-1 {
		return 0, "", false
	}
	digits = s[at+1:]
	for i := range len(digits) {
		if !resolve.IsDigit(digits[i]) {
			return 0, "", false
		}
	}
	return at, digits, true
}

func isPrefixLength(digits string, most int) bool {
	n, err := strconv.Atoi(digits)
	return err == nil && n <= most && strconv.Itoa(n) == digits
}

func networkProblem(name, value string) string {
	most := 32
	if name == "ip6" {
		most = 128
	}
	text, length, hasLength := strings.Cut(value, "/")
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil || ip.Zone() != "" || ip.Is4() != (name == "ip4"):
		return "is not an address of " + name
	case hasLength && !isPrefixLength(length, most):
		return fmt.Sprintf("has a length of prefix that is not 0 to %d", most)
	}
	return ""
}

// domainSpecProblem holds s against domain-spec (RFC 7208 s. 7.1). The macros c,
// r and t are for explanations only (s. 7.2).
func domainSpecProblem(s string) string {
	if s == "" {
		return "names no domain"
	}
	end, problem := macroStringEnd(s, "slodiphv")
	if problem != "" || end == len(s) {
		return problem // it ends in a macro
	}
	last := strings.TrimSuffix(s[end:], ".")
	dot := strings.LastIndexByte(last, '.')
	if dot < 0 || !isTopLabel(last[dot+1:]) {
		return "does not end in a domain name"
	}
	return ""
}

// macroStringEnd reads s as a macro-string. end is where its last macro ends; 0
// without any. letters are those that may stand in a macro.
func macroStringEnd(s, letters string) (end int, problem string) {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c < '!' || c > '~':
			return 0, "has a character that is not allowed"
		case c != '%':
			i++
			continue
		case i+1 < len(s) && strings.IndexByte("%_-", s[i+1]) >= 0:
			i += 2
		default:
			n := macroLength(s[i:], letters)
			if n == 0 {
				return 0, "has a macro that is none"
			}
			i += n
		}
		end = i
	}
	return end, ""
}

// macroLength is the length of "%{...}" at the beginning of s, 0 when it is not
// a macro.
func macroLength(s, letters string) int {
	close := strings.IndexByte(s, '}')
	if !strings.HasPrefix(s, "%{") || close < 3 || strings.IndexByte(letters, s[2]|0x20) < 0 || !isAlpha(s[2]) {
		return 0
	}
	rest := s[3:close]
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if digits != "" && (len(digits) > 9 || strings.Trim(digits, "0") == "") {
		return 0
	}
	rest = rest[len(digits):]
	if rest != "" && rest[0]|0x20 == 'r' {
		rest = rest[1:]
	}
	if strings.Trim(rest, ".-+,/_=") != "" {
		return 0
	}
	return close + 1
}

// isTopLabel reports whether s can be the last label of a domain: letters,
// digits and hyphens inside, and not digits alone.
func isTopLabel(s string) bool {
	numeric := true
	for i := range len(s) {
		hyphen := s[i] == '-' && i > 0 && i < len(s)-1
		if !isAlpha(s[i]) && !resolve.IsDigit(s[i]) && !hyphen {
			return false
		}
		numeric = numeric && resolve.IsDigit(s[i])
	}
	return !numeric
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
