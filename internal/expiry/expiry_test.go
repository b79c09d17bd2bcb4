package expiry

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificate is one in PEM form that ends at end.
func certificate(t *testing.T, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestEnding(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	name := filepath.Join(t.TempDir(), "chain.pem")
	write := func(ends ...time.Duration) {
		var all [][]byte
		for _, end := range ends {
			all = append(all, certificate(t, now.Add(end)))
		}
		if err := os.WriteFile(name, bytes.Join(all, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var w Watch
	ending := func() int {
		return len(w.Ending([]File{{Name: name, What: "listener a"}, {Name: name + ".gone"}}, now))
	}
	write(90*24*time.Hour, Soon+time.Minute)
	if n := ending(); n != 0 {
		t.Errorf("a certificate of 14 days and a minute: %d", n)
	}
	now = now.Add(time.Minute + time.Second)
	if n := ending(); n != 1 {
		t.Errorf("the first of a chain that ends soon: %d", n)
	}
	write(90 * 24 * time.Hour)
	if n := ending(); n != 1 {
		t.Errorf("the file is read each time: %d", n)
	}
	now = now.Add(lookAgain)
	if n := ending(); n != 0 {
		t.Errorf("a renewed one: %d", n)
	}
	write(-time.Hour)
	now = now.Add(lookAgain)
	if n := ending(); n != 1 {
		t.Errorf("one that has ended: %d", n)
	}
	os.Remove(name)
	now = now.Add(lookAgain)
	if n := ending(); n != 1 {
		t.Errorf("a file that is gone keeps its end: %d", n)
	}
}

func TestReadTellsWhatIsNoCertificate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.pem")
	os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600)
	if end, err := Read(name); err == nil {
		t.Errorf("it ends at %s", end)
	}
}
