package upstream

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/internal/tlsmin"
)

// TestOldHostsAreReachedOnPurposeOnly: old TLS and RSA key exchange only where
// tls_min says so, RC4 never.
func TestOldHostsAreReachedOnPurposeOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		version uint16
		suites  []uint16
		min     tlsmin.Version
		reached bool
	}{
		"1.0 by default":       {tls.VersionTLS10, nil, "", false},
		"1.0 on purpose":       {tls.VersionTLS10, nil, tlsmin.V10, true},
		"1.0 where 1.1 is set": {tls.VersionTLS10, nil, tlsmin.V11, false},
		"RSA by default":       {tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, tlsmin.V12, false},
		"RSA on purpose":       {tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, tlsmin.V10, true},
		"RC4":                  {tls.VersionTLS10, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}, tlsmin.V10, false},
		"1.2 where 1.3 is set": {tls.VersionTLS12, nil, tlsmin.V13, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := rsaServer(t)
			server.MinVersion, server.MaxVersion, server.CipherSuites = tls.VersionTLS10, tt.version, tt.suites
			u, _ := start(t, smtptest.Options{ImplicitTLS: true, TLS: server}, func(c *Config) {
				c.TLS, c.ImplicitTLS, c.TLSMin = EncryptRequired, true, tt.min
			})
			if r := deliver(t, u, "b@b.example"); (r.err == nil) != tt.reached {
				t.Errorf("got %v", r)
			}
		})
	}
}

// rsaServer has a certificate with which key exchange by RSA is possible.
func rsaServer(t *testing.T) *tls.Config {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
