package sts

import (
	"crypto/tls"
	"errors"
	"time"
)

// Trouble says why a policy that a domain announces could not be had.
type Trouble int

// The kinds.
const (
	NoTrouble      Trouble = iota
	NotFetched             // there was no answer, or not 200
	Invalid                // what came is not a policy
	BadCertificate         // that of the policy host is not valid for it
)

// errInvalid: what was fetched is not a policy.
var errInvalid = errors.New("not a policy")

func troubleOf(err error) Trouble {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errInvalid):
		return Invalid
	case errors.As(err, &certificate):
		return BadCertificate
	}
	return NotFetched
}

// failure is a fetch that came to nothing.
type failure struct {
	until time.Time // no other fetch before that
	why   Trouble
}

// Trouble says why the last fetch left a domain without a policy; NoTrouble where it did
// not. It is known until the fetch is repeated.
func (s *Store) Trouble(domain string) Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if f := s.failed[domain]; now.Before(f.until) && !s.known.of[domain].valid(now) {
		return f.why
	}
	return NoTrouble
}
