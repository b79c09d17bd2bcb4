package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/statefile"
)

const (
	ext = ".jsonl"
	// maxFile is the size at which a file is set aside, and keptFiles how many of those
	// are kept.
	maxFile   = 16 << 20
	keptFiles = 50
	// maxWaiting is how many lines wait for the disk, in memory, beside as many that are
	// being written.
	maxWaiting = 1000
	// patience is how long an act waits for the disk.
	patience = 2 * time.Second
	// retry is how often lines that wait are tried again.
	retry = 5 * time.Second
)

// errSlow means that the disk has not taken a line in time.
var errSlow = errors.New("the disk does not take the line of the audit in time")

var errClosed = errors.New("the audit is closed")

// Log writes the audit of a relay. It is safe for concurrent use; one goroutine writes.
type Log struct {
	name     string
	now      func() time.Time
	log      *slog.Logger
	report   func(error)
	open     func(name string, flags int) (File, error)
	patience time.Duration

	mu      sync.Mutex
	queue   []*job // in the order of the file
	writing int    // how many of them, from the first, are being written
	lost    int    // lines that nobody could keep
	closed  bool
	wake    chan struct{}
	done    chan struct{}

	// Those of the goroutine that writes.
	file  File
	size  int64
	chain chain
	known bool // chain is that of the file
}

// File is an open file of the audit; tests have one that fails.
type File interface {
	io.Writer
	io.ReaderAt
	Sync() error
	Truncate(int64) error
	Stat() (fs.FileInfo, error)
	Close() error
}

// Options are what a Log needs; all but Log may be left out.
type Options struct {
	Log *slog.Logger
	// Report is told after each try how writing went.
	Report func(error)
	Now    func() time.Time
	Open   func(name string, flags int) (File, error)
	// Patience is how long an act waits for the disk. Default: two seconds.
	Patience time.Duration
}

// job is one line that is to be written.
type job struct {
	entry Entry
	keep  bool       // it waits where the disk does not take it
	wrote chan error // holds the answer
}

// Open makes a Log; nothing is read or written yet. Close must be called.
func Open(name string, o Options) *Log {
	l := &Log{name: name, now: o.Now, log: o.Log, report: o.Report, open: o.Open, patience: o.Patience, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if l.now == nil {
		l.now = time.Now
	}
	if l.report == nil {
		l.report = func(error) {}
	}
	if l.open == nil {
		l.open = func(name string, flags int) (File, error) { return statefile.Open(name, flags) }
	}
	if l.patience == 0 {
		l.patience = patience
	}
	go l.run()
	return l
}

// Name is the file.
func (l *Log) Name() string { return l.name }

// Write puts a line on the disk before it returns nil. Where the disk does not take it
// the error says so; with keep the line then waits in memory, and stands in the log of
// the relay.
func (l *Log) Write(e Entry, keep bool) error {
	j := &job{entry: e, keep: keep, wrote: make(chan error, 1)}
	err := l.add(j)
	if err == nil {
		err = l.wait(j)
	}
	if err != nil && keep {
		l.log.Warn("audit", "id", e.ID, "by", e.Actor, "door", e.Door, "remote", e.Remote, "act", e.Verb, "what", e.Target, "reason", e.Reason, "result", e.Result, "err", err)
	}
	return err
}

// Note is for what has been done: it waits for nothing, and its line is kept as with
// Write.
func (l *Log) Note(e Entry) { l.add(&job{entry: e, keep: true, wrote: make(chan error, 1)}) }

func (l *Log) add(j *job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	l.queue = append(l.queue, j)
	l.trimLocked()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// trimLocked drops the oldest lines that nobody writes just now, where too many wait.
func (l *Log) trimLocked() {
	for len(l.queue)-l.writing > maxWaiting {
		l.queue[l.writing].answer(errors.New("too many lines of the audit wait for the disk"))
		l.queue = slices.Delete(l.queue, l.writing, l.writing+1)
		l.lost++
	}
}

func (j *job) answer(err error) {
	select {
	case j.wrote <- err:
	default: // it was answered before
	}
}

// wait is for the disk, as long as patience lasts. A line that is not kept is taken back
// where its writing has not begun.
func (l *Log) wait(j *job) error {
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case err := <-j.wrote:
		return err
	case <-timer.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.queue, j); i >= l.writing && !j.keep {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	return errSlow
}

// Close writes what waits, as far as the disk takes it.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	<-l.done
}

func (l *Log) run() {
	defer close(l.done)
	ticker := time.NewTicker(retry)
	defer ticker.Stop()
	for {
		select {
		case <-l.wake:
		case <-ticker.C:
		}
		l.flush()
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			l.flush() // what came meanwhile
			l.shut()
			return
		}
	}
}

// flush writes all lines that wait, with one fsync.
func (l *Log) flush() {
	l.mu.Lock()
	batch, lost := slices.Clone(l.queue), l.lost
	l.writing = len(batch)
	l.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := l.write(batch, lost)
	l.report(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue, l.writing = slices.Delete(l.queue, 0, len(batch)), 0 // they are first: only others are taken out
	if err == nil {
		l.lost -= lost
	}
	var stay []*job
	for _, j := range batch {
		j.answer(err)
		if err != nil && j.keep {
			stay = append(stay, j)
		}
	}
	l.queue = append(stay, l.queue...)
	l.trimLocked()
}

// write appends lines and has them on the disk, or leaves the file as it was.
func (l *Log) write(batch []*job, lost int) error {
	if err := l.ready(); err != nil {
		l.shut()
		return err
	}
	var text bytes.Buffer
	c := l.chain
	for i, j := range batch {
		if i > 0 {
			lost = 0
		}
		line, next, err := c.next(j.entry, l.now(), lost)
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
		c = next
	}
	_, err := l.file.Write(text.Bytes())
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil { // half a line, or what a cache pretends to hold, goes away
		err = errors.Join(err, l.file.Truncate(l.size))
		l.shut()
		return err
	}
	l.size, l.chain = l.size+int64(text.Len()), c
	return nil
}

func (l *Log) shut() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// ready opens the file, or another one where it is full or has gone.
func (l *Log) ready() error {
	if l.file != nil && l.size >= maxFile {
		if err := l.setAside(); err != nil {
			return err
		}
	}
	if l.file != nil {
		there, err := os.Lstat(l.name)
		is, err2 := l.file.Stat()
		if err == nil && err2 == nil && os.SameFile(there, is) {
			return nil
		}
		l.shut()
	}
	f, err := l.open(l.name, os.O_CREATE|os.O_RDWR|os.O_APPEND)
	if err != nil {
		return err
	}
	l.file = f
	return l.goOn()
}

// setAside gives a full file a name with the time, and removes the oldest of too many.
func (l *Log) setAside() error {
	l.shut()
	aside, err := l.aside()
	if err != nil {
		return err
	}
	if err := os.Rename(l.name, aside); err != nil {
		return err
	}
	files, err := filesOf(l.name)
	if err != nil {
		return err
	}
	for _, old := range files[:max(0, len(files)-keptFiles)] {
		os.Remove(old)
	}
	return nil
}

const asideTime = "20060102T150405.000000Z"

// aside is the name for a full file. It sorts behind those before, whatever the clock
// says: the chain is read by the names, and the oldest is removed.
func (l *Log) aside() (string, error) {
	files, err := filesOf(l.name)
	if err != nil {
		return "", err
	}
	at, prefix := l.now().UTC().Truncate(time.Microsecond), strings.TrimSuffix(l.name, ext)+"-"
	for _, f := range files {
		text := strings.TrimSuffix(f, ext)
		if last, err := time.Parse(asideTime, text[max(0, len(text)-len(asideTime)):]); err == nil && !at.After(last) {
			at = last.Add(time.Microsecond)
		}
	}
	return prefix + at.Format(asideTime) + ext, nil
}

// goOn finds the end of the chain in the file that was opened, and cuts off a line that
// a crash has left without its end: nothing was done by it.
func (l *Log) goOn() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", l.name)
	}
	l.size = info.Size()
	tail, err := l.tail()
	if err != nil {
		return err
	}
	if end := bytes.LastIndexByte(tail, '\n') + 1; end < len(tail) {
		l.size -= int64(len(tail) - end)
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
		tail = tail[:end]
	}
	if l.known {
		return nil // the chain goes on in a file that is new, or that was open before
	}
	if len(tail) == 0 {
		return l.before()
	}
	return l.resume(tail)
}

// tail is the end of the file, with at least one whole line where there is one.
func (l *Log) tail() ([]byte, error) {
	n := min(l.size, 2*maxLine)
	tail := make([]byte, n)
	_, err := l.file.ReadAt(tail, l.size-n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return tail, err
}

// resume takes the last line up. One that cannot be read is a break that Verify shows;
// the chain goes on behind it, by what it holds.
func (l *Log) resume(tail []byte) error {
	tail = bytes.TrimSuffix(tail, []byte{'\n'})
	last := tail[bytes.LastIndexByte(tail, '\n')+1:]
	line, next, err := chain{seq: -1}.read(last)
	if err != nil {
		l.log.Error("the last line of the audit was changed; relay audit verify says more", "file", l.name, "err", err)
		next = chain{max(line.Seq, 0), sum(last)}
	}
	l.chain, l.known = next, true
	return nil
}

// before finds the end of the chain in the newest file that was set aside.
func (l *Log) before() error {
	files, err := filesOf(l.name)
	if err != nil {
		return err
	}
	for _, file := range slices.Backward(files) {
		text, err := readAll(file)
		if err != nil {
			return err
		}
		if len(text) > 0 {
			return l.resume(text)
		}
	}
	l.known = true
	return nil
}
