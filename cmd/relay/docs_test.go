package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOperationsNameEveryCommand: README sends there for them.
func TestOperationsNameEveryCommand(t *testing.T) {
	_, table, ok := strings.Cut(string(readFile(t, "../../docs/operations.md")), "\n## Commands\n")
	if !ok {
		t.Fatal("docs/operations.md has no list of commands")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	for _, v := range verbs {
		if !regexp.MustCompile("`(relay )?" + v.name + "[ `]").MatchString(table[strings.Index(table, "\n| "):]) {
			t.Errorf("docs/operations.md does not name relay %s", v.name)
		}
	}
}

// TestDocsNameOnlyCommandsThatExist: a command in code quotes, or at the start
// of an indented line, is one that an operator will type.
func TestDocsNameOnlyCommandsThatExist(t *testing.T) {
	known := []string{"help"}
	for _, v := range verbs {
		known = append(known, v.name)
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	examples, err := filepath.Glob("../../examples/*.*")
	if err != nil {
		t.Fatal(err)
	}
	files = append(append(files, examples...), "../../README.md", "../../config.example.toml")
	command := regexp.MustCompile("(?m)(?:[`\"]|^(?:#  )?   )(?:\\./|/usr/local/bin/)?relay ([a-z][a-z-]*)[ `\",\n]")
	found := 0
	for _, file := range files {
		for _, m := range command.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			found++
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s: there is no command %q", file, "relay "+m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d commands in the docs", found)
	}
}
