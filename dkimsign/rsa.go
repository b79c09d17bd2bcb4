package dkimsign

import (
	"crypto"
	"crypto/rsa"

	"postern/internal/openssl"
)

// signRSA signs with the system's OpenSSL if library is not nil and takes the key,
// else with Go's own arithmetic, which is constant in time without blinding and so
// needs no random numbers. The signatures are the same octets.
func signRSA(key *rsa.PrivateKey, library *openssl.Library) func(digest []byte) ([]byte, error) {
	byGo := func(digest []byte) ([]byte, error) { return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest) }
	if library == nil {
		return byGo
	}
	fast, err := library.Key(key)
	if err != nil {
		return byGo
	}
	return firstOf(fast.Sign, byGo)
}

// firstOf signs with the second where the first fails: a library out of memory is no
// reason to defer mail.
func firstOf(first, second func(digest []byte) ([]byte, error)) func(digest []byte) ([]byte, error) {
	return func(digest []byte) ([]byte, error) {
		if signature, err := first(digest); err == nil {
			return signature, nil
		}
		return second(digest)
	}
}
