package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is one row as it is kept.
type result struct {
	Row    string  `json:"row"`
	Base   string  `json:"base,omitempty"` // what Floor measured: the floor, or the relay otherwise configured
	Relay  measure `json:"relay"`
	Floor  measure `json:"floor"`
	Checks []check `json:"checks"`
}

// report is one run.
type report struct {
	Time    time.Time `json:"time"`
	Go      string    `json:"go"`
	CPU     string    `json:"cpu"`
	Cores   int       `json:"cores"`
	Commit  string    `json:"commit"`
	Rounds  int       `json:"rounds"`
	Seconds float64   `json:"round_seconds"`
	Rows    []result  `json:"rows,omitempty"`
	Points  []point   `json:"points,omitempty"` // of -scale
}

func newReport(now time.Time, r *runner) report {
	return report{
		Time: now.UTC().Truncate(time.Second), Go: runtime.Version(), CPU: cpuModel(), Cores: runtime.NumCPU(), Commit: commit(),
		Rounds: r.rounds, Seconds: r.duration.Seconds(),
	}
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// commit is what HEAD points at, where the run is made in a checkout.
func commit() string {
	head, err := os.ReadFile(".git/HEAD")
	if err != nil {
		return ""
	}
	ref, ok := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: ")
	if !ok {
		return ref
	}
	sum, _ := os.ReadFile(filepath.Join(".git", filepath.FromSlash(ref)))
	return strings.TrimSpace(string(sum))
}

// figures prints what was measured.
func (r *report) figures(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "msg/s\tbase\tratio\tCPU ms\tbase\tratio\tp50 ms\tbase\tp99 ms\tbase\tMiB\tbase\t  row\n")
	for _, row := range r.Rows {
		if row.Relay.Messages == 0 {
			continue
		}
		m, f := row.Relay, row.Floor
		fmt.Fprintf(t, "%.0f\t%s\t%s\t%.2f\t%s\t%s\t%.2f\t%s\t%.2f\t%s\t%.0f\t%s\t  %s\n",
			m.Rate, number("%.0f", f.Rate), number("%.2f", rateRatio(m, f)), m.CPU, number("%.2f", f.CPU), over(m.CPU, f.CPU),
			m.P50, number("%.2f", f.P50), m.P99, number("%.2f", f.P99), m.Peak, number("%.0f", f.Peak), row.Row)
	}
	t.Flush()
}

// rateRatio is 0 where there is no base.
func rateRatio(relay, base measure) float64 {
	if base.Rate == 0 {
		return 0
	}
	return throughputs(relay, base)
}

func number(format string, f float64) string {
	if f == 0 {
		return "-"
	}
	return fmt.Sprintf(format, f)
}

func over(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// bars prints every bar with the figure beside it, and what the figure was in
// the run before.
func (r *report) bars(w io.Writer, earlier []report) (below int) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "have\tbefore\tbar\taim\t\t  what\n")
	for _, row := range r.Rows {
		for _, c := range row.Checks {
			verdict := c.verdict()
			if verdict == "BELOW" {
				below++
			}
			fmt.Fprintf(t, "%.2f\t%s\t%s\t%s\t%s\t  %s: %s\n", c.Have, had(earlier, row.Row, c.What), c.limit(c.Bar), c.limit(c.Aim), verdict, row.Row, c.What)
		}
	}
	t.Flush()
	return below
}

func (c check) limit(v float64) string {
	if c.Least {
		return fmt.Sprintf(">=%g", v)
	}
	return fmt.Sprintf("<=%g", v)
}

// had is the figure of the newest earlier run that has it.
func had(earlier []report, row, what string) string {
	for _, r := range earlier {
		for _, o := range r.Rows {
			for _, c := range o.Checks {
				if o.Row == row && c.What == what {
					return fmt.Sprintf("%.2f", c.Have)
				}
			}
		}
	}
	return "-"
}

// write keeps the report in dir, under its time.
func (r *report) write(dir string) (string, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name := filepath.Join(dir, r.Time.Format("2006-01-02T150405Z")+".json")
	return name, os.WriteFile(name, append(text, '\n'), 0o644)
}

// readReports returns those kept in dir, the newest first.
func readReports(dir string) ([]report, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	slices.Reverse(names)
	list := make([]report, len(names))
	for i, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &list[i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return list, nil
}
