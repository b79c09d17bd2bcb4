package replies

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
)

// pattern is one expression of a rule. A regexp of a few dozen alternatives is
// slow to search for, so a pattern also knows which literals must occur in a
// text that it matches, and with which ones the match can begin.
type pattern struct {
	*expression
	need    need  // until the prefilter has it
	clauses []int // of the prefilter; each must be met
}

// maxStarts is at how many places a pattern is tried one by one; beyond it one
// search over the whole text keeps the time linear.
const maxStarts = 8

// expression is a regexp that is compiled when it is first searched for: of the
// many that the rules have most are never needed, and all together take 5 MiB.
type expression struct {
	text   string
	starts []string // texts that each match begins with; nil: not known
	once   sync.Once
	free   *regexp.Regexp // anywhere in the text
	// anchored is for a match behind the first octet; nil without starts.
	anchored *regexp.Regexp
}

func (e *expression) compile() {
	e.once.Do(func() {
		e.free = regexp.MustCompile(e.text) // newPattern has parsed it
		if e.starts != nil {
			e.anchored, _ = regexp.Compile(`^(?s:.)(?:` + e.text + `)`) // nil where that is too much
		}
	})
}

func newPattern(text string) (pattern, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	p := pattern{expression: &expression{text: text}, need: needOf(parsed.Simplify())}
	if usable(p.need.begin(), 2) {
		p.starts = p.need.begin()
	}
	return p, nil
}

// matches reports whether the pattern occurs in text, which begins with a blank.
func (p *pattern) matches(text string, met *clauseSet) bool {
	for _, c := range p.clauses {
		if !met.has(c) {
			return false
		}
	}
	p.compile()
	if p.anchored == nil {
		return p.free.MatchString(text)
	}
	var places [maxStarts]int
	n := 0
	for _, s := range p.starts {
		for from := 0; ; {
			i := strings.Index(text[from:], s)
			if i < 0 {
				break
			}
			if n == maxStarts {
				return p.free.MatchString(text)
			}
			places[n] = from + i
			n++
			from += i + 1
		}
	}
	for _, i := range places[:n] {
		if p.anchored.MatchString(text[max(i-1, 0):]) {
			return true
		}
	}
	return false
}

// prefilter finds in one pass over a text which clauses are met. A clause is a
// set of literals of which one must occur.
type prefilter struct {
	count   int
	clauses map[string]int // by its literals
	// starts are the literals by a hash of their first three octets; those of
	// two octets have a third of 0.
	starts [1 << 13][]literal
}

// literal is a text with the clauses that it meets.
type literal struct {
	text    string
	clauses []int
}

// maxClauses bounds the set that a look at one reply fills.
const maxClauses = 2048

type clauseSet [maxClauses / 64]uint64

func (s *clauseSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *clauseSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// add files what the patterns need.
func (f *prefilter) add(set []pattern) error {
	for i := range set {
		for _, clause := range set[i].need.all() {
			if !usable(clause, 2) {
				continue
			}
			id, err := f.clause(clause)
			if err != nil {
				return err
			}
			set[i].clauses = append(set[i].clauses, id)
		}
		set[i].need = need{}
	}
	return nil
}

// clause returns the number of the clause, a new one when it has none.
func (f *prefilter) clause(set []string) (int, error) {
	set = slices.Compact(slices.Sorted(slices.Values(set)))
	key := strings.Join(set, "\x00")
	if id, ok := f.clauses[key]; ok {
		return id, nil
	}
	if f.count == maxClauses {
		return 0, fmt.Errorf("the expressions need more than %d sets of words", maxClauses)
	}
	if f.clauses == nil {
		f.clauses = map[string]int{}
	}
	id := f.count
	f.count++
	f.clauses[key] = id
	for _, s := range set {
		f.file(s, id)
	}
	return id, nil
}

func (f *prefilter) file(s string, clause int) {
	third := byte(0)
	if len(s) > 2 {
		third = s[2]
	}
	bucket := &f.starts[hash3(s[0], s[1], third)]
	for i, l := range *bucket {
		if l.text == s {
			(*bucket)[i].clauses = append(l.clauses, clause)
			return
		}
	}
	*bucket = append(*bucket, literal{s, []int{clause}})
}

func hash3(a, b, c byte) uint16 {
	return (uint16(a)*1021 ^ uint16(b)*61 ^ uint16(c)) & (1<<13 - 1)
}

func (f *prefilter) find(text string) clauseSet {
	var met clauseSet
	for i := 0; i+2 <= len(text); i++ {
		met.meet(f.starts[hash3(text[i], text[i+1], 0)], text[i:])
		if i+2 < len(text) {
			met.meet(f.starts[hash3(text[i], text[i+1], text[i+2])], text[i:])
		}
	}
	return met
}

func (s *clauseSet) meet(bucket []literal, text string) {
	for _, l := range bucket {
		if strings.HasPrefix(text, l.text) {
			for _, c := range l.clauses {
				s.add(c)
			}
		}
	}
}

// need is what is known of the texts that an expression matches.
type need struct {
	exact   []string   // nil, or all texts it can match
	prefix  []string   // nil, or all beginnings it can have
	clauses [][]string // one of each must occur; only when exact is nil
}

// maxExact bounds how many texts are written out for one expression.
const maxExact = 64

func (n need) all() [][]string {
	if n.exact != nil {
		return [][]string{n.exact}
	}
	return n.clauses
}

func (n need) begin() []string {
	if n.exact != nil {
		return n.exact
	}
	return n.prefix
}

// best returns the clause that is met most rarely, as far as its length tells.
func (n need) best() []string {
	var best []string
	for _, c := range n.all() {
		if usable(c, 2) && (best == nil || shortest(c) > shortest(best)) {
			best = c
		}
	}
	return best
}

func usable(set []string, length int) bool { return len(set) > 0 && shortest(set) >= length }

func shortest(set []string) int {
	n := len(set[0])
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}

func needOf(re *syntax.Regexp) need {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return need{exact: []string{string(re.Rune)}}
		}
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return need{exact: []string{""}}
	case syntax.OpCharClass:
		return needOfClass(re.Rune)
	case syntax.OpCapture:
		return needOf(re.Sub[0])
	case syntax.OpPlus:
		n := needOf(re.Sub[0])
		return need{prefix: n.begin(), clauses: n.all()}
	case syntax.OpQuest:
		if n := needOf(re.Sub[0]); n.exact != nil {
			return need{exact: append([]string{""}, n.exact...)}
		}
	case syntax.OpAlternate:
		return needOfAlternate(re.Sub)
	case syntax.OpConcat:
		return needOfConcat(re.Sub)
	}
	return need{}
}

func needOfClass(ranges []rune) need {
	var n need
	for i := 0; i < len(ranges); i += 2 {
		for c := ranges[i]; c <= ranges[i+1]; c++ {
			if len(n.exact) == 8 {
				return need{}
			}
			n.exact = append(n.exact, string(c))
		}
	}
	return n
}

func needOfAlternate(subs []*syntax.Regexp) need {
	var exact, prefix, clause []string
	isExact, hasPrefix, hasClause := true, true, true
	for _, sub := range subs {
		n := needOf(sub)
		isExact = isExact && n.exact != nil
		hasPrefix = hasPrefix && n.begin() != nil
		hasClause = hasClause && n.best() != nil
		exact, prefix, clause = append(exact, n.exact...), append(prefix, n.begin()...), append(clause, n.best()...)
	}
	if isExact && len(exact) <= maxExact {
		return need{exact: exact}
	}
	var n need
	if hasPrefix {
		n.prefix = prefix
	}
	if hasClause {
		n.clauses = [][]string{clause}
	}
	return n
}

// needOfConcat multiplies the texts of neighbours while they stay few; each
// product is a clause, the first one the beginning.
func needOfConcat(subs []*syntax.Regexp) need {
	var n need
	run := []string{""}
	exact := true
	end := func(rest []string) {
		if exact {
			n.prefix = run
			if usable(rest, 1) && len(run)*len(rest) <= maxExact {
				n.prefix = product(run, rest)
			}
			exact = false
		}
		n.clauses = append(n.clauses, run)
		run = []string{""}
	}
	for _, sub := range subs {
		s := needOf(sub)
		switch {
		case s.exact != nil && len(run)*len(s.exact) <= maxExact:
			run = product(run, s.exact)
		case s.exact != nil:
			end(s.exact)
			run = s.exact
		default:
			end(s.prefix)
			n.clauses = append(n.clauses, s.clauses...)
		}
	}
	if exact {
		return need{exact: run}
	}
	end(nil)
	return n
}

func product(a, b []string) []string {
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	return out
}
