package eventlog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/mail"
)

// maxLine bounds one line of a journal; 100 recipients with long upstream
// replies stay far below it.
const maxLine = 4 << 20

// Damage is what Read has passed over.
type Damage struct {
	// Events is how many events were read.
	Events int
	// Lines is how many lines are not events, and packed files that could not be unpacked
	// to their end.
	Lines int
	// Places are the first of them and what is wrong there, at most three.
	Places []error
}

// Add adds a line, and what is wrong there.
func (d *Damage) Add(place error) {
	if d.Lines++; len(d.Places) < 3 {
		d.Places = append(d.Places, place)
	}
}

// Join adds what was passed over elsewhere.
func (d *Damage) Join(o *Damage) {
	d.Events += o.Events
	d.Lines += o.Lines
	d.Places = append(d.Places, o.Places[:min(len(o.Places), 3-len(d.Places))]...)
}

// Read calls f for each event of the files in their order; "-" is standard
// input and names that end in .gz are unpacked. The event is used again for
// the next line: f keeps nothing of it. Read passes over lines that are not events and
// says where they are; only the last line of a file, which may still be written to, is
// passed over in silence. The error is that of f, with its place, or of a file that cannot
// be read.
func Read(files []string, stdin io.Reader, f func(*mail.Event) error) (d Damage, err error) {
	for _, name := range files {
		if err := readFile(name, stdin, &d, f); err != nil {
			return d, err
		}
	}
	return d, nil
}

func readFile(name string, stdin io.Reader, d *Damage, f func(*mail.Event) error) error {
	if name == "-" {
		return readLines(name, stdin, d, f)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if !strings.HasSuffix(name, ".gz") {
		return readLines(name, file, d, f)
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		d.Add(fmt.Errorf("%s: cannot be unpacked: %w", name, err))
		return nil
	}
	return readLines(name, z, d, f)
}

func readLines(name string, r io.Reader, d *Damage, f func(*mail.Event) error) error {
	var bad error // of the line before
	last := 0
	stopped, fault := eachLine(r, func(n int, line []byte) error {
		if bad != nil {
			d.Add(bad)
		}
		var e mail.Event
		bad, last = unmarshal(line, &e), n
		if bad != nil {
			bad = fmt.Errorf("%s:%d: not a journal line: %w", name, n, bad)
			return nil
		}
		d.Events++
		if err := f(&e); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		return nil
	})
	switch {
	case stopped != nil:
		return stopped
	case fault != nil && strings.HasSuffix(name, ".gz"):
		d.Add(fmt.Errorf("%s:%d: cannot be unpacked any further: %w", name, last+1, fault))
	case fault != nil:
		return fmt.Errorf("%s: %w", name, fault)
	}
	return nil
}

var errLong = fmt.Errorf("longer than %d octets", maxLine)

// unmarshal reads a line, of which there may be the beginning only if it is too long.
func unmarshal(line []byte, e *mail.Event) error {
	if len(line) > maxLine {
		return errLong
	}
	return json.Unmarshal(line, e)
}

// eachLine calls f for each line that is not blank, with its number. Of one over maxLine f
// gets the beginning, which is longer than that, too. stopped is the error of f, fault that of r.
func eachLine(r io.Reader, f func(n int, line []byte) error) (stopped, fault error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for n := 1; ; {
		part, err := in.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if text := bytes.Trim(line, " \t\r\n\x00"); len(text) > 0 { // a power failure leaves NULs
			if err := f(n, text); err != nil {
				return err, nil
			}
		}
		n++
		if line = line[:0]; cap(line) > 1<<20 {
			line = nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return nil, err
		}
	}
}
