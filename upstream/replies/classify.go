// Package replies says what the words of receivers mean to an operator.
//
// A refusal is a code, perhaps an enhanced status code (RFC 3463), and free text
// that each operator of a mail server words anew: "550 5.1.1 user unknown" and
// "550 mailbox unavailable, see https://..." may mean the same, and "blocked" may
// speak of our address, our domain, a link in the message or a full mailbox. The
// text is masked (addresses, host names and links become words for their kind), and
// rules that name codes, stages and phrases are tried in order; the first that
// matches gives the class. What no rule knows package vote weighs word by word; what
// that is not sure of is mail.ClassOther, or mail.ClassTemporaryFault for a 4yz reply.
// The classes are constants of package mail (replyclass.go), the rules lines of rules.txt.
package replies

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/mail"
	"postern/upstream/replies/vote"
)

// Meaning is what rules or words say about one reply.
type Meaning struct {
	Class  mail.Class
	List   string        // which list or whose, for the listed classes; "" when the reply names none
	Rule   string        // name of the rule that matched; "" when none did
	Sure   float64       // how likely Class is, from 0 to 1: 1 where a rule matched; of Guess where there is one
	Guess  mail.Class    // likeliest class where that is not sure enough and not Class; "" otherwise
	Words  Words         // what weighed most where no rule matched
	Remedy string        // what an operator does about it, one sentence
	Wait   time.Duration // how long the reply asks us to wait; 0 when it names no time
	// Doubt is true for ClassNoSuchUser where the reply hints at trouble of the
	// receiver (LDAP, a look-up, "temporarily", policy, 5.4.1) or is not sure, and for
	// ClassOther and ClassTemporaryFault where nothing sure is known.
	Doubt bool
	// Sign is true for the listed classes and for a refusal for volume that
	// speaks of reputation or complaints: the step before a listing.
	Sign bool
}

// Words are the tokens that weighed most, largest first; unused ones have no name.
type Words [vote.Shown]vote.Token

// String is "concept:list 1.20, word:blacklisted 0.80".
func (w Words) String() string {
	var parts []string
	for _, t := range w.List() {
		parts = append(parts, fmt.Sprintf("%s %.2f", t.Name, t.Weight))
	}
	return strings.Join(parts, ", ")
}

// List returns the tokens that are used.
func (w Words) List() []vote.Token {
	n := 0
	for n < len(w) && w[n].Name != "" {
		n++
	}
	return w[:n]
}

// By says what decided: "rule NAME", or how sure the class is and what weighed most;
// "" where nothing did.
func (v *Meaning) By() string {
	switch {
	case v.Rule != "":
		return "rule " + v.Rule
	case v.Words == (Words{}):
		return ""
	case v.Guess != "":
		return fmt.Sprintf("perhaps %s %.2f: %s", v.Guess, v.Sure, v.Words)
	}
	return fmt.Sprintf("%.2f: %s", v.Sure, v.Words)
}

// Reason says what decided where no rule did: " sure=0.97 words=\"...\"", with the
// guess in front where it was not sure enough.
func (v *Meaning) Reason() string {
	if v.Rule != "" || v.Words == (Words{}) {
		return ""
	}
	s := fmt.Sprintf(" sure=%.2f words=%q", v.Sure, v.Words)
	if v.Guess != "" {
		s = " guess=" + string(v.Guess) + s
	}
	return s
}

// Classify says by the built-in rules what a reply means. stage is the command
// that it answers (connect, ehlo, mail, rcpt, data, dot) or "" when unknown;
// reply is the text as received, its lines separated by "\n", with or without
// the code in front of each. It takes time linear in the reply, of which it
// reads the first 4 KiB.
func Classify(stage, reply string) Meaning { return builtIn().Classify(stage, reply) }

//go:embed rules.txt
var rulesText string

// BuiltInRules is the text of the rules that are compiled in, for people to
// read and to copy from.
func BuiltInRules() string { return rulesText }

var builtIn = sync.OnceValue(func() *Classifier {
	r, err := newRules("")
	if err != nil {
		panic("replies: built-in reply rules: " + err.Error())
	}
	return r
})

// Classify is the function Classify, with the operator's rules first. It is safe for
// concurrent use.
func (r *Classifier) Classify(stage, reply string) Meaning {
	if r.plain {
		r = builtIn()
	}
	t := readReply(reply, r.lists)
	if t.code >= 200 && t.code < 400 {
		return Meaning{Class: mail.ClassOther, Remedy: r.remedies[mail.ClassOther]}
	}
	v, ok := r.match(stage, &t)
	var said vote.Estimate
	if t.code != 0 && (!ok || v.Class == mail.ClassNoSuchUser) {
		said = vote.BuiltIn().Weigh(t.forVote(stage))
	}
	if !ok && t.code != 0 {
		v = verdictOf(&said, t.code)
	}
	if v.Class == "" {
		v.Class = mail.ClassOther
	}
	if v.Remedy == "" {
		v.Remedy = r.remedies[v.Class]
	}
	if v.Class.Listed() && v.List == "" {
		v.List = r.lists.name(&t)
	}
	if t.code < 500 || v.Class == mail.ClassRateLimited {
		v.Wait = waitIn(t.text)
	}
	v.Sign = v.Sign || v.Class.Listed()
	switch v.Class {
	case mail.ClassNoSuchUser:
		v.Doubt = v.Sure < sureUnknown || said.Fault || t.speaksOfTrouble()
	case mail.ClassOther, mail.ClassTemporaryFault:
		v.Doubt = v.Rule == "" && v.Sure < vote.SureEnough
	}
	return v
}

// sureUnknown is how sure it must be that a recipient does not exist before anything
// is withheld from it: above it 99 % are right (make bench-replies). To ask once more
// costs one more refusal; to withhold wrongly costs mail.
const sureUnknown = 0.7

// troubleWords are parts of words that the lexicon may know under another meaning.
var troubleWords = []string{"ldap", "lookup", "look-up", "look up", "temporar", "polic", "timeout", "timed out", "database", "5.4.1"}

func (t *replyText) speaksOfTrouble() bool {
	return strings.HasPrefix(t.status[min(1, len(t.status)):], ".4.") ||
		slices.ContainsFunc(troubleWords, func(p string) bool { return strings.Contains(t.text, p) })
}

// match returns what the first rule says that matches.
func (r *Classifier) match(stage string, t *replyText) (v Meaning, ok bool) {
	for i := range r.rules {
		if rule := &r.rules[i]; rule.matches(stage, t) {
			return Meaning{Class: rule.class, List: rule.list, Rule: rule.name, Remedy: rule.remedy, Sure: 1, Sign: rule.sign}, true
		}
	}
	return Meaning{}, false
}

// verdictOf is what the words of a reply mean that no rule knows.
func verdictOf(said *vote.Estimate, code int) Meaning {
	v := Meaning{Class: said.Class, Sure: said.Sure, Words: said.Tokens, Sign: said.Sign && said.Class == mail.ClassRateLimited && code < 500}
	if said.Class != said.Guess {
		v.Guess = said.Guess
	}
	return v
}

// matches reports whether every condition of the rule holds; the cheap ones
// come first.
func (c *replyRule) matches(stage string, t *replyText) bool {
	if len(c.stages) > 0 && stage != "" && !hasWord(c.stages, stage) {
		return false
	}
	if len(c.codes) > 0 && !anyPattern(c.codes, t.codeText) || len(c.statuses) > 0 && !anyPattern(c.statuses, t.status) {
		return false
	}
	if len(c.zones) > 0 && !slices.ContainsFunc(c.zones, func(z string) bool { return hasWord(t.marks, z) }) {
		return false
	}
	for _, p := range c.and {
		if !p.matches(t.text) {
			return false
		}
	}
	return (len(c.text) == 0 || anyMatches(c.text, t)) && !anyMatches(c.not, t)
}

func anyMatches(set []pattern, t *replyText) bool {
	for i := range set {
		if set[i].matches(t.text) {
			return true
		}
	}
	return false
}

func hasWord(words []string, w string) bool {
	for _, s := range words {
		if s == w {
			return true
		}
	}
	return false
}

// anyPattern reports whether s equals one of the patterns, in which an x stands
// for any digits.
func anyPattern(patterns []string, s string) bool {
	for _, p := range patterns {
		if codeMatches(p, s) {
			return true
		}
	}
	return false
}

func codeMatches(pattern, s string) bool {
	if strings.IndexByte(pattern, '.') < 0 { // a reply code: digit by digit
		if len(pattern) != len(s) {
			return false
		}
		for i := range len(s) {
			if pattern[i] != 'x' && pattern[i] != s[i] {
				return false
			}
		}
		return true
	}
	if s == "" || strings.IndexByte(pattern, 'x') < 0 {
		return pattern == s
	}
	for {
		p, pRest, pMore := strings.Cut(pattern, ".")
		q, qRest, qMore := strings.Cut(s, ".")
		if q == "" || p != "x" && p != q || pMore != qMore {
			return false
		}
		if !pMore {
			return true
		}
		pattern, s = pRest, qRest
	}
}
