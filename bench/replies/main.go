// Command replies measures how well refusals are understood, and trains the model
// that weighs their words. The same data give the same figures and the same model.
//
// Rules and lexicon were written by people who had read replies, so that a figure
// is worth something only for lines of sources (or of providers) of which the model
// has seen none; lines of the sources set aside nobody had read.
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"postern/mail"
	"postern/upstream/replies/vote"
)

const parts = 5 // folds of the cross-validation

// firstLooks are what sources set aside gave at the one look before anything was
// mended by them: their lines were labelled before the classifier was asked.
const firstLooks = `
set aside                           right   macro  listed-ip  others taken for it
65 lines of 7 sources, replies-2    86.2 %  0.794  6 of 7     1 of 58
149 lines of 25 sources, replies-4  88.6 %  0.843  42 of 44   2 of 105
112 lines of 20 sources, replies-5  85.7 %  0.867  20 of 22   2 of 90
57 lines of 32 sources, replies-6   96.5 %  0.979  7 of 7     0 of 50
221 lines of 81 sources, replies-7  91.0 %  0.869  48 of 50   1 of 171
`

func main() {
	dir := flag.String("data", "upstream/replies/testdata", "`folder` with the labelled replies")
	out := flag.String("train", "", "train on all lines and write the model to this `file` (upstream/replies/vote/weights.txt)")
	wrong := flag.Bool("wrong", false, "print each line that is taken for something else")
	aside := flag.String("aside", "", "judge this `file` of the folder alone, by a model of the others, such as replies-7.tsv")
	flag.Parse()
	names := files
	if *aside != "" && !slices.Contains(names, *aside) {
		names = append(slices.Clone(names), *aside)
	}
	lines, err := load(*dir, names...)
	switch {
	case err != nil:
	case *aside != "":
		asideTable(os.Stdout, lines, *aside, *wrong)
	case *out != "":
		err = write(*out, train(lines, func(*line) bool { return true }))
	default:
		report(os.Stdout, lines, *wrong)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "replies:", err)
		os.Exit(1)
	}
}

func write(file string, m *vote.Model) error {
	text := "# Weights of tokens for classes, in hundredths. Written by go run ./bench/replies -train " + filepath.ToSlash(file) + "\n" + m.String()
	return os.WriteFile(file, []byte(text), 0o644)
}

func report(out io.Writer, lines []line, wrong bool) {
	fmt.Fprint(out, firstLooks)
	bySource := validate(lines, func(l *line) string { return l.source })
	byProvider := validate(lines, func(l *line) string { return l.provider })
	fmt.Fprintf(out, "\nIn %d parts by source, each weighed by a model that has seen no line of its sources:\n", parts)
	all := table(out, lines, bySource)
	fmt.Fprintf(out, "\nIn %d parts by provider:\n", parts)
	table(out, lines, byProvider)
	fmt.Fprintln(out, "\nClasses, by source, all lines:")
	all.classes(out)
	fmt.Fprintln(out, "\nWhat is taken for something else, by source, all lines:")
	all.pairs(out, 15)
	fmt.Fprintln(out, "\nHow sure the model is where no rule matches, and how often that is right, by source:")
	sureness(out, lines, bySource)
	fmt.Fprintln(out, "\nWhere an hour of suppression begins at each sureness of no-such-user, by source (5yz to RCPT):")
	suppressed(out, lines, bySource)
	if wrong {
		fmt.Fprintln(out)
		for i := range lines {
			printWrong(out, &lines[i], bySource[i])
		}
	}
}

// said is a verdict in a cross-validation.
type said struct {
	class mail.Class
	sure  float64
	words vote.Estimate
}

// validate has each line judged by a model that has seen no line of its group.
func validate(lines []line, group func(*line) string) []said {
	fold := folds(lines, group, parts)
	verdicts := make([]said, len(lines))
	for f := range parts {
		m := train(lines, func(l *line) bool { return fold[group(l)] != f })
		for i := range lines {
			if l := &lines[i]; fold[group(l)] == f {
				verdicts[i].class, verdicts[i].sure = l.verdict(m)
				verdicts[i].words = m.Weigh(l.read)
			}
		}
	}
	return verdicts
}

func asideTable(out io.Writer, lines []line, file string, wrong bool) {
	m := train(lines, func(l *line) bool { return l.file != file })
	all := newTally()
	by := map[string]*tally{}
	for i := range lines {
		l := &lines[i]
		if l.file != file {
			continue
		}
		class, sure := l.verdict(m)
		all.add(l, class)
		if by[l.source] == nil {
			by[l.source] = newTally()
		}
		by[l.source].add(l, class)
		if wrong {
			printWrong(out, l, said{class, sure, m.Weigh(l.read)})
		}
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	head(w, "source")
	all.row(w, "all")
	for _, s := range slices.Sorted(maps.Keys(by)) {
		by[s].row(w, s)
	}
	w.Flush()
}

// table prints a row for each file and returns the tally of all.
func table(out io.Writer, lines []line, verdicts []said) *tally {
	all := newTally()
	by := map[string]*tally{}
	for i := range lines {
		l := &lines[i]
		if by[l.file] == nil {
			by[l.file] = newTally()
		}
		by[l.file].add(l, verdicts[i].class)
		all.add(l, verdicts[i].class)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	head(w, "file")
	for _, f := range files {
		if by[f] != nil {
			by[f].row(w, f)
		}
	}
	all.row(w, "all")
	w.Flush()
	return all
}

func sureness(out io.Writer, lines []line, verdicts []said) {
	const steps = 10
	var n, right [steps]int
	for i := range lines {
		if l := &lines[i]; l.rule.Class == "" {
			s := min(int(verdicts[i].words.Sure*steps), steps-1)
			n[s]++
			if l.right(verdicts[i].words.Guess) {
				right[s]++
			}
		}
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "sure\tlines\tright")
	for s := range n {
		fmt.Fprintf(w, "%.1f to %.1f\t%d\t%.2f\n", float64(s)/steps, float64(s+1)/steps, n[s], share(right[s], n[s]))
	}
	w.Flush()
}

// suppressed prints what each threshold would cost: recipients that exist and would
// be suppressed, and those that do not and would be asked again.
func suppressed(out io.Writer, lines []line, verdicts []said) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "from\tsuppressed\tof them wrongly\tasked again")
	for _, from := range []float64{0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9} {
		var n, wrong, again int
		for i := range lines {
			l := &lines[i]
			if l.stage != "rcpt" || l.read.Code < "500" {
				continue
			}
			switch taken := verdicts[i].class == mail.ClassNoSuchUser && verdicts[i].sure >= from; {
			case taken && !l.right(mail.ClassNoSuchUser):
				wrong++
				fallthrough
			case taken:
				n++
			case l.class == mail.ClassNoSuchUser:
				again++
			}
		}
		fmt.Fprintf(w, "%.1f\t%d\t%d\t%d\n", from, n, wrong, again)
	}
	w.Flush()
}

func printWrong(out io.Writer, l *line, v said) {
	if l.right(v.class) {
		return
	}
	rule := l.rule.Rule
	if rule == "" {
		rule = fmt.Sprintf("%.2f %v", v.sure, v.words.Tokens)
	}
	fmt.Fprintf(out, "%s %v taken for %s by %s: %s: %q\n", l.class, l.also, v.class, rule, l.stage, l.reply)
}
