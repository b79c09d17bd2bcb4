package replies

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"postern/mail"
)

// shown are what stands for the masked parts of a reply in Masked. A reply that is
// read again gets the same masks.
var shown = strings.NewReplacer(maskAddr, "someone@masked.example", maskListURL, "https://masked.example/", maskURL, "https://masked.example/",
	maskHost, "host.masked.example", maskList, "host.masked.example", maskIP, "192.0.2.1")

// Masked is a reply on one line in lower case without what it says of single
// people, hosts and messages: mailboxes, addresses, host names and links are
// replaced by examples, words of hide by "someone", what looks like a queue id or a
// time by 0. Marks of providers such as s3140 stay.
func Masked(reply string, hide ...string) string {
	t := readReply(reply, builtIn().lists)
	words := strings.Fields(t.text)
	for i := range words {
		words[i] = maskWord(words[i], hide)
	}
	return strings.Join(strings.Fields(strings.Join([]string{t.codeText, t.status, shown.Replace(strings.Join(words, " "))}, " ")), " ")
}

func maskWord(w string, hide []string) string {
	core := strings.Trim(w, `.,;:!?"'()[]{}<>`)
	for _, h := range hide {
		if h != "" && strings.EqualFold(core, h) {
			return strings.Replace(w, core, "someone", 1)
		}
	}
	if core != "" && (len(core) > 4 && isDigits(core) || changes(core) > 2) {
		return strings.Replace(w, core, "0", 1)
	}
	return w
}

// changes counts where a digit stands beside a letter, as often in queue ids.
func changes(w string) int {
	n := 0
	for i := 1; i < len(w); i++ {
		if a, b := w[i-1], w[i]; isAlnum(a) && isAlnum(b) && isLetter(a) != isLetter(b) {
			n++
		}
	}
	return n
}

// shortest and longest text that a taught rule goes by, in octets.
const (
	minTaught = 6
	maxTaught = 300
)

// Teach writes a rule, in the text form, by which replies like this one are of a
// class: at the same stage ("" is any), with the same code, and with the same words
// or, where words is not blank, with these. What is masked, and numbers, may differ.
func Teach(stage, reply string, class mail.Class, words string) (string, error) {
	if !class.OfReply() {
		return "", fmt.Errorf("unknown class %q", class)
	}
	t := readReply(reply, builtIn().lists)
	if t.code < 400 {
		return "", errors.New("a reply begins with its code, 4yz or 5yz")
	}
	source := readReply(words, builtIn().lists).text
	text := strings.TrimSpace(cmp.Or(strings.TrimSpace(source), t.text))
	if len(text) < minTaught {
		return "", fmt.Errorf("%q is too short to tell replies by", text)
	}
	if words != "" && !strings.Contains(t.text, text) {
		return "", fmt.Errorf("the reply does not hold %q", text)
	}
	if len(text) > maxTaught {
		text = strings.ToValidUTF8(text[:max(strings.LastIndexByte(text[:maxTaught], ' '), maxTaught/2)], "")
	}
	expression := likeness(strings.TrimSpace(text))
	h := fnv.New32a()
	h.Write([]byte(stage + t.codeText + expression))
	rule := fmt.Sprintf("\nrule taught-%08x %s\n", h.Sum32(), class)
	if stage != "" {
		rule += "  stage " + stage + "\n"
	}
	rule += "  code " + t.codeText + "\n"
	if t.status != "" && words == "" {
		rule += "  status " + t.status + "\n"
	}
	return rule + "  text " + expression + "\n", nil
}

var (
	digits    = regexp.MustCompile(`[0-9]+`)
	variables = regexp.MustCompile(`<*\bADDR\b>*|\b(?:LISTURL|URL|LIST|HOST|someone|[0-9]+)\b`)
)

// likeness is an expression for texts that say the same of others.
func likeness(text string) string {
	var b strings.Builder
	quote := func(s string) { b.WriteString(digits.ReplaceAllString(regexp.QuoteMeta(s), `\d+`)) }
	end := 0
	for _, m := range variables.FindAllStringIndex(text, -1) {
		quote(text[end:m[0]])
		switch w := strings.Trim(text[m[0]:m[1]], "<>"); w {
		case maskAddr: // in brackets, or without, or where package upstream has taken out what the client wrote
			b.WriteString("<*ADDR>*")
		case maskListURL, maskURL:
			b.WriteString("(?:LIST)?URL")
		case maskList, maskHost:
			b.WriteString("(?:LIST|HOST)")
		case "someone":
			b.WriteString(`\S+`)
		default:
			b.WriteString(`\S*\d\S*`)
		}
		end = m[1]
	}
	quote(text[end:])
	return b.String()
}

// Add returns rules with rule, which Teach has written, in front of them. The error says
// that the result does not compile, or that reply would still not be of class.
func Add(rules, rule, stage, reply string, class mail.Class) (string, error) {
	all := strings.TrimRight(rules, "\n") + "\n" + rule
	if head, _, ok := strings.Cut(rules, "\nrule "); ok { // behind definitions, in front of the first rule
		all = head + "\n" + rule + rules[len(head):]
	}
	r, err := newRules(all)
	if err != nil {
		return "", err
	}
	if v := r.Classify(stage, reply); v.Class != class || !strings.HasPrefix(v.Rule, "taught-") {
		return "", fmt.Errorf("the reply is still %s by rule %q", v.Class, v.Rule)
	}
	return all, nil
}
