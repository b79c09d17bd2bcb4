package simulate

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"postern/internal/eventlog"
)

const (
	blockSize = 256 << 10
	// maxLine bounds a line, as package journal does.
	maxLine = 4 << 20
	// blocksAhead is how many blocks of a file may wait for the replay.
	blocksAhead = 4
)

// Read calls f with every transaction of the files, in the order in which they
// ended; "-" is stdin, names that end in .gz are unpacked. Files may overlap in
// time, as the journals of several nodes do, and may be named in any order; each
// must be in the order of time by itself. Lines are decoded on all cores. Those that
// are not events are passed over, as eventlog.Read does; one over 4 MiB is an error.
func Read(files []string, stdin io.Reader, f func(*Transaction) error) (d eventlog.Damage, err error) {
	r := &reader{stdin: stdin, work: make(chan *block), quit: make(chan struct{})}
	defer r.stop()
	for range runtime.GOMAXPROCS(0) {
		r.running.Go(r.decode)
	}
	if r.waiting, err = r.firsts(files); err != nil {
		return d, err
	}
	for {
		s, err := r.next()
		if s == nil || err != nil {
			return r.damage, err
		}
		if err := f(s.head); err != nil {
			return r.damage, err
		}
		if err := s.advance(&r.damage); err != nil {
			return r.damage, err
		}
	}
}

// reader merges files and has their lines decoded.
type reader struct {
	stdin   io.Reader
	waiting []*source // not open yet, by the time of their first line
	open    []*source
	work    chan *block
	quit    chan struct{}
	running sync.WaitGroup
	damage  eventlog.Damage
}

// source is one file.
type source struct {
	name  string
	first int64 // End of the first transaction
	in    io.ReadCloser
	order chan *block // in the order of the file
	err   error       // of reading; set before order is closed

	block *block
	at    int
	head  *Transaction // the next one
	bad   error        // the last line, which is not an event: damage unless the file ends there
}

// block is some whole lines.
type block struct {
	name  string // of the file
	text  []byte
	line  int // number of the first
	done  chan struct{}
	found []*Transaction
	// bad says what is wrong with the last line; damage is that of those before it.
	bad    error
	damage eventlog.Damage
}

func (r *reader) stop() {
	close(r.quit)
	for _, s := range r.open {
		if s.name != "-" {
			s.in.Close() // ends a read that waits
		}
	}
	r.running.Wait()
}

// firsts looks at where each file begins. Standard input is begun at once.
func (r *reader) firsts(files []string) (all []*source, err error) {
	for _, name := range files {
		s := &source{name: name}
		if name != "-" {
			found := false
			if s.first, found, err = firstEnd(name); err != nil {
				return nil, err
			}
			if !found {
				continue
			}
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b *source) int { return cmp.Compare(a.first, b.first) })
	return all, nil
}

// firstEnd is the End of a file's first transaction; 0 where all lines are damaged.
func firstEnd(name string) (end int64, found bool, err error) {
	in, err := openFile(name)
	if err != nil {
		return 0, false, err
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	damaged := false
	for lines.Scan() {
		line := bytes.Trim(lines.Bytes(), " \t\r\x00")
		if len(line) == 0 {
			continue
		}
		var d decoder
		var t Transaction
		if err := d.decode(line, &t); err != nil {
			damaged = true // and told by whoever reads it
			continue
		}
		return t.End, true, nil
	}
	if err := lines.Err(); err != nil {
		return 0, false, fmt.Errorf("%s: %w", name, err)
	}
	return 0, damaged, nil
}

func badLine(name string, n int, err error) error {
	return fmt.Errorf("%s:%d: not a journal line: %w", name, n, err)
}

// openFile opens a journal, unpacking it where its name says so.
func openFile(name string) (io.ReadCloser, error) {
	file, err := os.Open(name)
	if err != nil || !strings.HasSuffix(name, ".gz") {
		return file, err
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return packed{z, file}, nil
}

type packed struct {
	io.Reader
	file *os.File
}

func (p packed) Close() error { return p.file.Close() }

// next is the source with the transaction that ended first; nil at the end.
func (r *reader) next() (*source, error) {
	best := -1
	for i := 0; i < len(r.open); {
		s := r.open[i]
		if s.head == nil {
			if s.name != "-" {
				s.in.Close()
			}
			r.open = slices.Delete(r.open, i, i+1)
			continue
		}
		if best < 0 || s.head.End < r.open[best].head.End {
			best = i
		}
		i++
	}
	if len(r.waiting) > 0 && (best < 0 || r.waiting[0].first <= r.open[best].head.End) {
		s := r.waiting[0]
		r.waiting = r.waiting[1:]
		if err := r.begin(s); err != nil {
			return nil, err
		}
		return r.next()
	}
	if best < 0 {
		return nil, nil
	}
	return r.open[best], nil
}

func (r *reader) begin(s *source) (err error) {
	if s.name == "-" {
		s.in = io.NopCloser(r.stdin)
	} else if s.in, err = openFile(s.name); err != nil {
		return err
	}
	s.order = make(chan *block, blocksAhead)
	r.open = append(r.open, s)
	run := func() { s.cut(r) }
	if s.name == "-" {
		go run() // a read of standard input cannot be ended
	} else {
		r.running.Go(run)
	}
	return s.advance(&r.damage)
}

// advance makes head the next transaction of the file, nil at its end.
func (s *source) advance(damage *eventlog.Damage) error {
	for {
		if s.block != nil && s.at < len(s.block.found) {
			s.head = s.block.found[s.at]
			s.block.found[s.at] = nil
			s.at++
			return nil
		}
		b, ok := <-s.order
		if !ok {
			s.head, s.block = nil, nil
			return s.err
		}
		<-b.done
		if s.bad != nil && (b.bad != nil || b.damage.Events+b.damage.Lines > 0) {
			damage.Add(s.bad)
			s.bad = nil
		}
		if b.bad != nil {
			s.bad = b.bad
		}
		damage.Join(&b.damage)
		s.block, s.at = b, 0
	}
}

// cut reads the file and cuts it into blocks of whole lines.
func (s *source) cut(r *reader) {
	defer close(s.order)
	line := 1
	var left []byte
	for {
		text := make([]byte, len(left), max(blockSize, len(left)+blockSize/2))
		copy(text, left)
		n, err := io.ReadFull(s.in, text[len(text):cap(text)])
		text = text[:len(text)+n]
		end := err != nil
		left = nil
		if !end {
			cut := bytes.LastIndexByte(text, '\n') + 1
			text, left = text[:cut], text[cut:]
		}
		if len(left) > maxLine {
			s.err = fmt.Errorf("%s:%d: a line is longer than %d octets", s.name, line, maxLine)
			return
		}
		if len(text) > 0 && !r.give(s, &block{name: s.name, text: text, line: line, done: make(chan struct{})}) {
			return
		}
		line += bytes.Count(text, []byte{'\n'})
		if end {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				s.err = fmt.Errorf("%s: %w", s.name, err)
			} else if err := s.packedEnd(); err != nil {
				s.err = fmt.Errorf("%s: %w", s.name, err)
			}
			return
		}
	}
}

// packedEnd tells a packed file that is cut off from one that ends: both are
// io.ErrUnexpectedEOF to io.ReadFull.
func (s *source) packedEnd() error {
	p, ok := s.in.(packed)
	if !ok {
		return nil
	}
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// give puts a block into the order of its file and has it decoded.
func (r *reader) give(s *source, b *block) bool {
	select {
	case s.order <- b:
	case <-r.quit:
		return false
	}
	select {
	case r.work <- b:
	case <-r.quit:
		return false
	}
	return true
}

// decode decodes blocks until the reader stops.
func (r *reader) decode() {
	var d decoder
	for {
		select {
		case <-r.quit:
			return
		case b := <-r.work:
			b.decode(&d)
			close(b.done)
		}
	}
}

func (b *block) decode(d *decoder) {
	n := b.line
	for rest := b.text; len(rest) > 0; n++ {
		var line []byte
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			line, rest = rest, nil
		}
		if line = bytes.Trim(line, " \t\r\x00"); len(line) == 0 {
			continue
		}
		if b.bad != nil {
			b.damage.Add(b.bad)
			b.bad = nil
		}
		t := new(Transaction)
		if err := d.decode(line, t); err != nil {
			b.bad = badLine(b.name, n, err)
			continue
		}
		b.damage.Events++
		b.found = append(b.found, t)
	}
	b.text = nil
}
