// Package secret reads passwords and private keys from files that nobody but
// the relay can read.
//
// A file is taken from its owner, from a group of this process (a Kubernetes
// Secret with fsGroup is root:GROUP 0440), and from an access control list
// that names this user. Files below $CREDENTIALS_DIRECTORY are taken as they
// are: systemd gives that folder to the service alone.
package secret

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/internal/shell"
)

// Max is the size in octets up to which files are read; four 4,096-bit keys
// with long chains fit.
const Max = 64 << 10

// pipeTime is how long the writer of a named pipe may take.
const pipeTime = 5 * time.Second

// ErrOpen is the error of files that others can read or change; the text says
// who and what to run.
var ErrOpen = errors.New("not private")

// ErrGroup is the ErrOpen of a file that only members of a group can read, and
// the group is not one of this process: it may be one of the relay's.
var ErrGroup = errors.New("private to a group")

// ReadFile reads a regular file or a pipe of at most Max octets, behind
// symbolic links, if nobody else can read or change it; else the error is an
// ErrOpen.
func ReadFile(name string) ([]byte, error) { return readFile(name, pipeTime) }

func readFile(name string, within time.Duration) ([]byte, error) {
	// Without O_NONBLOCK a pipe that nobody writes to would never be open.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := judge(f, name); err != nil {
		return nil, err
	}
	f.SetReadDeadline(time.Now().Add(within)) // no effect on regular files
	text, err := io.ReadAll(io.LimitReader(f, Max+1))
	if err != nil {
		return nil, err
	}
	if len(text) > Max {
		return nil, fmt.Errorf("%s is larger than %d octets", name, Max)
	}
	return text, nil
}

// Password is Text of a file.
func Password(name string) (string, error) {
	text, err := ReadFile(name)
	if err != nil {
		return "", err
	}
	password, err := Text(text)
	if err != nil {
		return "", fmt.Errorf("%s %w", name, err)
	}
	return password, nil
}

// KeyPair reads a certificate with its chain, PEM, and the private key to it,
// which must be private.
func KeyPair(certificate, key string) (tls.Certificate, error) {
	chain, err := os.ReadFile(certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := ReadFile(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(chain, private)
}

// Check says whether others can read or change the file, as ReadFile does, and
// reads nothing of it.
func Check(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return judge(f, name)
}

func judge(f *os.File, name string) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeNamedPipe != 0:
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", name)
	}
	if isCredential(name) {
		return nil
	}
	problem, group := entriesOf(f, info).problem(us())
	if problem == "" {
		return nil
	}
	text := fmt.Sprintf("%s has mode %04o: %s", name, info.Mode().Perm(), strings.ReplaceAll(problem, "FILE", shell.Quote(name)))
	return &notPrivate{text, group}
}

// notPrivate is an ErrOpen, and an ErrGroup where group is set.
type notPrivate struct {
	text  string
	group bool
}

func (e *notPrivate) Error() string { return e.text }
func (e *notPrivate) Is(target error) bool {
	return target == ErrOpen || target == ErrGroup && e.group
}

// isCredential reports whether a file lies in $CREDENTIALS_DIRECTORY, as long
// as others cannot look into that folder.
func isCredential(name string) bool {
	folder, err := filepath.EvalSymlinks(os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil || !filepath.IsAbs(folder) {
		return false
	}
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		return false
	}
	name, err = filepath.EvalSymlinks(name)
	if err != nil {
		return false
	}
	inside, err := filepath.Rel(folder, name)
	return err == nil && filepath.IsLocal(inside)
}

// who a right is given to.
type who int

const (
	aUser who = iota
	aGroup
	everybody
)

// right is one line of an access control list, or of a mode.
type right struct {
	who  who
	id   int
	bits uint16 // 4 read, 2 write, 1 execute
}

type rights []right

// process is a user with all its groups.
type process struct {
	uid    int
	groups []int
}

func us() process {
	groups, _ := os.Getgroups() // those beside the effective one
	return process{os.Geteuid(), append(groups, os.Getegid())}
}

// problem says who else has a right on a file and what to do, and whether that
// is only a group which is not the process's; "" when nobody has.
func (rs rights) problem(p process) (text string, group bool) {
	for _, r := range rs {
		switch {
		case r.bits == 0:
		case r.who == everybody:
			return "every user of this machine can read or change it; run: chmod o= FILE (Kubernetes: defaultMode: 0440 with fsGroup)", false
		case r.who == aUser && r.id != p.uid && r.id != 0:
			return fmt.Sprintf("its access list lets user %d read or change it; run: setfacl -x u:%d FILE", r.id, r.id), false
		case r.who == aGroup && r.bits&2 != 0:
			return fmt.Sprintf("group %d can change it; run: chmod g-w FILE", r.id), false
		case r.who == aGroup && !slices.Contains(p.groups, r.id):
			text, group = fmt.Sprintf("group %d can read it, and this process (user %d) is not in that group; run: chmod 600 FILE, or chgrp it to a group of the relay", r.id, p.uid), true
		}
	}
	return text, group
}

// modeRights are the rights that a mode gives to others than the owner.
func modeRights(info fs.FileInfo) rights {
	mode, group := uint16(info.Mode().Perm()), -1
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		group = int(s.Gid)
	}
	return rights{{everybody, 0, mode & 7}, {aGroup, group, mode >> 3 & 7}}
}

// Text is the password in what a file, a variable or the configuration holds. A
// byte order mark before it and line ends behind it do not count; spaces do.
// What is blank, is in UTF-16, or has a second line or another control character
// than a tab is refused: that is the wrong file, or an editor did more than was
// asked. No error quotes anything of it.
func Text(b []byte) (string, error) {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return "", errors.New("is in UTF-16; save it as UTF-8")
	}
	b = bytes.TrimRight(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), "\r\n")
	if len(bytes.TrimSpace(b)) == 0 {
		return "", errors.New("is blank; write the password there")
	}
	if bytes.ContainsAny(b, "\r\n") {
		return "", errors.New("has a second line; keep the line with the password alone")
	}
	if bytes.ContainsFunc(b, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f || c == '\ufeff' }) {
		return "", errors.New("holds a control character; write the password as plain text")
	}
	return string(b), nil
}
