package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"postern/internal/plain"
	"postern/internal/text"
	"postern/mail"
)

// Config is [journal]. Without the table no journal is kept.
type Config struct {
	// File that lines are appended to, made with mode 0600. Empty: no journal.
	File string `toml:"file" form:"path"`
	// RotateSize is the size in octets at which the file is set aside under its
	// name with the time appended. Default: 100MiB.
	RotateSize int64 `toml:"rotate_size" form:"size"`
	// Keep is how many files set aside are kept; older ones are removed. 0: all.
	// Default: 30.
	Keep int `toml:"keep"`
	// StrangersFile is the journal of peers that never became a client: refused
	// connections, MAIL and AUTH. Whatever they do, it takes no room of the other
	// one. Blank: strangers.jsonl beside File.
	StrangersFile string `toml:"strangers_file" form:"path"`
	// StrangersSize is for that file what RotateSize is for the other. Default: 10MiB.
	StrangersSize int64 `toml:"strangers_size" form:"size"`
	// StrangersKeep is for that file what Keep is for the other. Default: 5.
	StrangersKeep int `toml:"strangers_keep"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() {
	c.RotateSize, c.Keep = 100<<20, 30
	c.StrangersSize, c.StrangersKeep = 10<<20, 5
}

// Strangers is the journal of peers that never became a client.
func (c *Config) Strangers() Config {
	file := c.StrangersFile
	if file == "" {
		file = filepath.Join(filepath.Dir(c.File), "strangers.jsonl")
	}
	return Config{File: file, RotateSize: c.StrangersSize, Keep: c.StrangersKeep}
}

// Check reports every problem of the table.
func (c *Config) Check(report func(key, problem string)) {
	if c.RotateSize < 64<<10 {
		report("rotate_size", "is too small; write at least 64KiB")
	}
	if c.StrangersSize < 64<<10 {
		report("strangers_size", "is too small; write at least 64KiB")
	}
	if c.Keep < 0 {
		report("keep", "is negative; write 0 to keep all")
	}
	if c.StrangersKeep < 1 {
		report("strangers_keep", "is less than 1; anybody can fill these files")
	}
	if c.File != "" && filepath.Clean(c.Strangers().File) == filepath.Clean(c.File) {
		report("strangers_file", "is the file of the journal itself; name another one")
	}
}

// FlushEvery is how often lines go to the file of a Writer, and how soon it is seen that the
// file has been renamed, removed or cut.
const FlushEvery = 200 * time.Millisecond

const (
	// flushSize is how many octets go at once.
	flushSize = 64 << 10
	// maxPending bounds the lines that wait for a disk that fails.
	maxPending = 4 << 20
	// retryEvery is the pause between tries of what the disk refused.
	retryEvery = time.Second
	// rotateEvery is the pause between tries to set the file aside.
	rotateEvery = time.Minute
	// timeSuffix is what a file set aside gets; it sorts by time.
	timeSuffix = "20060102T150405.000000Z"
)

// Options are what a Writer works with.
type Options struct {
	Log *slog.Logger
	// Report is told how each try to write, or to set the file aside, went; it
	// is for the caller to tell an operator once. Nil: nobody.
	Report func(part string, err error)
	Now    func() time.Time // nil: time.Now
	// NoLink: a file that is a symbolic or a hard link, or not a regular file, is not
	// written to, as fits the state folder.
	NoLink bool
}

// Writer appends events to the journal. It is safe for concurrent use. A line
// is on its way to the disk within FlushEvery, and goes there as a whole, so
// that whoever renames, copies or cuts the file meets whole lines. While the
// disk fails, lines wait in memory up to a bound; beyond it they are counted.
type Writer struct {
	cfg Config
	opt Options

	mu      sync.Mutex
	file    *os.File     // nil: it could not be opened, or the writer is closed
	size    int64        // of the file
	line    bytes.Buffer // of the present event; its room is used again
	pending []byte       // whole lines
	lost    int          // lines that found no room
	torn    bool         // the file ends within a line
	failed  time.Time    // of the last fault; zero: all is well
	stuck   time.Time    // when the file could not be set aside; zero: it could
	closed  bool

	quit chan struct{}
	done chan struct{}
}

// Open begins to append to the journal. A file that cannot be opened is
// reported, and tried again: mail goes on without it. A last line cut off
// by a crash is ended, so that the next one stands by itself.
func Open(cfg Config, opt Options) *Writer {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Report == nil {
		opt.Report = func(string, error) {}
	}
	w := &Writer{cfg: cfg, opt: opt, quit: make(chan struct{}), done: make(chan struct{})}
	w.mu.Lock()
	w.note(w.open())
	w.mu.Unlock()
	go w.flushLoop()
	return w
}

func (w *Writer) open() error {
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if w.opt.NoLink {
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(w.cfg.File, flags, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%s is a link, and links in the state folder are not followed; name the file itself in [journal]", w.cfg.File)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = w.unfit(info)
	}
	if err != nil {
		f.Close()
		return err
	}
	if w.file != nil {
		w.file.Close()
	}
	w.file, w.size, w.torn = f, info.Size(), false
	if w.size > 0 {
		last := make([]byte, 1)
		_, err := f.ReadAt(last, w.size-1)
		w.torn = err == nil && last[0] != '\n'
	}
	return nil
}

// unfit says why what is open cannot hold the journal. A pipe or socket that
// nobody reads would stop all mail; in the state folder a file with a second
// name is somebody else's, too.
func (w *Writer) unfit(info fs.FileInfo) error {
	mode := info.Mode()
	stat, _ := info.Sys().(*syscall.Stat_t)
	switch {
	case mode.IsRegular() && w.opt.NoLink && stat != nil && stat.Nlink > 1:
		return fmt.Errorf("%s is a hard link, and the state folder may hold none; move it away, a new file will be made", w.cfg.File)
	case mode.IsRegular(), mode&fs.ModeCharDevice != 0 && !w.opt.NoLink:
		return nil
	}
	return fmt.Errorf("%s is not a regular file; name one in [journal], or move this away", w.cfg.File)
}

// Observe appends the event; mail does not wait for the disk.
func (w *Writer) Observe(e *mail.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.line.Reset()
	if err := json.NewEncoder(&w.line).Encode(e); err != nil { // an event that has no line
		w.opt.Log.Error("journal line not written", "err", err, "id", e.ID)
		return
	}
	line := w.line.Bytes()
	if w.line.Cap() > flushSize { // of an event with very many recipients
		w.line = bytes.Buffer{}
	}
	if len(w.pending)+len(line) > maxPending {
		w.lost++
		return
	}
	if plain.IsPlain(line) {
		w.pending = append(w.pending, line...)
	} else { // people look at it with less and tail
		w.pending = plain.Append(w.pending, line)
	}
	if len(w.pending) >= flushSize && w.failed.IsZero() {
		w.flush()
	}
}

// flush writes the pending lines to the file of that name.
func (w *Writer) flush() {
	err := w.follow()
	if err == nil && len(w.pending) > 0 {
		if w.size > 0 && w.size+int64(len(w.pending)) > w.cfg.RotateSize && !w.soonAfter(w.stuck, rotateEvery) {
			w.rotate()
		}
		err = w.write()
	}
	w.note(err)
}

// follow opens the name again where it no longer is the file that is open, as
// after logrotate or rm, and sees a file that was cut (copytruncate).
func (w *Writer) follow() error {
	if w.file == nil {
		return w.open()
	}
	open, err := w.file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(w.cfg.File)
	switch {
	case err == nil && os.SameFile(open, named):
		if open.Size() < w.size {
			w.torn = false
		}
		w.size = open.Size()
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return w.open()
}

// write appends the pending lines in one call. Of a call that the disk broke
// off nothing stays in the file, so that the lines can come again.
func (w *Writer) write() error {
	b := w.pending
	if w.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := w.file.Write(b)
	if err == nil {
		w.size += int64(n)
		w.pending, w.torn = w.pending[:0], false
		if cap(w.pending) > 4*flushSize {
			w.pending = nil
		}
		return nil
	}
	if n > 0 && w.file.Truncate(w.size) != nil {
		w.torn = true
	}
	return err
}

// note reports how a try went, and how many lines a failing disk has cost.
func (w *Writer) note(err error) {
	w.opt.Report("write", err)
	if err != nil {
		w.failed = w.opt.Now()
		return
	}
	w.failed = time.Time{}
	if w.lost > 0 {
		w.opt.Log.Error("journal lines lost while the disk failed", "file", w.cfg.File, "lines", w.lost)
		w.lost = 0
	}
}

// rotate sets the file aside and opens a new one. Where that fails the present
// one grows on.
func (w *Writer) rotate() {
	aside := w.aside()
	err := os.Rename(w.cfg.File, aside)
	if err == nil {
		err = w.open()
	}
	if err == nil {
		err = w.prune()
	}
	w.stuck = time.Time{}
	if err != nil {
		w.stuck = w.opt.Now()
	}
	w.opt.Report("set aside", err)
}

// aside is the name for the present file. It sorts behind all that were set aside before,
// whatever the clock says: by their names the oldest goes, and they are read in order.
func (w *Writer) aside() string {
	at := w.opt.Now().UTC().Truncate(time.Microsecond)
	if files, _ := SetAside(w.cfg.File); len(files) > 0 {
		newest := files[len(files)-1]
		last, _ := time.Parse(timeSuffix, newest[len(newest)-len(timeSuffix):])
		if !at.After(last) {
			at = last.Add(time.Microsecond)
		}
	}
	return w.cfg.File + "." + at.Format(timeSuffix)
}

// soonAfter reports whether at was less than pause ago; never for the zero time,
// nor where the clock has stepped back behind it.
func (w *Writer) soonAfter(at time.Time, pause time.Duration) bool {
	since := w.opt.Now().Sub(at)
	return !at.IsZero() && since >= 0 && since < pause
}

func (w *Writer) prune() error {
	if w.cfg.Keep == 0 {
		return nil
	}
	files, err := SetAside(w.cfg.File)
	if err != nil {
		return err
	}
	for len(files) > w.cfg.Keep {
		if err := os.Remove(files[0]); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}

func (w *Writer) flushLoop() {
	defer close(w.done)
	tick := time.NewTicker(FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
			w.mu.Lock()
			if !w.soonAfter(w.failed, retryEvery) {
				w.flush()
			}
			w.mu.Unlock()
		}
	}
}

// Reopen opens the name again at once, for SIGHUP after the file was renamed.
func (w *Writer) Reopen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.flush()
	}
}

// Close writes what is left and closes the file. Lines that could not be
// written are an error.
func (w *Writer) Close() error {
	close(w.quit)
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	w.closed = true
	if lost := w.lost + bytes.Count(w.pending, []byte{'\n'}); lost > 0 {
		w.opt.Log.Error("journal lines lost at the end", "file", w.cfg.File, "lines", lost)
		return fmt.Errorf("journal %s: %s not written", w.cfg.File, text.Count(lost, "line", "lines"))
	}
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// SetAside lists the rotated files of a journal, oldest first.
func SetAside(file string) ([]string, error) {
	all, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	var names []string
	prefix := filepath.Base(file) + "."
	for _, e := range all {
		suffix, ok := bytes.CutPrefix([]byte(e.Name()), []byte(prefix))
		if !ok {
			continue
		}
		if _, err := time.Parse(timeSuffix, string(suffix)); err == nil {
			names = append(names, filepath.Join(filepath.Dir(file), e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}
