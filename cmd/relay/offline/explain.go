// Package offline holds the commands that need no running relay: they read the
// journal, a configuration or a message in a file, and say what happened, what it
// means, or what other settings would have done.
package offline

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"postern/cmd/relay/cli"
	"postern/internal/explain"
	"postern/mail"
)

// Explain tells one transaction in words, from the journal.
func Explain(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay explain", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names the journal")
	file := f.String("journal", "", "journal `file`, or - for standard input; rotated files beside it are read, too")
	asJSON := f.Bool("json", false, "print the event as JSON")
	words, status, ok := cli.ParseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		fmt.Fprintln(io.Err, "relay explain: name one transaction by its id, as in the log line or in Received")
		return cli.Usage
	}
	files, err := cli.AllJournalFiles(*path, *file)
	if err != nil {
		fmt.Fprintf(io.Err, "relay explain: %v\n", err)
		return cli.Usage
	}
	errFound := errors.New("found")
	tell := func() {}
	err = lookAgain(func() (done bool, err error) {
		tell, err = cli.ReadJournal(io, "relay explain", files, func(e *mail.Event) error {
			if e.ID != words[0] {
				return nil
			}
			if *asJSON {
				cli.PrintJSON(io, e)
			} else {
				fmt.Fprint(io.Out, explain.Event(e))
			}
			return errFound
		})
		return slices.Contains(files, "-"), err
	}, untilWritten)
	switch {
	case errors.Is(err, errFound):
		return cli.OK // whatever is damaged elsewhere
	case err != nil:
		fmt.Fprintf(io.Err, "relay explain: %v\n", err)
		return cli.Fault
	}
	tell()
	fmt.Fprintf(io.Err, "relay explain: no transaction %q in %s\n", words[0], strings.Join(files, ", "))
	return cli.Fault
}
