package smtpd

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"postern/internal/tlsmin"
	"testing"
	"time"
)

// rsaPair is a certificate as old devices know it.
func rsaPair(t *testing.T) tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestOldClientsAreLetInOnPurposeOnly: tls_min opens old versions and cipher
// suites, RC4 never, and leaves the others as they are.
func TestOldClientsAreLetInOnPurposeOnly(t *testing.T) {
	pair := rsaPair(t)
	for _, row := range []struct {
		client  string
		version uint16
		suite   uint16 // 0: any
		want    map[tlsmin.Version]bool
	}{
		{"TLS 1.0", tls.VersionTLS10, 0, map[tlsmin.Version]bool{tlsmin.V10: true}},
		{"TLS 1.1", tls.VersionTLS11, 0, map[tlsmin.Version]bool{tlsmin.V10: true, tlsmin.V11: true}},
		{"TLS 1.0 with 3DES alone", tls.VersionTLS10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, map[tlsmin.Version]bool{tlsmin.V10: true}},
		{"TLS 1.2 without forward secrecy", tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA256, map[tlsmin.Version]bool{tlsmin.V10: true, tlsmin.V11: true}},
		{"TLS 1.2 with RC4 alone", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, nil},
		{"TLS 1.2", tls.VersionTLS12, 0, map[tlsmin.Version]bool{tlsmin.V10: true, tlsmin.V11: true, "": true, tlsmin.V12: true}},
		{"TLS 1.3", tls.VersionTLS13, 0, map[tlsmin.Version]bool{tlsmin.V10: true, tlsmin.V11: true, "": true, tlsmin.V12: true, tlsmin.V13: true}},
	} {
		for _, min := range []tlsmin.Version{"", tlsmin.V10, tlsmin.V11, tlsmin.V12, tlsmin.V13} {
			server := &tls.Config{}
			min.Limit(server)
			server.Certificates = []tls.Certificate{pair}
			client := &tls.Config{InsecureSkipVerify: true, MinVersion: row.version, MaxVersion: row.version}
			if row.suite != 0 {
				client.CipherSuites = []uint16{row.suite}
			}
			a, b := net.Pipe()
			done := make(chan error, 1)
			go func() { done <- tls.Server(a, server).Handshake(); a.Close() }()
			err := tls.Client(b, client).Handshake()
			b.Close()
			<-done
			if got := err == nil; got != row.want[min] {
				t.Errorf("a client with %s where tls_min is %q: %v", row.client, min, err)
			}
		}
	}
}
