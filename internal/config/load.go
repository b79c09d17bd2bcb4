package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"postern/internal/auth"
	"postern/internal/secret"
	"postern/outlier"
)

// maxFile is the size up to which a configuration file is read.
const maxFile = 64 << 20

// Load reads the file at path, checks it and returns it together with what is
// doubtful in it. The error holds every problem at once (type Problems); the
// file is nil then, and the warnings still say what they can.
func Load(path string) (*File, []Problem, error) {
	l := loader{getenv: os.Getenv, addresses: net.InterfaceAddrs}
	return l.load(path)
}

// loader has what Load asks the machine for; tests replace it.
type loader struct {
	getenv    func(string) string
	addresses func() ([]net.Addr, error)
	beside    beside
}

func (l *loader) load(path string) (*File, []Problem, error) {
	d, err := l.open(path)
	if err != nil {
		return nil, nil, asProblems(err)
	}
	f := &File{path: path}
	d.decodeFile(f)
	if !d.src.has("outlier") {
		f.Outlier.Mode = outlier.Shadow // see File.Outlier
	}
	f.completeOutlier()
	f.directDefaults(d)
	users := l.users(f, d)
	d.check()
	f.inState()
	if d.broken == 0 {
		x := crossCheck{File: f, d: d, usersFile: users}
		x.all()
		x.sourceAddresses(l.addresses)
	}
	problems, warnings, more := d.problems, d.warnings, d.more
	if users != nil {
		problems = append(problems, users.problems...)
		warnings = append(warnings, users.warnings...)
		more += users.more
	}
	warnings = order(warnings, 0)
	if len(problems) > 0 {
		return nil, warnings, Problems(order(problems, more))
	}
	f.fold()
	if err := f.compile(); err != nil {
		return nil, warnings, Problems{{File: path, Text: err.Error()}}
	}
	return f, warnings, nil
}

// open reads a file into a decoder for it.
func (l *loader) open(path string) (*decoder, error) {
	text, err := readBounded(path, maxFile)
	if err != nil {
		return nil, &fileError{path, err}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	src := newSource(path, text)
	if at := invalidUTF8(text); at >= 0 {
		return nil, Problems(order([]Problem{src.problem(at, "", "is not UTF-8; save the file as UTF-8 text")}, 0))
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, Problems{{File: path, Text: fileProblem(err)}}
	}
	d := newDecoder(src, filepath.Dir(full), l.getenv)
	d.beside = l.beside
	return d, nil
}

// fileError is a configuration file that cannot be read.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return e.problem().String() }

func (e *fileError) Unwrap() error { return e.err }

func (e *fileError) problem() Problem { return Problem{File: e.path, Text: fileProblem(e.err)} }

// asProblems is an error of open as Load returns it.
func asProblems(err error) error {
	var f *fileError
	if errors.As(err, &f) {
		return Problems{f.problem()}
	}
	return err
}

func fileProblem(err error) string {
	if p, ok := err.(*os.PathError); ok {
		return fmt.Sprintf("%v; name a configuration file that can be read", p.Err)
	}
	return fmt.Sprintf("%v; name a configuration file that can be read", err)
}

// invalidUTF8 is the offset of the first octet that is not UTF-8, or -1.
func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// usersFile is the form of users_file.
type usersFile struct {
	User map[string]auth.UserConfig `toml:"user"`
}

// users reads users_file into f.User; nil when there is none to read.
func (l *loader) users(f *File, d *decoder) *decoder {
	if f.UsersFile == "" {
		return nil
	}
	u, err := l.open(f.UsersFile)
	if err != nil {
		f.usersMissing = true
		d.unreadable("users_file", err, err.Error())
		return nil
	}
	if err := secret.Check(f.UsersFile); errors.Is(err, secret.ErrOpen) { // hashes only
		d.warn("users_file", err.Error())
	}
	var more usersFile
	u.decodeFile(&more)
	u.check()
	if f.User == nil {
		f.User = map[string]auth.UserConfig{}
	}
	for name, user := range more.User {
		if _, ok := f.User[name]; ok {
			u.problem(join("user", name), fmt.Sprintf("stands in %s, too; keep one", d.src.name))
		}
		f.User[name] = user
	}
	return u
}

// sortedKeys of a table.
func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
