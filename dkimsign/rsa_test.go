package dkimsign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"runtime"
	"sync"
	"testing"
)

// TestRSASignaturesAreThoseOfGo holds for every build: PKCS #1 v1.5 has one
// signature for a key and a digest.
func TestRSASignaturesAreThoseOfGo(t *testing.T) {
	for _, bits := range []int{2048, 3072} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		sign, err := signRSA(key)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 5 {
					digest := sha256.Sum256([]byte{byte(i), byte(j)})
					got, err := sign(digest[:])
					want, _ := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bits: %x, %v; want %x", bits, got, err, want)
					}
				}
			})
		}
		wg.Wait()
		runtime.GC() // whatever is tied to the key must live as long as sign
		if _, err := sign(make([]byte, 32)); err != nil {
			t.Error(err)
		}
		if _, err := sign(make([]byte, 31)); err == nil {
			t.Error("digest of 31 octets was signed")
		}
	}
}
