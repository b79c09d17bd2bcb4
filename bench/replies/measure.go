package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"postern/mail"
)

// tally counts verdicts on lines.
type tally struct {
	n, right      int
	listed        int // lines of class listed-ip
	found         int
	rest, falsely int                // other lines, and those of them taken for listed-ip
	lines         map[mail.Class]int // by their class
	hit           map[mail.Class]int // of them right
	said          map[mail.Class]int // by the class that was said
	saidRight     map[mail.Class]int
	confused      map[[2]mail.Class]int // class and what was said
}

func newTally() *tally {
	return &tally{lines: map[mail.Class]int{}, hit: map[mail.Class]int{}, said: map[mail.Class]int{}, saidRight: map[mail.Class]int{}, confused: map[[2]mail.Class]int{}}
}

func (t *tally) add(l *line, said mail.Class) {
	right := l.right(said)
	t.n++
	t.lines[l.class]++
	t.said[said]++
	if right {
		t.right++
		t.hit[l.class]++
		t.saidRight[said]++
	} else {
		t.confused[[2]mail.Class{l.class, said}]++
	}
	switch {
	case l.class == mail.ClassListedIP:
		t.listed++
		if right {
			t.found++
		}
	case said == mail.ClassListedIP && !right:
		t.falsely++
		fallthrough
	default:
		t.rest++
	}
}

// macro is the mean of the shares of right lines of each class.
func (t *tally) macro() float64 {
	sum := 0.0
	for c, n := range t.lines {
		sum += float64(t.hit[c]) / float64(n)
	}
	return sum / float64(max(len(t.lines), 1))
}

func share(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }

func (t *tally) row(w io.Writer, name string) {
	fmt.Fprintf(w, "%s\t%d\t%.1f %%\t%.3f\t%d of %d\t%d of %d\n", name, t.n, 100*share(t.right, t.n), t.macro(), t.found, t.listed, t.falsely, t.rest)
}

func head(w io.Writer, what string) {
	fmt.Fprintf(w, "%s\tlines\tright\tmacro\tlisted-ip found\tfalsely listed-ip\n", what)
}

// classes prints how well each class is told.
func (t *tally) classes(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "class\tlines\trecall\tsaid\tprecision")
	for _, c := range mail.ReplyClasses() {
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%d\t%.3f\n", c, t.lines[c], share(t.hit[c], t.lines[c]), t.said[c], share(t.saidRight[c], t.said[c]))
	}
	w.Flush()
}

// pairs prints what is most often taken for something else.
func (t *tally) pairs(out io.Writer, n int) {
	all := make([][2]mail.Class, 0, len(t.confused))
	for p := range t.confused {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b [2]mail.Class) int {
		return cmp.Or(cmp.Compare(t.confused[b], t.confused[a]), cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	})
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "lines\tclass\ttaken for")
	for _, p := range all[:min(n, len(all))] {
		fmt.Fprintf(w, "%d\t%s\t%s\n", t.confused[p], p[0], p[1])
	}
	w.Flush()
}
