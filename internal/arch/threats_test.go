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
	rows := 0
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
			if p = strings.Trim(p, "`"); !exists(t, p) {
				t.Errorf("%s is not there; it is to prove:%s", p, cells[1])
			}
		}
	}
	if rows < 30 {
		t.Errorf("only %d rows were found", rows)
	}
}

// exists looks for a dialog ("eod-*.txt") or a test ("policy.TestPatterns").
func exists(t *testing.T, proof string) bool {
	t.Helper()
	if strings.HasSuffix(proof, ".txt") {
		found, err := filepath.Glob("../../relay/testdata/dialogs/" + proof)
		return err == nil && len(found) > 0
	}
	folder, name, _ := strings.Cut(proof, ".")
	for _, file := range testFiles(t, folder) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

// testFiles finds the tests of the package with that path or last element of
// its path, wherever it stands in the tree.
func testFiles(t *testing.T, folder string) (files []string) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(filepath.ToSlash(filepath.Dir(path)), "/"+folder) && strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
