package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/mail"
	"postern/upstream/replies"
	"postern/upstream/replies/vote"
)

// files of labelled replies that the model is trained on; testdata/README.md of
// package replies describes them.
var files = []string{"replies.tsv", "replies-2.tsv", "replies-more.tsv", "replies-written.tsv", "replies-3.tsv", "replies-4.tsv", "replies-5.tsv", "replies-6.tsv", "replies-8.tsv"}

// line is one labelled reply.
type line struct {
	file, provider, source string
	reply, stage           string
	class                  mail.Class
	also                   []mail.Class
	read                   *vote.Reply
	rule                   replies.Meaning // by the rules alone
}

func load(dir string, files ...string) ([]line, error) {
	var all []line
	for _, name := range files {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		in := bufio.NewScanner(f)
		for n := 1; in.Scan(); n++ {
			c := strings.Split(in.Text(), "\t")
			if len(c) < 7 {
				return nil, fmt.Errorf("%s:%d: %d columns, not 7", name, n, len(c))
			}
			if n > 1 {
				all = append(all, lineOf(name, c))
			}
		}
		if err := cmp.Or(in.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

func lineOf(file string, c []string) line {
	l := line{file: file, reply: strings.ReplaceAll(c[0], `\n`, "\n"), stage: c[1], provider: c[2], class: mail.Class(c[3]), source: c[4]}
	if c[6] != "-" {
		for a := range strings.SplitSeq(c[6], ",") {
			l.also = append(l.also, mail.Class(a))
		}
	}
	l.read = replies.Read(l.stage, l.reply)
	if v := replies.Classify(l.stage, l.reply); v.Rule != "" || l.read.Code == "" || l.read.Code < "400" {
		l.rule = v
	}
	return l
}

func (l *line) right(c mail.Class) bool { return c == l.class || slices.Contains(l.also, c) }

// verdict is what rules and a model say together: the class, and how sure.
func (l *line) verdict(m *vote.Model) (mail.Class, float64) {
	if l.rule.Class != "" {
		return l.rule.Class, 1
	}
	v := m.Weigh(l.read)
	return v.Class, v.Sure
}

func train(lines []line, keep func(*line) bool) *vote.Model {
	var examples []vote.Example
	for i := range lines {
		if l := &lines[i]; keep(l) {
			examples = append(examples, vote.Example{Reply: *l.read, Class: l.class, Also: l.also})
		}
	}
	return vote.Train(examples)
}

// folds deals groups of lines to n folds, the largest first, each to the fold that
// has the fewest lines.
func folds(lines []line, group func(*line) string, n int) map[string]int {
	size := map[string]int{}
	for i := range lines {
		size[group(&lines[i])]++
	}
	groups := make([]string, 0, len(size))
	for g := range size {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b string) int { return cmp.Or(cmp.Compare(size[b], size[a]), cmp.Compare(a, b)) })
	total := make([]int, n)
	fold := map[string]int{}
	for _, g := range groups {
		least := 0
		for i := range total {
			if total[i] < total[least] {
				least = i
			}
		}
		fold[g] = least
		total[least] += size[g]
	}
	return fold
}
