package offline

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"postern/cmd/relay/cli"
	"postern/outlier"
	"postern/outlier/tune"
)

// Tune says from a journal how many false alarms a year each sensitivity of the watch
// raises, and how many messages attacks let out.
func Tune(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay outliers tune", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " with the table [outlier], which names the journal")
	asJSON := f.Bool("json", false, "print JSON")
	accept := f.String("accept", "", "false alarms that are accepted, as in false_alarms: \"`20/year`\"; default: those of the configuration, else 20/year")
	var confirmed []string
	f.Func("confirmed", "`name` of a sender, user or submitter:CLIENT/NAME whose alarms were not false; several flags name several", func(s string) error {
		confirmed = append(confirmed, s)
		return nil
	})
	named := cli.JournalFlag(f)
	words, status, ok := cli.ParseWords(f, args, cli.MaxJournals)
	if !ok {
		return status
	}
	t := tuning{io: io, confirmed: confirmed, tell: func() {}}
	defer func() { t.tell() }()
	if err := t.read(*path, *accept, append(*named, words...)); err != nil {
		fmt.Fprintf(io.Err, "relay outliers tune: %v\n", err)
		return cli.Usage
	}
	table, err := t.measure()
	if err != nil {
		fmt.Fprintf(io.Err, "relay outliers tune: %v\n", err)
		return cli.Fault
	}
	if *asJSON {
		cli.PrintJSON(io, table)
		return cli.OK
	}
	return t.print(table)
}

// tuning is one run of the command.
type tuning struct {
	io        cli.IO
	cfg       outlier.Config
	accept    outlier.FalseAlarms
	files     []string
	confirmed []string
	tell      func() // what was damaged
}

func (t *tuning) read(path, accept string, named []string) (err error) {
	if t.cfg, err = outlierConfig(path); err != nil {
		return err
	}
	t.accept = t.cfg.FalseAlarms
	if accept != "" {
		if err := t.accept.UnmarshalText([]byte(accept)); err != nil {
			return fmt.Errorf("-accept: %w", err)
		}
	}
	if t.accept == 0 {
		t.accept = 20
	}
	t.files, err = cli.JournalsNamed(path, named)
	return err
}

func (t *tuning) measure() (*tune.Table, error) {
	defer lazyCollector()()
	trace, err := tune.NewTrace(t.cfg, tune.RandomKey(), time.Now())
	if err != nil {
		return nil, err
	}
	if t.tell, err = cli.ReadJournal(t.io, "relay outliers tune", t.files, trace.Add); err != nil {
		return nil, err
	}
	return tune.Measure(trace, t.confirmed, func() error { return nil })
}

func (t *tuning) print(table *tune.Table) int {
	err := table.Write(t.io.Out)
	if len(table.Rows) == 0 {
		return cli.OK
	}
	var more error
	if table.Enough() {
		_, more = fmt.Fprintln(t.io.Out, table.Words(t.accept))
	} else {
		_, more = fmt.Fprintf(t.io.Out, "the journal is too short to go by: %d days teach, and %d must follow, on 7 of them with mail; from %s on it may do\n",
			tune.Teaching, tune.Judged, tune.EnoughAt(table.From).Format(time.DateOnly))
	}
	if err := errors.Join(err, more); err != nil {
		fmt.Fprintf(t.io.Err, "relay outliers tune: print: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}
