package text

import "strings"

// Clip is s where it has at most n octets. Else it is the beginning of s and "...", n octets
// in all, or fewer so that no character is cut in two; n is more than 3.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
