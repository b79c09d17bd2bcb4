// Package ownfield tells refusals of a message that are about a header field
// which the relay itself has put there.
//
// "554 Transaction failed: Duplicate header 'DKIM-Signature'." is permanent for the
// provider that says it, and for the client who hears it a mail that is lost,
// although nobody but the relay has made a mistake. Such a reply is a fault of
// ours. It is told by three things: it names the field as one, it says what is
// wrong with it, and the field is ours. What another host is quoted with, and what
// the client could have put into the reply, tells nothing.
package ownfield

import (
	"regexp"
	"strings"
)

// Message is what a reply is compared with.
type Message struct {
	// Added are the names of fields that we have put there.
	Added []string
	// Count is how many of the client's own fields that left have that name.
	Count func(name string) int
	// Wrote reports whether the client wrote a text, given in lower case, in a place from
	// which a reply may repeat it: the envelope or the value of a header field.
	Wrote func(text string) bool
}

// maxText is how much of a reply is looked at, in octets.
const maxText = 512

var (
	// tooMany is said of a field of which there are more than there may be.
	tooMany = regexp.MustCompile(`\b(?:duplicated?|duplicates|multiple|repeated|redundant|more than (?:one|once)|twice|too many|several|second|already (?:has|contains|signed|present))\b`)
	// wrong is said of a field whose value does not please, or which should not be.
	wrong = regexp.MustCompile(`\b(?:invalid|malformed|bad|illegal|broken|corrupt|incorrect|unacceptable|unexpected|forbidden|prohibited|not (?:allowed|permitted|accepted|valid|parseable)|no (?:valid|passing|acceptable)|syntax|fail(?:s|ed|ure)?|too (?:long|large)|cannot (?:be )?(?:parse|read|verif)\w*)\b`)
	// loop is what Received fields are counted for; that is about the message.
	loop = regexp.MustCompile(`\bhops?\b|\bhop count\b|\bloop(?:s|ing)?\b|\b5\.4\.6\b`)
)

// Blamed returns the field of ours that a permanent reply is about, "" for none.
// reply is code, status and text on one line.
func Blamed(reply string, m Message) string {
	text := strings.ToLower(reply[:min(len(reply), maxText)])
	many, bad := tooMany.MatchString(text), wrong.MatchString(text)
	if !many && !bad || loop.MatchString(text) {
		return ""
	}
	for _, name := range m.Added {
		low := strings.ToLower(name)
		form := named(text, low)
		if form == "" || m.Wrote(form) {
			continue
		}
		// Were there too many of a field without ours, or is there another that may
		// be the wrong one, it is the client's.
		n := m.Count(name)
		if many && n <= 1 && !strings.EqualFold(name, "Received") || bad && n == 0 {
			return name
		}
	}
	return ""
}

// named returns the words by which text speaks of the field low, "" where it does
// not. A name with a hyphen stands for nothing else; a word such as "received" or
// "date" has to be called a field.
func named(text, low string) string {
	if strings.Contains(low, "-") {
		if low == "dkim-signature" && !word(text, low) {
			low = "dkim signature"
		}
		if word(text, low) {
			return low
		}
		return ""
	}
	for _, form := range []string{"'%'", "\"%\"", "`%'", "<%>", "% header", "% field", "%: header", "% line", "header %", "header: %", "headers: %", "field %", "field: %"} {
		if form = strings.Replace(form, "%", low, 1); word(text, form) {
			return form
		}
	}
	return ""
}

// word reports whether part stands in text and no letter, digit or hyphen goes on
// with it.
func word(text, part string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], part)
		if i < 0 {
			return false
		}
		start, end := at+i, at+i+len(part)
		if (start == 0 || !goesOn(text[start-1])) && (end == len(text) || !goesOn(text[end]) || text[end] == 's') {
			return true
		}
		at = start + 1
	}
}

func goesOn(c byte) bool {
	return c == '-' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}
