package config

import (
	"os"
	"strings"
	"testing"
)

// FuzzFile takes any text through all that Load does to it: no text may end
// the process, and each problem lies within the file.
func FuzzFile(f *testing.F) {
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for table := range strings.SplitSeq(string(example), "\n\n") {
		f.Add(strings.ReplaceAll(table, "\n# ", "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := newDecoder(newSource("f.toml", []byte(text)), "/nowhere", func(string) string { return "" })
		file := &File{path: "f.toml"}
		d.decodeFile(file)
		d.check()
		file.inState()
		if d.broken == 0 {
			x := crossCheck{File: file, d: d}
			x.all()
			x.sourceAddresses(noAddresses)
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range append(order(d.problems, d.more), order(d.warnings, 0)...) {
			if p.Text == "" || p.Line > lines || p.Line < 1 && !strings.Contains(p.Text, "more problems") {
				t.Errorf("problem at no place of the file: %+v", p)
			}
		}
		if len(d.problems) == 0 {
			if err := file.compile(); err != nil {
				t.Errorf("a file without problems does not compile: %v", err)
			}
		}
	})
}
