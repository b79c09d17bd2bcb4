package tune

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/outlier"
)

// Enough says whether the journal is long enough for its sensitivity to be used.
func (t *Table) Enough() bool {
	return len(t.Rows) > 0 && t.Days >= Judged && t.WithMail >= judgedWithMail
}

// EnoughAt is when a journal that begins at first is long enough.
func EnoughAt(first time.Time) time.Time { return first.Add((Teaching + Judged) * 24 * time.Hour) }

// Silence is how long there is no mail at all between what was written while a machine's
// clock was wrong, such as 1970 after a start without a battery, and the rest.
const Silence = 60 * 24 * time.Hour

// Beginning finds where a journal begins, of which a few lines may have the time of a clock
// that was wrong: one long before the rest, or later than Now.
type Beginning struct {
	Now  time.Time
	seen []int64 // Unix times, in any order
}

// sure is how many events make a beginning that is not doubted.
const sure = 1000

// Add takes the next event's time, and reports whether no further ones are needed.
func (b *Beginning) Add(at time.Time) (enough bool) {
	if at.Unix() > 0 && !at.After(b.Now) {
		b.seen = append(b.seen, at.Unix())
	}
	return len(b.seen) >= sure
}

// First is the time of the first event; zero: there was none.
func (b *Beginning) First() time.Time {
	if len(b.seen) == 0 {
		return time.Time{}
	}
	slices.Sort(b.seen)
	return time.Unix(b.seen[behindSilence(len(b.seen), func(i int) int64 { return b.seen[i] })], 0).UTC()
}

// behindSilence is the number of the first of n times in order, in seconds, that no long
// silence parts from the last one.
func behindSilence(n int, at func(i int) int64) int {
	for i := n - 1; i > 0; i-- {
		if at(i)-at(i-1) > int64(Silence/time.Second) {
			return i
		}
	}
	return 0
}

// Wanted is the sensitivity at which no more alarms a year are to be expected than
// accepted, between Least and Most: between two rows it is found on the straight line of
// their logarithms.
func (t *Table) Wanted(accepted outlier.FalseAlarms) float64 {
	most := float64(accepted)
	best := Least
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Year <= most {
			best = r.Sensitivity
			continue
		}
		if i > 0 && t.Rows[i-1].Year < r.Year {
			was := &t.Rows[i-1]
			part := math.Log(most/was.Year) / math.Log(r.Year/was.Year)
			best = was.Sensitivity * math.Pow(r.Sensitivity/was.Sensitivity, max(0, part))
		}
		break
	}
	return math.Round(100*min(max(best, Least), Most)) / 100
}

// near is the row whose sensitivity is next to one.
func (t *Table) near(sensitivity float64) *Row {
	best := &t.Rows[0]
	for i := range t.Rows {
		if r := &t.Rows[i]; math.Abs(math.Log(r.Sensitivity/sensitivity)) < math.Abs(math.Log(best.Sensitivity/sensitivity)) {
			best = r
		}
	}
	return best
}

// Words say what accepted alarms buy, and what it costs to let out fewer messages, or
// spares to let out more.
func (t *Table) Words(accepted outlier.FalseAlarms) string {
	if len(t.Rows) == 0 {
		return "the journal has no mail that an upstream was asked to take"
	}
	wanted := t.Wanted(accepted)
	here := t.near(wanted)
	text := fmt.Sprintf("false_alarms = %q asks for a sensitivity of %.2f", accepted.String(), wanted)
	if least := &t.Rows[0]; wanted == Least && least.Year > float64(accepted) {
		text += fmt.Sprintf(", the least that the relay takes by itself, and gets about %.0f a year", least.Year)
	}
	if len(here.Out) == 0 || here.Out[0].Median < 0 {
		return text + fmt.Sprintf("; fewer than %d senders have sent %d messages, so that nothing is known of what attacks let out", fewVictims, enough)
	}
	text += fmt.Sprintf(": about %.0f messages out at the median", here.Out[0].Median)
	for i := range t.Rows {
		if r := &t.Rows[i]; r.Sensitivity > here.Sensitivity && r.Out[0].Median <= 0.75*here.Out[0].Median {
			return text + fmt.Sprintf("; %.0f would cost %.0f a year", r.Out[0].Median, r.Year)
		}
	}
	return text
}

// Write prints the table.
func (t *Table) Write(w io.Writer) error {
	if len(t.Rows) == 0 {
		_, err := fmt.Fprintln(w, t.Words(1))
		return err
	}
	fmt.Fprintf(w, "%d messages from %s to %s: the first %d days only teach, %.0f are judged; %.0f senders or users", t.Messages,
		t.From.Format(time.DateOnly), t.To.Format(time.DateOnly), Teaching, t.Days, t.Accounts)
	if t.Share < 1 {
		fmt.Fprintf(w, ", of whom one in %.0f was looked at", 1/t.Share)
	}
	fmt.Fprintf(w, "\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(tw, "sensitivity\tfalse alarms a year\tof them seen\tout at median, 90th: %s\n", strings.Join(t.Shapes, "\t"))
	for i := range t.Rows {
		r := &t.Rows[i]
		fmt.Fprintf(tw, "%.2f\t%s (%s to %s)\t%.0f", r.Sensitivity, count(r.Year), count(r.Low), count(r.High), r.Alarms)
		for _, o := range r.Out {
			fmt.Fprintf(tw, "\t%s", o)
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, a := range t.LeftOut {
		who := a.Name
		if who == "" {
			who = "the client itself"
		}
		fmt.Fprintf(w, "not counted: %d alarms of %s at %s, more than once in %d days, or suspended by an operator\n", a.Alarms, who, a.Client, once)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// count is a number of alarms: small ones with a decimal.
func count(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

func (o Out) String() string {
	if o.Median < 0 {
		return "-"
	}
	text := fmt.Sprintf("%.0f / %.0f", o.Median, o.Ninety)
	if o.Found < 0.995 {
		text += fmt.Sprintf(", found %.0f %%", 100*o.Found)
	}
	return text
}
