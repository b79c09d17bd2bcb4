package dkimsign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"testing"

	"postern/internal/openssl"
)

// PKCS #1 v1.5 has one signature for a key and a digest, whoever makes it.
func TestRSASignaturesAreThoseOfGo(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	want, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	library, _ := openssl.Open() // nil where the system has none
	for _, l := range []*openssl.Library{nil, library} {
		sign := signRSA(key, l)
		if got, err := sign(digest[:]); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x, %v; want %x", got, err, want)
		}
		if _, err := sign(digest[:31]); err == nil {
			t.Error("digest of 31 octets was signed")
		}
	}
}

func TestGoSignsWhereTheLibraryFails(t *testing.T) {
	says := func(text string, err error) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return []byte(text), err }
	}
	for _, c := range []struct {
		first func([]byte) ([]byte, error)
		want  string
	}{
		{says("library", nil), "library"},
		{says("half", errors.New("out of memory")), "go"},
	} {
		if got, err := firstOf(c.first, says("go", nil))(nil); err != nil || string(got) != c.want {
			t.Errorf("%q, %v; want %q", got, err, c.want)
		}
	}
}

func TestRSASigner(t *testing.T) {
	library, err := openssl.Open()
	s, loadErr := Load(nil)
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	want := ""
	if err == nil {
		want = library.Version()
	} else {
		want = "Go, as " + err.Error()
	}
	if got := s.RSASigner(); got != want {
		t.Errorf("RSA is signed by %q, want %q", got, want)
	}
}
