package replies

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// pattern is one expression of a rule. It is compiled when it is first searched
// for: of the many that the rules have most are never needed.
type pattern struct {
	*expression
}

type expression struct {
	text string
	need string // occurs in each text that matches; "" when nothing is known
	once sync.Once
	re   *regexp.Regexp
}

func newPattern(text string) (pattern, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	return pattern{&expression{text: text, need: needOf(parsed.Simplify())}}, nil
}

// needOf returns the longest text that stands in each match.
func needOf(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return string(re.Rune)
		}
	case syntax.OpCapture, syntax.OpPlus:
		return needOf(re.Sub[0])
	case syntax.OpConcat:
		need := ""
		for _, sub := range re.Sub {
			if n := needOf(sub); len(n) > len(need) {
				need = n
			}
		}
		return need
	}
	return ""
}

// matches reports whether the pattern occurs in text. It takes time linear in it.
func (p pattern) matches(text string) bool {
	if !strings.Contains(text, p.need) {
		return false
	}
	p.once.Do(func() { p.re = regexp.MustCompile(p.text) }) // newPattern has parsed it
	return p.re.MatchString(text)
}
