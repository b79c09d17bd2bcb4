// Package openssl signs with RSA through the system's OpenSSL 3, where there is one.
//
// A signature with a key of 2,048 bits is the dearest step of a small message. Two
// libraries make the same octets from the same key and digest (PKCS #1 v1.5 leaves
// nothing to chance), but not in the same time: OpenSSL takes a quarter to a half of
// what Go's crypto/rsa takes, since it uses instructions that multiply several
// numbers at once. Nothing is linked at build time and nothing need be installed:
// Open looks for libcrypto.so.3 when the relay starts. Where it is missing, or where
// the relay was built without cgo, Open says so, and the caller signs with crypto/rsa.
package openssl

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"runtime"
)

// Library is the system's OpenSSL. It is safe for concurrent use.
type Library struct {
	code    code
	version string
	// running holds a place for each signature that is being made. A call into C keeps
	// its thread; without a bound, a burst of mail would start a thread a message.
	running chan struct{}
}

// Open finds the library. The error says why there is none; it is not a fault of
// the configuration.
func Open() (*Library, error) {
	c, version, err := open()
	if err != nil {
		return nil, err
	}
	return &Library{code: c, version: version, running: make(chan struct{}, runtime.GOMAXPROCS(0))}, nil
}

// Version is what the library calls itself, such as "OpenSSL 3.0.19 27 Jan 2026".
func (l *Library) Version() string { return l.version }

// Key is the library's copy of a private key. It is safe for concurrent use, and is
// freed when nothing refers to it any more.
type Key struct {
	library *Library
	key     key
	size    int // of a signature, in octets
}

// Key hands a private key to the library and tries it once: a library in FIPS mode,
// for example, refuses short keys. An error means that this key is one for crypto/rsa.
func (l *Library) Key(private *rsa.PrivateKey) (*Key, error) {
	read, err := l.code.read(private)
	if err != nil {
		return nil, err
	}
	k := &Key{library: l, key: read, size: private.Size()}
	k.freeWhenUnused()
	digest := make([]byte, crypto.SHA256.Size())
	signature, err := k.Sign(digest)
	if err != nil {
		return nil, err
	}
	if err := rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest, signature); err != nil {
		return nil, fmt.Errorf("%s made a signature that does not verify: %w", l.version, err)
	}
	return k, nil
}

var errDigest = errors.New("a SHA-256 digest has 32 octets")

// Sign returns the signature of a SHA-256 digest by RSASSA-PKCS1-v1_5 (RFC 8017 s. 8.2),
// as long as the key's modulus. It waits while as many signatures are being made as
// there are processors.
func (k *Key) Sign(digest []byte) ([]byte, error) {
	if len(digest) != crypto.SHA256.Size() {
		return nil, errDigest
	}
	k.library.running <- struct{}{}
	defer func() { <-k.library.running }()
	out := make([]byte, k.size)
	err := k.library.code.sign(k.key, digest, out)
	runtime.KeepAlive(k)
	if err != nil {
		return nil, err
	}
	return out, nil
}
