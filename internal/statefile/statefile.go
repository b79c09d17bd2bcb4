// Package statefile replaces and reads the files of a state folder: each is
// replaced as a whole, read within a bound, and set aside, never overwritten,
// when it is damaged.
package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// File is one file of a state folder. It is safe for concurrent use; two
// Replace take turns.
type File struct {
	name string
	max  int64

	mu      sync.Mutex
	damaged bool // what lies there is to be set aside before it is replaced
}

// New is a file of at most max octets; it need not exist.
func New(name string, max int64) *File { return &File{name: name, max: max} }

// Name is the file's path.
func (f *File) Name() string { return f.name }

// Read returns the file's text; the error is fs.ErrNotExist where there is none.
// Any other one calls for SetAside.
func (f *File) Read() ([]byte, error) {
	file, err := Open(f.name, os.O_RDONLY|syscall.O_NONBLOCK) // a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("is not a regular file"))
	}
	b, err := io.ReadAll(io.LimitReader(file, f.max+1))
	if err == nil && int64(len(b)) > f.max {
		err = fmt.Errorf("is larger than %d octets", f.max)
	}
	return b, err
}

// asideTime is the end of the name of a file that was set aside.
const asideTime = "20060102T150405Z"

// SetAside renames a file that cannot be used because of cause, to a name with
// the time that no file has. The error, which is never nil, says all that for
// the log. Where the folder cannot be written it stays where it is, and is set
// aside before it would be replaced.
func (f *File) SetAside(cause error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	aside, err := setAside(f.name, os.Rename)
	if err != nil {
		f.damaged = true
		return fmt.Errorf("read %s: %w; it stays there until it can be set aside (%w)", f.name, cause, err)
	}
	return fmt.Errorf("read %s: %w; it is now %s", f.name, cause, aside)
}

// KeepCopy is SetAside for a file that is still read from: it stays, and gets
// a second name.
func KeepCopy(name string, cause error) error {
	aside, err := setAside(name, os.Link)
	if err != nil {
		return fmt.Errorf("read %s: %w (no copy: %w)", name, cause, err)
	}
	return fmt.Errorf("read %s: %w; a copy is %s", name, cause, aside)
}

// setAside gives name another one that is free, by move.
func setAside(name string, move func(from, to string) error) (aside string, err error) {
	base := name + ".damaged-" + time.Now().UTC().Format(asideTime)
	aside = base
	for i := 2; ; i++ {
		_, err := os.Lstat(aside)
		if errors.Is(err, fs.ErrNotExist) {
			return aside, move(name, aside)
		}
		if err != nil {
			return "", err
		}
		aside = fmt.Sprintf("%s-%d", base, i)
	}
}

// Write is Replace with b.
func (f *File) Write(b []byte) error {
	return f.Replace(func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Replace writes a new file, mode 0600, in the place of the old one: after a
// crash, or on any error, there is the old one or the new one as a whole. The
// content is on the disk when it returns nil.
func (f *File) Replace(write func(io.Writer) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.damaged {
		if _, err := setAside(f.name, os.Rename); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set aside what is damaged: %w", err)
		}
		f.damaged = false
	}
	next := f.name + ".new"
	if err := writeSynced(next, write); err != nil {
		os.Remove(next) // it takes room on a disk that is full
		return err
	}
	if err := os.Rename(next, f.name); err != nil {
		os.Remove(next)
		return err
	}
	return syncFolder(filepath.Dir(f.name))
}

func writeSynced(name string, write func(io.Writer) error) error {
	file, err := Open(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := write(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

// syncFolder makes a rename outlast a power failure. A file system that cannot
// do so has the new name all the same.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// IsDiskTrouble reports whether err is about a disk that is full, broken or
// read-only, which may pass, and not about a name or a right that is wrong.
func IsDiskTrouble(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.ESTALE, syscall.ENODEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ErrInUse is returned by Lock where another process has the folder.
var ErrInUse = errors.New("is in use by another relay")

// Lock keeps two processes out of one folder: each would overwrite what the
// other keeps there. The lock is on a file "lock" and, since that cannot be made
// on a disk that is full or read-only, on the folder itself. It ends with
// Close, or with the process.
func Lock(dir string) (io.Closer, error) {
	folder, err := lock(os.Open(dir))
	if err != nil {
		return nil, err
	}
	file, err := lock(Open(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR))
	switch {
	case errors.Is(err, ErrInUse): // by an earlier release
		folder.Close()
		return nil, err
	case err != nil && !IsDiskTrouble(err):
		folder.Close()
		return nil, err
	case err != nil:
		return folder, nil
	}
	return locks{folder, file}, nil
}

type locks [2]*os.File

func (l locks) Close() error { return errors.Join(l[0].Close(), l[1].Close()) }

func lock(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		f.Close()
		return nil, ErrInUse
	case err != nil && info != nil && info.IsDir(): // a folder of NFS; the file does it
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}
