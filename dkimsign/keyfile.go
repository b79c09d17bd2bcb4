package dkimsign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postern/internal/secret"
	"postern/internal/shell"
)

// Sizes of RSA keys in bits. RFC 8301 s. 3.2: signers must use 1024 at least
// and should use 2048; verifiers need take no more than 4096.
const (
	minRSABits  = 1024
	weakRSABits = 2048 // below it a key is weak
	maxRSABits  = 4096
)

// ReadKey reads a private key file: the first private key in it, whatever
// stands around it (certificates, public keys, parameters, text). It refuses
// files that others can read or change (secret.ErrOpen), keys of other kinds
// than RSA and Ed25519, and RSA keys outside 1024 to 4096 bits. Whether one is
// strong enough to sign with is for IsWeak to say.
func ReadKey(file string) (crypto.Signer, error) {
	text, err := secret.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	switch {
	case errors.Is(err, errEncrypted):
		return nil, fmt.Errorf("%s %w; write it without one by: %s", file, err, shell.Command("openssl", "pkey", "-in", file, "-out", file+".open"))
	case err != nil:
		return nil, fmt.Errorf("%s %w", file, err)
	}
	return key, nil
}

// IsWeak reports whether key is an RSA key of fewer than 2048 bits.
func IsWeak(key crypto.Signer) bool {
	k, ok := key.(*rsa.PrivateKey)
	return ok && k.N.BitLen() < weakRSABits
}

// parseKey reads the first private key among the PEM blocks of text. The errors
// say what the file is, such as "holds ...", and nothing of its content.
func parseKey(text []byte) (crypto.Signer, error) {
	first, rest := pem.Decode(text)
	if first == nil {
		return nil, errors.New("is not a PEM file; make a key with \"relay dkim keygen\"")
	}
	for block := first; block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return parseBlock(block)
		}
	}
	return parseBlock(first)
}

func parseBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, errEncrypted
		}
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errEncrypted
	case "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE":
		return nil, fmt.Errorf("holds a %s; the private key is needed", block.Type)
	default:
		return nil, fmt.Errorf("holds a PEM block %q; RSA (PKCS #1 or PKCS #8) or Ed25519 (PKCS #8) is needed", block.Type)
	}
	if err != nil {
		return nil, errors.New("holds a damaged key; make one with \"relay dkim keygen\"")
	}
	return checkKey(key)
}

var errEncrypted = errors.New("is protected by a passphrase")

func checkKey(key any) (crypto.Signer, error) {
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("holds an RSA key of %d bits; %d to %d are taken, 2048 is usual", n, weakRSABits, maxRSABits)
		}
		k.Precompute()
		return k, nil
	}
	return nil, errors.New("holds a key that is neither RSA nor Ed25519")
}

// NewKey makes a key. bits is the size of an RSA key, 1024 to 4096, and an error otherwise;
// for Ed25519 it does not count.
func NewKey(t KeyType, bits int) (crypto.Signer, error) {
	if t == Ed25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	if bits < weakRSABits || bits > maxRSABits {
		return nil, fmt.Errorf("an RSA key of %d bits is not taken by all receivers; use %d to %d, 2048 is usual", bits, weakRSABits, maxRSABits)
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// WriteKey stores key in file as PKCS #8 PEM, mode 0600, making its folder
// (0700) where it is missing. The file appears whole or not at all; one that
// exists is left alone and fs.ErrExist returned.
func WriteKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// CreateTemp makes it 0600.
	tmp, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = pem.Encode(tmp, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = tmp.Sync()
	}
	if err2 := tmp.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	// Link, unlike rename, never replaces a key that another process has just
	// made and perhaps published.
	if err := os.Link(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readOrMake reads the key, or makes it where the file is missing. made tells
// which.
func readOrMake(file string, t KeyType) (key crypto.Signer, made bool, err error) {
	key, err = ReadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = NewKey(t, weakRSABits); err != nil {
		return nil, false, err
	}
	err = WriteKey(file, key)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		key, err = ReadKey(file)
		return key, false, err
	}
	return key, err == nil, err
}
