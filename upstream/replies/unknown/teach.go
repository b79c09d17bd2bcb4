package unknown

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postern/mail"
	"postern/upstream/replies"
)

// Lesson is what an operator says of a reply.
type Lesson struct {
	Stage string // "" is any
	Reply string // with its code, on one line or several
	Class mail.Class
	Words string // of the reply that are enough; "" is all of them
}

// Teach writes a rule for the lesson into a file of rules, in front of the others;
// the file is made where it is missing. It returns the rule. Nothing is written
// where the rule would not do what it is for.
func (l *Lesson) Teach(file string) (string, error) {
	rule, err := replies.Teach(l.Stage, l.Reply, l.Class, l.Words)
	if err != nil {
		return "", err
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	text, err := replies.Add(string(old), rule, l.Stage, l.Reply, l.Class)
	if err != nil {
		return "", err
	}
	return rule, replace(file, text)
}

// replace writes a file anew with the owner and mode that it had, so that the relay
// can still read it.
func replace(file, text string) (err error) {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".rules-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
		if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
			if err := f.Chown(int(s.Uid), int(s.Gid)); err != nil {
				f.Close()
				return fmt.Errorf("keep the owner of %s: %w", file, err)
			}
		}
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
