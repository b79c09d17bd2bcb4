package replies

import (
	"regexp"
	"strconv"
	"time"
)

var (
	waitUnits = regexp.MustCompile(`\b(?:again|retry|back|wait|resend|greylisted|graylisted|delay(?:ed)?|deferred|later)\b[^.;]{0,40}?\b(\d{1,5}) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|days?)\b`)
	waitClock = regexp.MustCompile(`\b(?:in|for|after|wait) (\d\d):(\d\d):(\d\d)\b`)
)

// maxWait is the longest wait that a reply can ask for.
const maxWait = 24 * time.Hour

// waitIn returns the time that a reply names, such as "try again in 300 seconds" or
// "come back in 00:05:00"; 0 when it names none.
func waitIn(text string) time.Duration {
	if !hasDigit(text) {
		return 0
	}
	if m := waitUnits.FindStringSubmatch(text); m != nil {
		return min(time.Duration(number(m[1]))*unitOf(m[2]), maxWait)
	}
	if m := waitClock.FindStringSubmatch(text); m != nil {
		return min(time.Duration(number(m[1])*3600+number(m[2])*60+number(m[3]))*time.Second, maxWait)
	}
	return 0
}

// number reads digits; the patterns allow no more than five.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func unitOf(word string) time.Duration {
	switch word[0] {
	case 's':
		return time.Second
	case 'm':
		return time.Minute
	case 'h':
		return time.Hour
	}
	return 24 * time.Hour
}

func hasDigit(s string) bool {
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			return true
		}
	}
	return false
}
