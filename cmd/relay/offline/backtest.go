package offline

import (
	"flag"
	"fmt"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/text"
	"postern/mail"
	"postern/outlier"
	"postern/outlier/tune"
)

// Backtest tells what other settings would have said about the journal.
func Backtest(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay outliers backtest", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " with the table [outlier] to try")
	asJSON := f.Bool("json", false, "print JSON, one change of state a line, without the summary")
	var files []string
	f.Func("journal", "journal `file`, or - for standard input; several flags or further arguments name several files, oldest first", func(s string) error {
		files = append(files, s)
		return nil
	})
	words, status, ok := cli.ParseWords(f, args, cli.MaxJournals)
	if !ok {
		return status
	}
	if files = append(files, words...); len(files) == 0 {
		fmt.Fprintln(io.Err, "relay outliers backtest: -journal is missing; name the files to read")
		return cli.Usage
	}
	cfg, err := outlierConfig(*path)
	if err != nil {
		fmt.Fprintln(io.Err, err)
		return cli.Usage
	}
	t := backtest{io: io, json: *asJSON, cfg: cfg, now: time.Now()}
	if err := t.begin(); err != nil {
		fmt.Fprintf(io.Err, "relay outliers backtest: %v\n", err)
		return cli.Usage
	}
	tell, err := cli.ReadJournal(io, "relay outliers backtest", files, t.add)
	defer tell()
	if err != nil {
		fmt.Fprintf(io.Err, "relay outliers backtest: %v\n", err)
		return cli.Fault
	}
	t.sum()
	return cli.OK
}

// backtest counts what a watch says about a journal.
type backtest struct {
	io             cli.IO
	json           bool
	cfg            outlier.Config
	now            time.Time // when the command began
	b              *outlier.Backtest
	first, last    time.Time
	read, deferred int
	to             [outlier.Suspended + 1]int
	left           int // transactions that were left out
}

// begin forgets what was read, for a watch that has seen nothing.
func (t *backtest) begin() (err error) {
	t.left += t.read
	t.read, t.deferred, t.to = 0, 0, [outlier.Suspended + 1]int{}
	t.b, err = outlier.NewBacktest(t.cfg, t.change)
	return err
}

// add leaves out what has the time of a clock that was wrong, as package tune does: a line
// of 1970 would make senders of fifty years, and one of 2099 the end of all days.
func (t *backtest) add(e *mail.Event) error {
	switch {
	case e.Time.Unix() <= 0, e.Time.After(t.now), t.read > 0 && t.last.Sub(e.Time) > tune.Silence:
		t.left++
		return nil
	case t.read > 0 && e.Time.Sub(t.last) > tune.Silence:
		if err := t.begin(); err != nil {
			return err
		}
	}
	if t.read == 0 {
		t.first, t.last = e.Time, e.Time
	}
	t.read++
	if e.Time.After(t.last) {
		t.last = e.Time
	}
	if t.b.Observe(e) {
		t.deferred++
	}
	return nil
}

func (t *backtest) change(c outlier.Change) {
	if c.Level > c.From {
		t.to[c.Level]++
	}
	if t.json {
		cli.PrintJSON(t.io, c)
		return
	}
	fmt.Fprintf(t.io.Out, "%s %s %s: %s after %s", c.Time.UTC().Format(time.RFC3339), c.Scope, c.Name, c.Level, c.From)
	if c.Rule != "" {
		fmt.Fprintf(t.io.Out, ", %s %.2f", c.Rule, c.Score)
	}
	fmt.Fprintf(t.io.Out, ": %s\n", c.Reason)
}

func (t *backtest) sum() {
	if t.left > 0 {
		fmt.Fprintf(t.io.Err, "relay outliers backtest: left out %s with the time of a clock that was wrong, or before a silence of over %d days; what is said of that time above does not count\n",
			text.Count(t.left, "transaction", "transactions"), tune.Silence/(24*time.Hour))
	}
	if t.json || t.read == 0 {
		return
	}
	fmt.Fprintf(t.io.Out, "%s from %s to %s: %s alert, %d throttle, %d suspend; %s (%.2f %%) deferred\n",
		text.Count(t.read, "transaction", "transactions"), t.first.UTC().Format(time.RFC3339), t.last.UTC().Format(time.RFC3339),
		text.Count(t.to[outlier.Alerted], "time", "times"), t.to[outlier.Throttled], t.to[outlier.Suspended], text.Count(t.deferred, "transaction", "transactions"), 100*float64(t.deferred)/float64(t.read))
}
