package arch

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryMetricIsDocumented holds the names that package admin registers
// against docs/operations.md, both ways.
func TestEveryMetricIsDocumented(t *testing.T) {
	code, docs := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("../../internal/admin/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			names(t, file, `"(relay_[a-z_]+)"`, code)
		}
	}
	names(t, "../../docs/operations.md", "(?m)^\\| `(relay_[a-z_]+)`", docs)
	if len(code) == 0 {
		t.Fatal("no metric found in package admin")
	}
	for _, name := range slices.Sorted(maps.Keys(code)) {
		if !docs[name] {
			t.Errorf("docs/operations.md lacks %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		if !code[name] {
			t.Errorf("docs/operations.md has %s, which nothing counts", name)
		}
	}
}

// names adds what the pattern finds in a file.
func names(t *testing.T, file, pattern string, found map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(b), -1) {
		found[m[1]] = true
	}
}
