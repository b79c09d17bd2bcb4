package cli

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/eventlog"
	"postern/internal/text"
	"postern/mail"
)

// JournalFlag adds -journal, which may be given several times.
func JournalFlag(f *flag.FlagSet) *[]string {
	named := &[]string{}
	f.Func("journal", "journal `file`, or - for standard input; rotated files beside it are read, too. Several flags or further arguments name the journals\nof several nodes; default: the journal of the configuration", func(s string) error {
		*named = append(*named, s)
		return nil
	})
	return named
}

// JournalsNamed are the files that are named with those rotated beside them, or
// those of a configuration; each once.
func JournalsNamed(path string, named []string) (files []string, err error) {
	if len(named) == 0 {
		return JournalFiles(path, "")
	}
	seen := map[string]bool{}
	for _, name := range named {
		more, err := JournalFiles("", name)
		if err != nil {
			return nil, err
		}
		for _, file := range more {
			if file = cleanPath(file); !seen[file] {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	return files, nil
}

func cleanPath(file string) string {
	if file == "-" {
		return file
	}
	return filepath.Clean(file)
}

// ReadJournal is eventlog.Read for a command, with what Damage says of it.
func ReadJournal(io IO, command string, files []string, f func(*mail.Event) error) (tell func(), err error) {
	d, err := eventlog.Read(files, io.In, f)
	if open := (*fs.PathError)(nil); errors.As(err, &open) {
		err = JournalFault(open.Path, err)
	}
	return Damage(io, command, d, err)
}

// Damage tells what a command has passed over in a journal: tell, which is to be called when
// the answer is printed, says where damaged lines are and how many there were. Where most
// lines are damaged the answer would say nothing, and that is the error; else it is err.
func Damage(io IO, command string, d eventlog.Damage, err error) (tell func(), fault error) {
	if err == nil && d.Lines > d.Events {
		err = fmt.Errorf("%s not journal lines, and %s; name a journal with -journal", text.Count(d.Lines, "line is", "lines are"), text.Count(d.Events, "is", "are"))
	}
	return func() {
		for _, place := range d.Places {
			fmt.Fprintf(io.Err, "%s: %v\n", command, place)
		}
		if d.Lines > 0 && err == nil {
			fmt.Fprintf(io.Err, "%s: passed over %s held is missing above\n", command, text.Count(d.Lines, "damaged line; what it", "damaged lines; what they"))
		}
	}, err
}

// AllJournalFiles are JournalFiles and, of a configuration, those of peers that
// never became a client.
func AllJournalFiles(path, file string) ([]string, error) {
	if file != "" {
		return JournalFiles(path, file)
	}
	c, err := JournalConfig(path)
	if err != nil {
		return nil, err
	}
	files, err := JournalFiles(path, c.File)
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

// JournalConfig is [journal] of a configuration that keeps one.
func JournalConfig(path string) (c eventlog.Config, err error) {
	path = ConfigPath(path)
	f, err := config.LoadRules(path)
	if err != nil {
		return c, err
	}
	if f.Journal.File == "" {
		return c, fmt.Errorf("%s keeps no journal; set journal.file", path)
	}
	return f.Journal, nil
}

// JournalFiles are the journal of a configuration or the one that is named,
// oldest first. That of strangers is not among them: who is not a client has no
// sender, no recipient and no count.
func JournalFiles(path, file string) ([]string, error) {
	switch {
	case file == "-":
		return []string{"-"}, nil
	case file == "":
		c, err := JournalConfig(path)
		if err != nil {
			return nil, err
		}
		file = c.File
	}
	files, err := eventlog.SetAside(file)
	if err == nil {
		_, err = os.Stat(file)
	}
	switch {
	case err == nil:
		files = append(files, file)
	case len(files) == 0:
		return nil, JournalFault(file, err)
	}
	return files, nil
}

// JournalFault says what to do where a journal, or its folder, cannot be read: nobody may
// know that a relay makes it. Other errors are as they were.
func JournalFault(file string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no journal %s; relay serve makes it at its first start; if it has run, name its configuration with -config, or the file with -journal", file)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as the user of the relay", err)
	}
	return err
}

// MaxJournals is how many files one command reads.
const MaxJournals = 10_000
