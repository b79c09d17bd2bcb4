package offline

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/eventlog"
	"postern/internal/incident"
)

// Incident tells what left in somebody's name, from the journal.
func Incident(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay incident", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names the journal")
	file := f.String("journal", "", "journal `file`; rotated ones beside it are read, too; - is standard input")
	list := f.String("list", "", "`file` to write each recipient to, as CSV with mode 0600; it must not exist")
	asJSON := f.Bool("json", false, "print JSON")
	var since, until time.Time
	now := time.Now()
	f.Func("since", "of this last `time`, such as 2d, or from a time such as 2026-11-28T23:08 on", momentFlag(&since, now))
	f.Func("until", "until a `time`, likewise", momentFlag(&until, now))
	words, status, ok := cli.ParseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 || since.IsZero() {
		fmt.Fprintln(io.Err, "relay incident: name a sender, user:NAME, submitter:CLIENT/NAME or client:NAME, and -since when")
		return cli.Usage
	}
	who, err := incident.Parse(words[0], config.ParseAddress)
	files, missing := cli.AllJournalFiles(*path, *file)
	if err == nil {
		err = missing
	}
	if err != nil {
		fmt.Fprintf(io.Err, "relay incident: %v\n", err)
		return cli.Usage
	}
	if err := tellIncident(io, who, since, until, files, *list, *asJSON); err != nil {
		fmt.Fprintf(io.Err, "relay incident: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}

func tellIncident(io cli.IO, who incident.Who, since, until time.Time, files []string, list string, asJSON bool) error {
	r := incident.NewReport(who, since, until, nil)
	var to *os.File
	if list != "" {
		var err error
		if to, err = os.OpenFile(list, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		r = incident.NewReport(who, since, until, to)
	}
	damage, err := eventlog.Read(files, io.In, r.Add)
	tell, err := cli.Damage(io, "relay incident", damage, err)
	defer tell()
	r.Damaged = damage.Lines
	if to != nil {
		if bad := errors.Join(r.Flush(), to.Close()); bad != nil && err == nil {
			err = fmt.Errorf("write %s: %w", list, bad)
		}
		if err != nil {
			os.Remove(list) // half a list would pass for the whole
		}
	}
	if err != nil {
		return err
	}
	if asJSON {
		cli.PrintJSON(io, r)
		return nil
	}
	return r.Write(io.Out, list)
}
