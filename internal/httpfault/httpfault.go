// Package httpfault says why a request over HTTP came to nothing without a word of the
// answer. A server can say again what it was asked, and errors of net/http quote that: a
// status that is none, a field that cannot be read, a place to go to. The token of the
// request would stand in log and page.
package httpfault

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"postern/internal/text"
)

var (
	// ErrLate: there was no answer in time.
	ErrLate = errors.New("no answer in time")
	// ErrAnswer: there was one, and it cannot be read.
	ErrAnswer = errors.New("what was answered is not HTTP that can be read")
)

// maxText is how many octets of an error stay: the names in a certificate have no bound.
const maxText = 300

// Plain is the error of http.Client.Do without the URL and without the answer. Of the
// network and of TLS it says what went wrong, and errors.As finds a *net.OpError in it.
func Plain(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	if u.Timeout() {
		return ErrLate
	}
	if !isOurs(u.Err) {
		return ErrAnswer
	}
	return short{u.Err}
}

// isOurs reports whether an error was made before an answer was read.
func isOurs(err error) bool {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &op) || errors.As(err, &certificate) || strings.HasPrefix(err.Error(), "tls: ") {
		return true
	}
	for _, one := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, context.Canceled, http.ErrSchemeMismatch} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// short is an error whose text has a bound.
type short struct{ error }

func (s short) Error() string { return text.Clip(s.error.Error(), maxText) }
func (s short) Unwrap() error { return s.error }
