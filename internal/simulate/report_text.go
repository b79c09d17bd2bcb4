package simulate

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/internal/phrase"
	"postern/internal/text"
	"postern/ratelimit"
)

// Write writes the report for people. unknown are transactions of clients that
// the configuration does not have, by name; top bounds the senders listed.
func (r *Report) Write(w io.Writer, unknown map[string]int64, top int) {
	if r.Transactions == 0 {
		fmt.Fprintln(w, "The journal holds no transaction.")
		return
	}
	fmt.Fprintf(w, "%s from %s to %s UTC; %d of them reached the limits, with %s.\n",
		transactions(r.Transactions), day(r.From), day(r.To), r.Replayed, recipients(r.Recipients))
	fmt.Fprintf(w, "Limits refused %s then and would refuse %d now: %d that passed then would be refused, %d that were refused would pass.\n",
		recipients(r.RefusedThen), r.RefusedNow, r.Refused, r.Passed)
	if r.Retries > 0 {
		fmt.Fprintf(w, "Later attempts for what would have passed before do not count: %d.\n", r.Retries)
	}
	if r.Late > 0 {
		fmt.Fprintf(w, "Counted later than they should be, since they lasted so long: %s.\n", transactions(r.Late))
	}
	if r.Undecided > 0 {
		fmt.Fprintf(w, "Undecided, for there was no memory left for the counts: %s; raise store.memory.\n", recipients(r.Undecided))
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		fmt.Fprintf(w, "Client %s, with %s, is none of this configuration; its mail counts as it did.\n", phrase.Printable(name), transactions(unknown[name]))
	}
	writeLimits(w, r.Limits)
	writeFirst(w, r.Limits)
	writeWere(w, r.Were)
	writeSenders(w, r, top)
}

func day(t time.Time) string { return t.UTC().Format(time.DateTime) }

func writeLimits(w io.Writer, limits []Limit) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LIMIT\tREFUSES\tNEWLY\tWINDOW\tHIGHEST\tOF\tUSE\tWHEN\tKEY")
	var idle []string
	for i := range limits {
		l := &limits[i]
		used := func(p Peaks) bool { return len(p.Top) > 0 }
		if l.Refused == 0 && !slices.ContainsFunc(l.Windows, used) {
			idle = append(idle, l.Name)
			continue
		}
		name, refuses, newly := l.Name, fmt.Sprint(l.Refused), fmt.Sprint(l.New)
		if l.Mode == ratelimit.Shadow {
			name += " (shadow)"
		}
		for j := range l.Windows {
			p := &l.Windows[j]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s in %s\t%s\n", name, refuses, newly, p.Unit.Words(), p.Window, highest(p))
			name, refuses, newly = "", "", ""
		}
	}
	t.Flush()
	if len(idle) > 0 {
		fmt.Fprintf(w, "No mail counted for: %s\n", strings.Join(idle, ", "))
	}
}

// highest is the end of a row about a window.
func highest(p *Peaks) string {
	if len(p.Top) == 0 {
		return "0"
	}
	h := &p.Top[0]
	return fmt.Sprintf("%s\t%s\t%.0f%%\t%s\t%s", amount(p.Unit, h.Used), amount(p.Unit, h.Max), 100*h.use(), day(h.Time), phrase.Printable(h.Key))
}

// amount writes octets in a unit that people read, and other numbers as they
// are.
func amount(u ratelimit.Unit, n int64) string {
	if u != ratelimit.Bytes || n < 10<<10 {
		return fmt.Sprint(n)
	}
	size, unit := float64(n)/(1<<10), "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if size < 1<<10 {
			break
		}
		size, unit = size/(1<<10), next
	}
	return fmt.Sprintf("%.4g%s", size, unit)
}

func writeFirst(w io.Writer, limits []Limit) {
	for i := range limits {
		l := &limits[i]
		if len(l.First) == 0 {
			continue
		}
		what := "that passed then"
		if l.Mode == ratelimit.Shadow {
			what = "if it were enforced"
		}
		fmt.Fprintf(w, "\nFirst refusals of limit %s, %s:\n", l.Name, what)
		for _, m := range l.First {
			fmt.Fprintf(w, "  %s  client %s, sender %s: %s %s in %s on %s\n",
				day(m.Time), phrase.Printable(m.Client), phrase.Printable(m.Sender), amount(m.Unit, m.Max), m.Unit.Words(), m.Window, phrase.Printable(m.Key))
		}
	}
}

func writeWere(w io.Writer, were []Were) {
	if len(were) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PAST LIMIT\tREFUSED\tWOULD PASS")
	for _, l := range were {
		fmt.Fprintf(t, "%s\t%d\t%d\n", phrase.Printable(l.Name), l.Refused, l.Passed)
	}
	t.Flush()
}

func writeSenders(w io.Writer, r *Report, top int) {
	if len(r.Senders) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CLIENT\tSENDER\tNEWLY REFUSED\tWOULD PASS\tFIRST\tLIMITS")
	for _, s := range r.Senders[:min(top, len(r.Senders))] {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", phrase.Printable(s.Client), phrase.Printable(s.Sender), s.Refused, s.Passed, day(s.First), phrase.Printable(strings.Join(s.Limits, ", ")))
	}
	t.Flush()
	if more := r.MoreSenders + int64(len(r.Senders)-min(top, len(r.Senders))); more > 0 {
		fmt.Fprintf(w, "%s; -top shows them\n", text.Count(more, "more sender", "more senders"))
	}
}

func transactions(n int64) string { return text.Count(n, "transaction", "transactions") }

func recipients(n int64) string { return text.Count(n, "recipient", "recipients") }
