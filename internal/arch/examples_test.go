package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestImportablePackagesHaveExamples: whoever could import a package finds an Example in
// it, whose output is checked.
func TestImportablePackagesHaveExamples(t *testing.T) {
	example := regexp.MustCompile(`(?m)^func Example\w*\(\) \{`)
	for _, p := range list(t, "postern/...") {
		name, ours := strings.CutPrefix(p.ImportPath, "postern/")
		if first, _, _ := strings.Cut(name, "/"); !ours || first == "internal" || first == "cmd" || first == "bench" {
			continue
		}
		files, err := filepath.Glob(filepath.Join("../..", name, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || example.Match(b) && strings.Contains(string(b), "// Output:")
		}
		if !found {
			t.Errorf("package %s has no Example with an output", name)
		}
	}
}
