//go:build cgo && linux

package openssl

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func newKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// PKCS #1 v1.5 has one signature for a key and a digest.
func TestSignaturesAreThoseOfGo(t *testing.T) {
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(l.Version(), "OpenSSL 3.") {
		t.Errorf("version %q", l.Version())
	}
	for _, bits := range []int{1024, 2048, 3072, 4096} {
		private := newKey(t, bits)
		key, err := l.Key(private)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 5 {
					digest := sha256.Sum256([]byte{byte(i), byte(j)})
					got, err := key.Sign(digest[:])
					want, _ := rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bits: %x, %v; want %x", bits, got, err, want)
					}
				}
			})
		}
		wg.Wait()
		runtime.GC() // what belongs to the key lives as long as the key
		if _, err := key.Sign(make([]byte, 32)); err != nil {
			t.Error(err)
		}
		for _, wrong := range []int{0, 31, 33} {
			if _, err := key.Sign(make([]byte, wrong)); err == nil {
				t.Errorf("a digest of %d octets was signed", wrong)
			}
		}
	}
}

func TestKeyThatTheLibraryDoesNotTake(t *testing.T) {
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	right, other := newKey(t, 2048), newKey(t, 2048)
	right.PublicKey = other.PublicKey
	if _, err := l.Key(right); err == nil {
		t.Error("a key whose signatures do not verify was taken")
	}
}

// A hundred goroutines sign on as many threads as there are processors.
func TestSignaturesAreMadeAFewAtATime(t *testing.T) {
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if cap(l.running) != runtime.GOMAXPROCS(0) {
		t.Errorf("%d at a time, %d processors", cap(l.running), runtime.GOMAXPROCS(0))
	}
	key, err := l.Key(newKey(t, 1024))
	if err != nil {
		t.Fatal(err)
	}
	for range cap(l.running) {
		l.running <- struct{}{}
	}
	done := make(chan error)
	go func() {
		_, err := key.Sign(make([]byte, 32))
		done <- err
	}()
	select {
	case <-done:
		t.Error("signed beyond the bound")
	default:
	}
	<-l.running
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWithoutCgo runs in a build such as that of the container image.
func TestWithoutCgo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "TestNoLibrary", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("ok")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func BenchmarkSign(b *testing.B) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	l, err := Open()
	if err != nil {
		b.Fatal(err)
	}
	key, err := l.Key(private)
	if err != nil {
		b.Fatal(err)
	}
	digest := make([]byte, 32)
	b.Run("OpenSSL", func(b *testing.B) {
		for b.Loop() {
			key.Sign(digest)
		}
	})
	b.Run("Go", func(b *testing.B) {
		for b.Loop() {
			rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest)
		}
	})
}
