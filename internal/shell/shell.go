// Package shell writes commands as a POSIX shell reads them, so that what a
// message proposes can be pasted.
package shell

import "strings"

// Command writes words as one line of a shell: each of them reaches the program
// as it is, whatever it holds.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}

// Quote writes one word. Controls are left as they are, within quotes.
func Quote(word string) string {
	if word != "" && strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// plain reports whether a shell takes r for itself wherever it stands in a word.
func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./-_", r)
}
