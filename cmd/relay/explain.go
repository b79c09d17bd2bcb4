package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"postern/internal/config"
	"postern/internal/eventlog"
	"postern/internal/explain"
	"postern/mail"
)

// runExplain tells one transaction in words, from the journal.
func runExplain(io stdio, args []string) int {
	f := flag.NewFlagSet("relay explain", flag.ContinueOnError)
	f.SetOutput(io.err)
	path := configFlag(f, " that names the journal")
	file := f.String("journal", "", "journal `file`; rotated ones beside it are read, too; - is standard input")
	asJSON := f.Bool("json", false, "print the event as JSON")
	words, status, ok := parseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		fmt.Fprintln(io.err, "relay explain: name one transaction by its id, as in the log line or in Received")
		return exitUsage
	}
	files, err := allJournalFiles(*path, *file)
	if err != nil {
		fmt.Fprintf(io.err, "relay explain: %v\n", err)
		return exitUsage
	}
	errFound := errors.New("found")
	err = eventlog.Read(files, io.in, func(e *mail.Event) error {
		if e.ID != words[0] {
			return nil
		}
		if *asJSON {
			printJSON(io, e)
		} else {
			fmt.Fprint(io.out, explain.Event(e))
		}
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return exitOK
	case err != nil:
		fmt.Fprintf(io.err, "relay explain: %v\n", err)
		return exitFault
	}
	fmt.Fprintf(io.err, "relay explain: no transaction %q in %s\n", words[0], strings.Join(files, ", "))
	return exitFault
}

// allJournalFiles are journalFiles and, of a configuration, those of peers that
// never became a client.
func allJournalFiles(path, file string) ([]string, error) {
	if file != "" {
		return journalFiles(path, file)
	}
	c, err := journalConfig(path)
	if err != nil {
		return nil, err
	}
	files, err := journalFiles(path, c.File)
	if err != nil {
		return nil, err
	}
	strangers := c.Strangers().File
	more, err := eventlog.SetAside(strangers)
	if err != nil {
		return files, nil // a folder that is not there yet
	}
	if _, err := os.Stat(strangers); err == nil {
		more = append(more, strangers)
	}
	return append(files, more...), nil
}

// journalConfig is [journal] of a configuration that keeps one.
func journalConfig(path string) (c eventlog.Config, err error) {
	path = configPath(path)
	f, err := config.LoadRules(path)
	if err != nil {
		return c, err
	}
	if f.Journal.File == "" {
		return c, fmt.Errorf("%s keeps no journal; set journal.file", path)
	}
	return f.Journal, nil
}

// journalFiles are the journal of a configuration or the one that is named,
// oldest first. That of strangers is not among them: who is no client has no
// sender, no recipient and no count.
func journalFiles(path, file string) ([]string, error) {
	switch {
	case file == "-":
		return []string{"-"}, nil
	case file == "":
		c, err := journalConfig(path)
		if err != nil {
			return nil, err
		}
		file = c.File
	}
	files, err := eventlog.SetAside(file)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err == nil || len(files) == 0 {
		files = append(files, file)
	}
	return files, nil
}
