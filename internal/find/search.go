package find

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

const (
	blockSize = 1 << 20
	// maxLine bounds one line; longer ones are passed over.
	maxLine = 4 << 20
	// maxKept bounds the octets of the hits of one packed file, which are gathered since
	// it can be read from its beginning only.
	maxKept = 16 << 20
	// longest is how long a transaction may take: lines stand in the order of their ends,
	// and times are those of their beginnings.
	longest = 2 * time.Hour
)

// lookSize is at how many octets hasNewer looks in one place.
const lookSize = 16 << 10

// ErrEnough ends a search, from within its hit, without an error.
var ErrEnough = errors.New("enough")

// Stats say what a search has looked at.
type Stats struct {
	Files  int
	Listed int   // files that were to be searched, also those that are too old or gone
	Read   int64 // octets, unpacked
	Bad    int   // lines that held the octets and are not an event
	// Cut are packed files with so many hits that the oldest of them were left out.
	Cut []string
}

// Files are a journal and what was set aside of it, by this relay or by logrotate, also
// packed (.gz), the newest first.
func Files(journal string) ([]string, error) {
	dir, base := filepath.Dir(journal), filepath.Base(journal)
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type file struct {
		name string
		time time.Time
	}
	var files []file
	for _, e := range all {
		rest, ok := strings.CutPrefix(e.Name(), base)
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() || rest != "" && rest[0] != '.' && rest[0] != '-' || !isRotated(rest) {
			continue
		}
		f := file{filepath.Join(dir, e.Name()), info.ModTime()}
		if rest == "" {
			f.time = time.Now().Add(time.Hour) // written to now
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b file) int {
		if c := b.time.Compare(a.time); c != 0 {
			return c
		}
		return strings.Compare(b.name, a.name)
	})
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.name
	}
	return names, nil
}

// isRotated reports whether what follows the journal's name is a time or a number.
func isRotated(rest string) bool {
	return strings.Trim(strings.TrimSuffix(rest, ".gz"), ".-0123456789TZ") == ""
}

// search is one search.
type search struct {
	*matcher
	ctx   context.Context
	hit   func(line []byte, e *mail.Event) error
	stats Stats
	old   bool      // what is left of the file is older than Since
	ended bool      // all files that follow are
	began time.Time // of the work since the last rest
}

// workFor is how long a search reads plain files until it rests for as long: it reads as
// fast as memory gives, which mail needs, too.
const workFor = time.Millisecond

// rest lets others have the machine, if the search has worked for long enough.
func (s *search) rest() {
	if worked := time.Since(s.began); worked >= workFor {
		select {
		case <-time.After(min(worked, 10*workFor)):
		case <-s.ctx.Done():
		}
		s.began = time.Now()
	}
}

// Search calls hit for each event that the query asks for, newest first, as soon as it is
// found; line is what the journal has, and like the event it is used again. It reads with
// one goroutine and bounded memory. Files are in the order of Files; one that is gone
// meanwhile is passed over.
func Search(ctx context.Context, files []string, q Query, hit func(line []byte, e *mail.Event) error) (Stats, error) {
	m, err := newMatcher(q)
	if err != nil {
		return Stats{}, err
	}
	s := &search{matcher: m, ctx: ctx, hit: hit, stats: Stats{Listed: len(files)}}
	var seen []os.FileInfo
	for _, name := range files {
		err := s.file(name, &seen)
		switch {
		case errors.Is(err, ErrEnough):
			return s.stats, nil
		case err != nil:
			return s.stats, fmt.Errorf("%s: %w", name, err)
		case s.ended:
			return s.stats, nil
		}
	}
	return s.stats, nil
}

// file searches one; one that was renamed since it was listed is not searched twice.
func (s *search) file(name string, seen *[]os.FileInfo) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(*seen, func(i os.FileInfo) bool { return os.SameFile(i, info) }) {
		return nil
	}
	*seen = append(*seen, info)
	if !s.q.Since.IsZero() && info.ModTime().Before(s.q.Since) {
		s.ended = true // its last line is older, and so is all that follows
		return nil
	}
	s.old = false
	s.stats.Files++
	if strings.HasSuffix(name, ".gz") {
		return s.packed(name, f)
	}
	return s.plain(f, info.Size())
}

// plain searches a file from its end to its beginning.
func (s *search) plain(f io.ReaderAt, size int64) error {
	buf := make([]byte, 0, 2*blockSize)
	var rest []byte // the beginning of a line whose end has been read
	skipping := false
	s.began = time.Now()
	for end := size; end > 0 && !s.old; {
		s.rest()
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n := min(end, blockSize)
		end -= n
		buf = append(slices.Grow(buf[:0], int(n)+len(rest))[:n], rest...)
		if _, err := f.ReadAt(buf[:n], end); err != nil && !(errors.Is(err, io.EOF)) {
			return err
		}
		s.stats.Read += n
		first := 0
		if end > 0 {
			first = bytes.IndexByte(buf[:n], '\n') + 1
			if first == 0 && len(buf) <= maxLine {
				rest = append(rest[:0], buf...)
				continue
			}
			if first == 0 { // a line without end: it is passed over
				rest, skipping = rest[:0], true
				continue
			}
		}
		lines := buf[first:]
		if skipping { // its beginning
			lines = lines[:max(0, bytes.LastIndexByte(lines, '\n')+1)]
			skipping = false
		}
		rest = append(rest[:0], buf[:first]...)
		if first > 0 {
			rest = rest[:first-1]
		}
		if err := s.block(lines); err != nil {
			return err
		}
		s.old = s.isOld(lines) && !s.hasNewer(f, end)
	}
	return nil
}

// block tells the hits of whole lines, the last one first.
func (s *search) block(lines []byte) error {
	var hits [][2]int
	for at := 0; at < len(lines); {
		i := s.needles[0].next(lines[at:])
		if i < 0 {
			break
		}
		start := bytes.LastIndexByte(lines[:at+i], '\n') + 1
		stop := at + i + bytes.IndexByte(lines[at+i:], '\n')
		if stop < at+i {
			stop = len(lines)
		}
		if s.mayMatch(lines[start:stop]) {
			hits = append(hits, [2]int{start, stop})
		}
		at = stop
	}
	for _, h := range slices.Backward(hits) {
		if err := s.line(lines[h[0]:h[1]]); err != nil {
			return err
		}
	}
	return nil
}

// isOld reports whether the first of these lines, and by that what stands before it, is
// older than Since.
func (s *search) isOld(lines []byte) bool {
	if s.q.Since.IsZero() {
		return false
	}
	line, _, _ := bytes.Cut(lines, []byte{'\n'})
	var e struct{ Time time.Time }
	return json.Unmarshal(trim(line), &e) == nil && !e.Time.IsZero() && e.Time.Before(s.q.Since.Add(-longest))
}

// hasNewer looks into what stands before end, in steps that grow by a quarter: a clock that
// was wrong for a while has left old lines between newer ones.
func (s *search) hasNewer(f io.ReaderAt, end int64) bool {
	buf := make([]byte, lookSize)
	for back := int64(lookSize); ; back += back / 4 {
		at := max(0, end-back)
		n, _ := f.ReadAt(buf[:min(lookSize, end-at)], at)
		_, lines, _ := bytes.Cut(buf[:n], []byte{'\n'})
		if bytes.IndexByte(lines, '\n') > 0 && !s.isOld(lines) {
			return true
		}
		if at == 0 {
			return false
		}
	}
}

func trim(line []byte) []byte { return bytes.Trim(line, " \t\r\x00") } // a power failure leaves NULs

// line decodes a line and tells it if it is a hit.
func (s *search) line(line []byte) error {
	var e mail.Event
	line = trim(line)
	if err := json.Unmarshal(line, &e); err != nil {
		s.stats.Bad++
		return nil
	}
	if !s.matches(&e) {
		return nil
	}
	return s.hit(line, &e)
}

// packed searches a file that can only be read from its beginning, and then tells its
// hits, the last one first.
func (s *search) packed(name string, f io.Reader) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return err
	}
	var kept [][]byte
	size := 0
	err = s.forward(z, func(line []byte) {
		kept, size = append(kept, bytes.Clone(line)), size+len(line)
		if size > maxKept && (len(s.stats.Cut) == 0 || s.stats.Cut[len(s.stats.Cut)-1] != name) {
			s.stats.Cut = append(s.stats.Cut, name)
		}
		for size > maxKept {
			size -= len(kept[0])
			kept[0], kept = nil, kept[1:]
		}
	})
	for _, line := range slices.Backward(kept) {
		if err := s.line(line); err != nil {
			return err
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) { // it is being packed, or was cut off
		return nil
	}
	return err
}

// forward calls keep for each line that may match.
func (s *search) forward(r io.Reader, keep func(line []byte)) error {
	buf := make([]byte, 0, 2*blockSize)
	skipping := false
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		err := fill(r, &buf)
		end := bytes.LastIndexByte(buf, '\n') + 1
		if err != nil {
			end = len(buf)
		}
		s.stats.Read += int64(end)
		lines := buf[:end]
		if skipping && end > 0 {
			i := bytes.IndexByte(lines, '\n')
			lines, skipping = lines[i+1:], false
		}
		s.lines(lines, keep)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		buf = append(buf[:0], buf[end:]...)
		switch {
		case len(buf) > maxLine:
			buf, skipping = buf[:0], true
		case cap(buf)-len(buf) < blockSize:
			buf = slices.Grow(buf, 2*blockSize)
		}
	}
}

// fill reads until buf has no more room, or to an error.
func fill(r io.Reader, buf *[]byte) error {
	for len(*buf) < cap(*buf) {
		n, err := r.Read((*buf)[len(*buf):cap(*buf)])
		*buf = (*buf)[:len(*buf)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// lines calls keep for those that may match, in their order.
func (s *search) lines(lines []byte, keep func([]byte)) {
	for at := 0; at < len(lines); {
		i := s.needles[0].next(lines[at:])
		if i < 0 {
			return
		}
		start := bytes.LastIndexByte(lines[:at+i], '\n') + 1
		stop := at + i + bytes.IndexByte(lines[at+i:], '\n')
		if stop < at+i {
			stop = len(lines)
		}
		if s.mayMatch(lines[start:stop]) {
			keep(lines[start:stop])
		}
		at = stop
	}
}
