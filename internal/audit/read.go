package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/statefile"
)

// filesOf are an audit and what was set aside of it, the oldest first. Those that are not
// there are no error.
func filesOf(name string) ([]string, error) {
	base := strings.TrimSuffix(filepath.Base(name), ext)
	all, err := os.ReadDir(filepath.Dir(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []string
	for _, e := range all {
		if rest, ok := strings.CutPrefix(e.Name(), base+"-"); ok && strings.HasSuffix(rest, ext) && e.Type().IsRegular() {
			files = append(files, filepath.Join(filepath.Dir(name), e.Name()))
		}
	}
	slices.Sort(files) // names hold the time
	if _, err := os.Lstat(name); err == nil {
		files = append(files, name)
	}
	return files, nil
}

// Report is what Verify has found.
type Report struct {
	Files int       `json:"files"`
	Lines int       `json:"lines"`
	First time.Time `json:"first"` // of lines
	Last  time.Time `json:"last"`
	// Seq and Sum are those of the last line: who notes them elsewhere can tell later
	// that none behind it was cut off.
	Seq int64  `json:"seq"`
	Sum string `json:"sum"`
	// Problems are the lines that are not as they were written, as "FILE:LINE: ...".
	Problems []string `json:"problems,omitempty"`
	// From is the number of the first line; more than 1 where older files were removed.
	From int64 `json:"from"`
}

// maxProblems bounds a report.
const maxProblems = 100

// Verify reads all files of an audit and holds each line against the one before.
func Verify(name string) (r Report, err error) {
	files, err := filesOf(name)
	if err != nil {
		return r, err
	}
	c := chain{seq: -1}
	for _, file := range files {
		text, err := readAll(file)
		if err != nil {
			return r, err
		}
		r.Files++
		n := 0
		for line := range bytes.Lines(text) {
			n++
			if r.add(file, n, line, &c) == maxProblems {
				return r, nil
			}
		}
	}
	r.Seq, r.Sum = c.seq, c.last
	return r, nil
}

func (r *Report) add(file string, n int, line []byte, c *chain) int {
	text, whole := bytes.CutSuffix(line, []byte{'\n'})
	l, next, err := c.read(text)
	if err == nil && !whole {
		err = errors.New("has no end")
	}
	if err != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("%s:%d: %v", file, n, err))
		if l.Seq > 0 { // what follows is compared with this one
			next = chain{l.Seq, sum(text)}
		}
	}
	if r.Lines++; r.Lines == 1 {
		r.First, r.From = l.Time, l.Seq
	}
	r.Last, *c = l.Time, next
	return len(r.Problems)
}

// readAll reads one file, which is bounded by when it is set aside.
func readAll(name string) ([]byte, error) {
	f, err := statefile.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*maxFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// Latest are up to n lines with a number below before (0: any), the newest first, that
// keep takes. Lines that cannot be read are left out: Verify names them.
func Latest(name string, before int64, n int, keep func(*Line) bool) (list []Line, err error) {
	files, err := filesOf(name)
	if err != nil {
		return nil, err
	}
	for _, file := range slices.Backward(files) {
		text, err := readAll(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // set aside meanwhile
		}
		if err != nil {
			return nil, err
		}
		for len(text) > 0 && len(list) < n {
			text = bytes.TrimSuffix(text, []byte{'\n'})
			start := bytes.LastIndexByte(text, '\n') + 1
			l, _, err := chain{seq: -1}.read(text[start:])
			text = text[:start]
			if err == nil && (before == 0 || l.Seq < before) && keep(&l) {
				list = append(list, l)
			}
		}
		if len(list) == n {
			break
		}
	}
	return list, nil
}
