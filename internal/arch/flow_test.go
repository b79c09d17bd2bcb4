package arch

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFlowFollowsTheCode: docs/flow.md names the functions of the message path in
// the order in which they stand, each once, and the path is short enough to be
// read at one sitting.
func TestFlowFollowsTheCode(t *testing.T) {
	code, err := os.ReadFile("../../relay/transaction.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(code), "\n"); n > 300 {
		t.Errorf("relay/transaction.go has %d lines, want at most 300", n)
	}
	var want, named []string
	for _, m := range regexp.MustCompile(`(?m)^func \([a-z]+ \*\w+\) (\w+)\(`).FindAllStringSubmatch(string(code), -1) {
		want = append(want, m[1])
	}
	page, err := os.ReadFile("../../docs/flow.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^In the code: .*$`).FindAllString(string(page), -1) {
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(line, -1) {
			named = append(named, m[1])
		}
	}
	if !slices.Equal(named, want) {
		t.Errorf("docs/flow.md names %v, relay/transaction.go has %v", named, want)
	}
}
