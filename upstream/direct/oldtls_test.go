package direct

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// TestOldTLSIsBetterThanPlainText: without a policy a host gets whatever TLS it knows; what it
// does not share with us at all is plain text. Under a policy old TLS is none.
func TestOldTLSIsBetterThanPlainText(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name     string
		key      crypto.Signer
		from, to uint16
		suites   []uint16
		tls      string
		strict   string // what a domain with a policy hears
	}{
		{"TLS 1.0 alone", old, tls.VersionTLS10, tls.VersionTLS10, nil, "TLSv1.0", "451"},
		{"TLS 1.1 alone", old, tls.VersionTLS11, tls.VersionTLS11, nil, "TLSv1.1", "451"},
		{"RSA key exchange alone", old, tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, "TLSv1.2", "451"},
		{"RC4 alone", old, tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}, "", "451"},
		{"a key of Ed25519", ed, tls.VersionTLS12, tls.VersionTLS13, nil, "TLSv1.3", "451"},
	} {
		cfg := &tls.Config{Certificates: []tls.Certificate{selfSigned(t, row.key)}, MinVersion: row.from, MaxVersion: row.to, CipherSuites: row.suites}
		o := smtptest.Options{TLS: cfg, Offer: append([]string{"STARTTLS"}, smtptest.Common...)}
		w, _ := stsWorld(t, func(string) string { return enforce("*.b.example") })
		w.receiver("127.0.0.2", o)
		w.domain("d.example", "mx.d.example 127.0.0.2")
		w.domain("b.example", "mx.b.example 127.0.0.2")
		if s := w.send("x@d.example"); s.codes() != "250 final 250" || s.tls != row.tls {
			t.Errorf("%s: %s over %q", row.name, s, s.tls)
		}
		if s := w.send("x@b.example"); s.codes() != row.strict {
			t.Errorf("%s, with a policy: %s over %q", row.name, s, s.tls)
		}
	}
}

func selfSigned(t *testing.T, key crypto.Signer) tls.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
