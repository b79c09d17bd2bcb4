package eventlog

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"postern/mail"
)

// errTurnedOver is returned by Skim where files have got other names meanwhile, so that
// one may not have been read.
var errTurnedOver = errors.New("files of the journal were renamed while they were read")

// Skim calls f for each event of a journal while it may be written to: files stand the
// oldest first, names that end in .gz are unpacked, and the event is used again. Unlike
// Read it passes over what is not an event, lines over 4 MiB and what is damaged of a packed
// file, and says how often it has. It takes what the last file holds when it begins.
func Skim(files []string, f func(*mail.Event) error) (skipped int, err error) {
	if len(files) == 0 {
		return 0, nil
	}
	old, newest := files[:len(files)-1], files[len(files)-1]
	last, err := openPlain(newest) // first of all: soon it may have another name
	if err != nil {
		return 0, err
	}
	defer last.Close()
	var was []os.FileInfo
	for _, name := range old {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		was = append(was, info)
	}
	for _, name := range old {
		if err := skimFile(name, &skipped, f); err != nil {
			return skipped, err
		}
	}
	for i, name := range old {
		if is, err := os.Stat(name); err == nil && !os.SameFile(is, was[i]) {
			return skipped, errTurnedOver
		}
	}
	info, err := last.Stat()
	if err != nil {
		return skipped, err
	}
	return skipped, skimOpen(newest, io.LimitReader(last, info.Size()), &skipped, f)
}

// openPlain opens a regular file; a pipe would wait for a writer.
func openPlain(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", name))
	}
	return file, nil
}

// skimFile reads one; one that is gone was the oldest of all.
func skimFile(name string, skipped *int, f func(*mail.Event) error) error {
	file, err := openPlain(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return skimOpen(name, file, skipped, f)
}

func skimOpen(name string, file io.Reader, skipped *int, f func(*mail.Event) error) error {
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(file)
		if err != nil {
			*skipped++
			return nil
		}
		file = z
	}
	stopped, fault := eachLine(file, func(_ int, line []byte) error {
		var e mail.Event
		if unmarshal(line, &e) != nil {
			*skipped++
			return nil
		}
		return f(&e)
	})
	switch {
	case stopped != nil:
		return stopped
	case fault != nil && strings.HasSuffix(name, ".gz"):
		*skipped++
		return nil
	}
	return fault
}
