package dkimsign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"

	"postern/internal/openssl"
)

// signWith returns the function that signs a SHA-256 digest with key, and the
// name for a=. A library that is not nil signs with RSA keys.
func signWith(key crypto.Signer, library *openssl.Library) (sign func(digest []byte) ([]byte, error), algorithm string, err error) {
	switch k := key.(type) {
	case ed25519.PrivateKey:
		// RFC 8463 s. 3: pure Ed25519 over the digest.
		return func(digest []byte) ([]byte, error) { return ed25519.Sign(k, digest), nil }, "ed25519-sha256", nil
	case *rsa.PrivateKey:
		return signRSA(k, library), "rsa-sha256", nil
	}
	return nil, "", fmt.Errorf("no DKIM signatures with a %T", key)
}
