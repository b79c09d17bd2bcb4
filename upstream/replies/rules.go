package replies

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"postern/mail"
)

// Classifier says by rules what replies mean. It is compiled once and never
// changes; the text form of rules is described at the head of rules.txt.
type Classifier struct {
	// plain stands for the built-in rules, which are compiled at their first use:
	// a relay that is refused nothing needs none.
	plain    bool
	rules    []replyRule
	lists    *listNames
	remedies map[mail.Class]string
}

// replyRule is one rule; conditions that are not given always hold.
type replyRule struct {
	name     string
	class    mail.Class
	stages   []string
	codes    []string  // "550", "5xx"
	statuses []string  // "5.7.26", "x.2.2"
	text     []pattern // one of them
	and      []pattern // each
	not      []pattern // none
	zones    []string  // the reply names a list of such things
	list     string
	remedy   string
	sign     bool
}

// BuiltIn returns a classifier with the built-in rules alone.
func BuiltIn() *Classifier { return &Classifier{plain: true} }

// newRules compiles the operator's rules in front of the built-in ones. extra
// is their text; empty adds none. The error names every bad line.
func newRules(extra string) (*Classifier, error) {
	p := &rulesParser{lets: map[string]string{}, remedies: map[mail.Class]string{}, names: map[string]bool{}}
	// The built-in file is read first, so that the operator's may use and
	// replace its definitions, but its rules are tried last.
	p.read("built-in rules", rulesText)
	rules, lists := p.rules, p.lists
	p.rules, p.lists = nil, nil
	p.read("rules", extra)
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return &Classifier{rules: append(p.rules, rules...), lists: newListNames(append(p.lists, lists...)), remedies: p.remedies}, nil
}

// LoadRules returns a classifier with the rules of a file in front of the built-in ones; a
// blank path adds none, as BuiltIn. The error names every bad line.
func LoadRules(path string) (*Classifier, error) {
	if path == "" {
		return &Classifier{plain: true}, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read reply rules: %w", err)
	}
	r, err := newRules(string(b))
	if err != nil {
		return nil, fmt.Errorf("reply rules %s:\n%w", path, err)
	}
	return r, nil
}

// maxExpression is how long an expression may be once its parts are put in.
const maxExpression = 16 << 10

var errTooLong = errors.New("the expression is longer than 16 KiB")

// rulesParser reads the text form line by line.
type rulesParser struct {
	lets     map[string]string
	remedies map[mail.Class]string
	names    map[string]bool
	rules    []replyRule
	lists    []listEntry
	errs     []error

	current           *replyRule
	texts, ands, nots []string
}

func (p *rulesParser) read(name, text string) {
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		if err := p.line(key, strings.TrimSpace(value)); err != nil {
			p.errs = append(p.errs, fmt.Errorf("%s line %d: %s: %w", name, i+1, key, err))
		}
	}
	if err := p.endRule(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", name, err))
	}
}

func (p *rulesParser) line(key, value string) error {
	if value == "" {
		return errors.New("has no value")
	}
	switch key {
	case "rule":
		return errors.Join(p.endRule(), p.beginRule(value))
	case "let":
		name, re, _ := strings.Cut(value, " ")
		if p.lets[name] = p.expand(strings.TrimSpace(re)); len(p.lets[name]) > maxExpression {
			return errTooLong
		}
		return nil
	case "known":
		e, err := parseListEntry(value)
		p.lists = append(p.lists, e)
		return err
	case "class":
		class, remedy, _ := strings.Cut(value, " ")
		if !mail.Class(class).OfReply() {
			return fmt.Errorf("unknown class %q", class)
		}
		p.remedies[mail.Class(class)] = strings.TrimSpace(remedy)
		return nil
	}
	if p.current == nil {
		return errors.New("stands before the first rule")
	}
	return p.condition(key, value)
}

func (p *rulesParser) condition(key, value string) error {
	c := p.current
	switch key {
	case "stage":
		c.stages = strings.Fields(value)
		return allIn(c.stages, "connect", "ehlo", "mail", "rcpt", "data", "dot")
	case "code":
		c.codes = strings.Fields(value)
		return allMatch(c.codes, codePattern)
	case "status":
		c.statuses = strings.Fields(value)
		return allMatch(c.statuses, statusPattern)
	case "zone":
		for _, w := range strings.Fields(value) {
			c.zones = append(c.zones, "zone-of-"+w)
		}
		return allIn(c.zones, zoneOfAddresses, zoneOfDomains)
	case "text":
		p.texts = append(p.texts, value)
	case "and":
		p.ands = append(p.ands, value)
	case "not":
		p.nots = append(p.nots, value)
	case "list":
		c.list = value
	case "remedy":
		c.remedy = value
	case "sign":
		c.sign = true
	default:
		return errors.New("unknown word")
	}
	return nil
}

func (p *rulesParser) beginRule(value string) error {
	name, class, _ := strings.Cut(value, " ")
	class = strings.TrimSpace(class)
	if !mail.Class(class).OfReply() {
		return fmt.Errorf("unknown class %q", class)
	}
	if p.names[name] {
		return fmt.Errorf("the name %q is used twice", name)
	}
	p.names[name] = true
	p.current = &replyRule{name: name, class: mail.Class(class)}
	return nil
}

// endRule compiles the patterns of the rule that has just been read.
func (p *rulesParser) endRule() error {
	c := p.current
	if c == nil {
		return nil
	}
	texts, ands, nots := p.texts, p.ands, p.nots
	p.current, p.texts, p.ands, p.nots = nil, nil, nil, nil
	if len(texts) == 0 && len(c.statuses) == 0 && len(c.codes) == 0 {
		return fmt.Errorf("rule %s has neither text nor code nor status, so it would take every reply", c.name)
	}
	for _, part := range []struct {
		key  string
		from []string
		to   *[]pattern
	}{{"text", texts, &c.text}, {"and", ands, &c.and}, {"not", nots, &c.not}} {
		for _, s := range part.from {
			set, err := p.compile(part.key, s)
			if err != nil {
				return fmt.Errorf("rule %s: %s: %w", c.name, part.key, err)
			}
			*part.to = append(*part.to, set...)
		}
	}
	p.rules = append(p.rules, *c)
	return nil
}

// compile makes one pattern of each alternative. "and" lines keep theirs in one
// piece, for each of its patterns must match.
func (p *rulesParser) compile(key, s string) ([]pattern, error) {
	if s = p.expand(s); len(s) > maxExpression {
		return nil, errTooLong
	}
	if w := strangeCapital(s); w != "" {
		return nil, fmt.Errorf("%q can never match: replies are compared in lower case", w)
	}
	alternatives := []string{s}
	if key != "and" {
		alternatives = splitAlternatives(s)
	}
	var set []pattern
	for _, a := range alternatives {
		one, err := newPattern(a)
		if err != nil {
			return nil, err
		}
		set = append(set, one)
	}
	return set, nil
}

// splitAlternatives cuts an expression at each | that stands in no bracket.
func splitAlternatives(s string) []string {
	var parts []string
	depth, class, begin := 0, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			parts = append(parts, s[begin:i])
			begin = i + 1
		}
	}
	return append(parts, s[begin:])
}

// expand puts the patterns named by let in place of {name}.
func (p *rulesParser) expand(s string) string {
	return letPattern.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := p.lets[m[1:len(m)-1]]; ok {
			return "(?:" + v + ")"
		}
		return m
	})
}

var (
	letPattern    = regexp.MustCompile(`\{[a-z][a-z-]*\}`)
	codePattern   = regexp.MustCompile(`^[245x][0-9x][0-9x]$`)
	statusPattern = regexp.MustCompile(`^[245x]\.([0-9]+|x)\.([0-9]+|x)$`)
	capitals      = regexp.MustCompile(`\\.|\[\^?[^\]]*\]|[A-Z]+`)
)

// strangeCapital returns a run of capitals in the pattern that is none of the
// words which stand for masked parts of a reply.
func strangeCapital(pattern string) string {
	for _, w := range capitals.FindAllString(pattern, -1) {
		if w[0] != '\\' && w[0] != '[' && !hasWord(maskWords, w) {
			return w
		}
	}
	return ""
}

func allIn(words []string, allowed ...string) error {
	for _, w := range words {
		if !hasWord(allowed, w) {
			return fmt.Errorf("%q is none of %s", w, strings.Join(allowed, ", "))
		}
	}
	return nil
}

func allMatch(words []string, re *regexp.Regexp) error {
	for _, w := range words {
		if !re.MatchString(w) {
			return fmt.Errorf("%q is not of the form 5xx or 5.7.x", w)
		}
	}
	return nil
}
