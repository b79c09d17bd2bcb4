package config

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"

	"postern/internal/secret"
)

// beside says what is made of passwords, private keys, certificates and other
// files that lie beside a configuration.
type beside int

const (
	// needed: a relay is about to run; what cannot be read is a problem.
	needed beside = iota
	// looked: what can be read here is checked, and what cannot is a warning. A
	// configuration is often checked by another user, or on another machine.
	looked
	// leftAlone: nothing is read.
	leftAlone
)

// LoadHere is Load for a check by whoever cannot read all that the relay can:
// a password, a key, a certificate or another file that is not here, or may not
// be read, is a warning. The File is not fit to run a relay with.
func LoadHere(path string) (*File, []Problem, error) {
	l := loader{getenv: os.Getenv, addresses: net.InterfaceAddrs, beside: looked}
	return l.load(path)
}

// LoadRules is Load for who only wants the rules: of passwords, keys,
// certificates and other files beside the configuration it reads none but
// users_file, which is left out where it cannot be read. The File is not fit to
// run a relay with.
func LoadRules(path string) (*File, error) {
	l := loader{getenv: os.Getenv, addresses: func() ([]net.Addr, error) { return nil, nil }, beside: leftAlone}
	f, _, err := l.load(path)
	return f, err
}

// absent reports whether err says that a file is not here, or that we may not
// read it; the relay may, as another user with other groups.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, secret.ErrGroup)
}

// unreadable notes that the file named at path could not be read.
func (d *decoder) unreadable(path string, err error, text string) {
	if absent(err) {
		d.missing(path, text)
		return
	}
	d.problem(path, text)
}

// missing notes what a relay needs and is not to be had here.
func (d *decoder) missing(path, text string) {
	if d.beside == needed {
		d.problem(path, text)
		return
	}
	problem, _, _ := strings.Cut(text, "; ")
	d.warn(path, problem+"; not checked, and relay serve does not start without it")
}
