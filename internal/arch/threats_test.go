package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatsNameOnlyTestsThatExist holds docs/threats.md to the tree: each
// row of its tables names what proves it, and each name is there.
func TestThreatsNameOnlyTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/threats.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, tests := 0, testFiles(t)
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || strings.TrimSpace(cells[2]) == "proof" {
			continue
		}
		rows++
		proofs := regexp.MustCompile("`[^`]+`").FindAllString(cells[2], -1)
		if len(proofs) == 0 {
			t.Errorf("no proof: %s", line)
		}
		for _, p := range proofs {
			if p = strings.Trim(p, "`"); !exists(t, tests, p) {
				t.Errorf("%s is not there; it is to prove:%s", p, cells[1])
			}
		}
	}
	if rows < 30 {
		t.Errorf("only %d rows were found", rows)
	}
}

// exists looks for a dialog ("eod-*.txt") or a test ("policy.TestPatterns") of the package
// with that path or last element of its path.
func exists(t *testing.T, tests map[string]string, proof string) bool {
	t.Helper()
	if strings.HasSuffix(proof, ".txt") {
		found, err := filepath.Glob("../../relay/testdata/dialogs/" + proof)
		return err == nil && len(found) > 0
	}
	folder, name, _ := strings.Cut(proof, ".")
	for path, text := range tests {
		if strings.HasSuffix(filepath.ToSlash(filepath.Dir(path)), "/"+folder) && strings.Contains(text, "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

// testFiles are the files of all tests, with their text.
func testFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && len(d.Name()) > 2 && d.Name()[0] == '.': // of git, and MTAs that are unpacked
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
