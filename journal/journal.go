// Package journal keeps every transaction as a line of JSON in a file that is
// rotated by size, and reads such files back. It holds all that an operator's
// later questions need and nothing secret.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

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
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() { c.RotateSize, c.Keep = 100<<20, 30 }

// Check reports every problem of the table.
func (c *Config) Check(report func(key, problem string)) {
	if c.RotateSize < 64<<10 {
		report("rotate_size", "is too small; write at least 64KiB")
	}
	if c.Keep < 0 {
		report("keep", "is negative; write 0 to keep all")
	}
}

const (
	bufferSize = 64 << 10
	flushEvery = 200 * time.Millisecond
	// timeSuffix is what a file set aside gets; it sorts by time.
	timeSuffix = "20060102T150405.000000Z"
)

// Writer appends events to the journal. It is safe for concurrent use. A line
// is on its way to the disk within flushEvery.
type Writer struct {
	cfg Config
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	file   *os.File
	buf    *bufio.Writer
	size   int64
	failed bool // the last write failed, and has been logged

	quit chan struct{}
	done chan struct{}
}

// Open opens the journal for appending. A last line cut off by a crash is
// ended, so that the next one stands by itself.
func Open(cfg Config, log *slog.Logger, now func() time.Time) (*Writer, error) {
	w := &Writer{cfg: cfg, log: log, now: now, quit: make(chan struct{}), done: make(chan struct{})}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	go w.flushLoop()
	return w, nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.cfg.File, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	w.file, w.size = f, info.Size()
	w.buf = bufio.NewWriterSize(f, bufferSize)
	if w.size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, w.size-1); err == nil && last[0] != '\n' {
			w.buf.WriteByte('\n')
			w.size++
		}
	}
	return nil
}

// Observe appends the event. A disk that fails is logged once until it works
// again; mail does not wait for it.
func (w *Writer) Observe(e *mail.Event) {
	if err := w.append(e); err != nil {
		w.log.Error("journal line not written", "err", err, "id", e.ID)
	}
}

// append fails only for an event that has no line.
func (w *Writer) append(e *mail.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	if w.size > 0 && w.size+int64(len(line)) > w.cfg.RotateSize {
		w.note(w.rotate())
	}
	n, err := w.buf.Write(line)
	w.size += int64(n)
	w.note(err)
	return nil
}

// note logs the first of a row of faults and its end. After a fault the buffer
// is started anew: bufio refuses all writes after one.
func (w *Writer) note(err error) {
	switch {
	case err != nil && !w.failed:
		w.log.Error("journal cannot be written", "file", w.cfg.File, "err", err)
	case err == nil && w.failed:
		w.log.Info("journal is written again", "file", w.cfg.File)
	}
	w.failed = err != nil
	if err != nil && w.file != nil {
		w.buf.Reset(w.file)
	}
}

// rotate sets the file aside and opens a new one.
func (w *Writer) rotate() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if err := os.Rename(w.cfg.File, w.cfg.File+"."+w.now().UTC().Format(timeSuffix)); err != nil {
		return err
	}
	old := w.file
	if err := w.open(); err != nil {
		return err
	}
	old.Close()
	return w.prune()
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
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
			w.mu.Lock()
			if w.buf.Buffered() > 0 {
				w.note(w.buf.Flush())
			}
			w.mu.Unlock()
		}
	}
}

// Close writes what is left and closes the file.
func (w *Writer) Close() error {
	close(w.quit)
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.buf.Flush()
	if e := w.file.Close(); err == nil {
		err = e
	}
	w.file = nil
	return err
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
