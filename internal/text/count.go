package text

import "strconv"

// Count is a number with its word: "1 message", "2 messages"; one is the word for one, more
// that for all else.
func Count[N int | int64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(int64(n), 10) + " " + more
}
