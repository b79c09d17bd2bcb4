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

// Read calls f for each event of the files in their order; "-" is standard
// input and names that end in .gz are unpacked. The event is used again for
// the next line: f keeps nothing of it. A line that is not an event is an error
// with its place, except for one whose end is missing, which a crash or a full
// disk has cut off, and for the last one of a file.
func Read(files []string, stdin io.Reader, f func(*mail.Event) error) error {
	for _, name := range files {
		if err := readFile(name, stdin, f); err != nil {
			return err
		}
	}
	return nil
}

func readFile(name string, stdin io.Reader, f func(*mail.Event) error) error {
	if name == "-" {
		return readLines(name, stdin, f)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if !strings.HasSuffix(name, ".gz") {
		return readLines(name, file, f)
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return readLines(name, z, f)
}

func readLines(name string, r io.Reader, f func(*mail.Event) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	var bad error
	for n := 1; in.Scan(); n++ {
		if bad != nil {
			return bad
		}
		line := bytes.Trim(in.Bytes(), " \t\r\x00") // a power failure leaves NULs
		if len(line) == 0 {
			continue
		}
		var e mail.Event
		switch err := json.Unmarshal(line, &e); {
		case err != nil && isCutOff(err):
			continue
		case err != nil:
			bad = fmt.Errorf("%s:%d: not a journal line: %w", name, n, err)
			continue
		}
		if err := f(&e); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// isCutOff reports whether the text of an object ended too soon.
func isCutOff(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input"
}
