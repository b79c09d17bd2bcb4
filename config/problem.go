package config

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxProblems is how many problems of one file are told; the rest is counted.
const maxProblems = 200

// Problem is one fault, or one doubtful thing, at one place of a file.
type Problem struct {
	File string
	// Line and Col count from 1, Col in characters; both are 0 when the file
	// itself could not be read.
	Line, Col int
	Key       string // path of the key, as `dkim."example.org".keys.0.file`; may be blank
	Text      string // "problem; fix"
}

// String is "file:line:col: key: problem; fix".
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d", s, p.Line, p.Col)
	}
	if p.Key != "" {
		s += ": " + p.Key
	}
	return s + ": " + p.Text
}

// Problems is the error of Load: all that is wrong, in the order of the file.
type Problems []Problem

// Error has one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// order sorts by place, drops repeats and cuts at maxProblems.
func order(ps []Problem) []Problem {
	seen := map[Problem]bool{}
	ps = slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.File != b.File {
			return false // the main file first, as reported
		}
		return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col
	})
	if over := len(ps) - maxProblems; over > 0 {
		ps = append(ps[:maxProblems:maxProblems], Problem{
			File: ps[maxProblems].File,
			Text: fmt.Sprintf("%d more problems are not shown; mend these first", over),
		})
	}
	return ps
}

// source is the text of one file with the places of its keys.
type source struct {
	name  string
	text  []byte
	lines []int          // offset of the first octet of each line
	keys  map[string]int // offset of each key path that occurs
}

func newSource(name string, text []byte) *source {
	s := &source{name: name, text: text, lines: []int{0}, keys: map[string]int{}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// line of an octet, counted from 1.
func (s *source) line(offset int) int {
	return sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset })
}

// problem at an octet of the file.
func (s *source) problem(offset int, key, text string) Problem {
	line := s.line(offset)
	col := utf8.RuneCount(s.text[s.lines[line-1]:offset]) + 1
	return Problem{File: s.name, Line: line, Col: col, Key: key, Text: text}
}

// place is the offset of the key at path, or of the nearest table around it.
func (s *source) place(path string) int {
	for path != "" {
		if offset, ok := s.keys[path]; ok {
			return offset
		}
		path = parent(path)
	}
	return 0
}

// has reports whether the file has the key at path.
func (s *source) has(path string) bool {
	_, ok := s.keys[path]
	return ok
}

// join appends one name to a key path, quoted where TOML would ask for it.
func join(path, name string) string {
	if !isBareKey(name) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// parent is the path without its last name.
func parent(path string) string {
	quoted := false
	for i := len(path) - 1; i >= 0; i-- {
		switch {
		case path[i] == '"' && (i == 0 || path[i-1] != '\\'):
			quoted = !quoted
		case path[i] == '.' && !quoted:
			return path[:i]
		}
	}
	return ""
}

func isBareKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}
