package replies

import (
	"regexp"
	"strings"
)

// quoted finds the reply of another host within a reply: Postfix (verify), Exim
// (callout), Sendmail, Exchange, and whoever writes a second code.
var quoted = regexp.MustCompile(`(?i)\bsaid\b|\brefused to talk to me\b|\bin reply to\b|\bresponse to\b|\bcall-?(?:out|back|ahead|forward)|\bwhile (?:talking|connected) to\b|<<<|>>>` +
	`|\b(?:remote|destination|foreign|target|next.?hop|recipient'?s|receiving|upstream|downstream|backend|other) (?:mail |smtp |e-?mail )*(?:server|host|mta|system|side|end|mx|domain)\b` +
	`|\blastattemptedservername\b|\bverif(?:y|ication|ied)\b.*\b[245]\d\d\b|[^0-9.][245]\d\d[ -]+[245]\.\d{1,3}\.\d{1,3}\b|[:"'(\[>=,;] *[45]\d\d[ -]`)

// Quotes reports whether a reply passes on what another host has said. The code
// at its front is its own.
func Quotes(reply string) bool {
	text := strings.ReplaceAll(reply, "\n", " / ")
	if len(text) > 4 {
		text = text[4:]
	}
	text = strings.TrimLeft(text, " ")
	if word, rest, ok := strings.Cut(text, " "); ok && isStatus(word) {
		text = rest
	}
	return quoted.MatchString(" " + text[:min(len(text), maxReply)])
}
