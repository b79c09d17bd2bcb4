package config

import (
	"bytes"
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
	Key       string // path of the key, such as `dkim."example.org".keys.0.file`; may be blank
	Text      string // "problem; fix"

	// Where it is, for order to work out: to count lines and columns for each of
	// 100,000 problems of one long line would take minutes.
	at  int
	src *source
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

// order sorts by place, drops repeats and cuts at maxProblems; more is how many
// there were beside those that are given.
func order(ps []Problem, more int) []Problem {
	seen := map[Problem]bool{}
	ps = slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.src != b.src {
			return 0 // the main file first, as reported
		}
		return a.at - b.at
	})
	if over := len(ps) - maxProblems + more; len(ps) > maxProblems {
		ps = append(ps[:maxProblems:maxProblems], Problem{
			File: ps[maxProblems].File,
			Text: fmt.Sprintf("%d more problems are not shown; mend these first", over),
		})
	}
	for i := range ps {
		if p := &ps[i]; p.src != nil {
			p.Line, p.Col = p.src.lineAndColumn(p.at)
			p.src, p.at = nil, 0
		}
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
	lines := bytes.Count(text, []byte("\n"))
	s := &source{name: name, text: text, lines: make([]int, 1, lines+1), keys: make(map[string]int, lines)}
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

// lineAndColumn of an octet, both counted from 1.
func (s *source) lineAndColumn(offset int) (line, col int) {
	line = s.line(offset)
	return line, utf8.RuneCount(s.text[s.lines[line-1]:offset]) + 1
}

// problem at an octet of the file.
func (s *source) problem(offset int, key, text string) Problem {
	return Problem{File: s.name, Key: key, Text: text, at: offset, src: s}
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
