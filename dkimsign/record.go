package dkimsign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

// Record is the DNS name and the TXT value to publish for a key (RFC 6376
// s. 3.6.1, RFC 8463 s. 4). key is an RSA or Ed25519 private key.
func Record(domain, selector string, key crypto.Signer) (name, value string) {
	return selector + "._domainkey." + domain, publicTag(key)
}

func publicTag(key crypto.Signer) string {
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	case *rsa.PublicKey:
		// RFC 6376 names the RSAPublicKey form, but errata 3017 and every
		// verifier take SubjectPublicKeyInfo, which is what everybody publishes.
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			panic("dkimsign: encode an RSA public key: " + err.Error())
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	}
	panic(fmt.Sprintf("dkimsign: record of a %T", key))
}

// ZoneLine is a record in zone-file form, its value split into strings of at
// most 255 octets (RFC 1035 s. 3.3.14).
func ZoneLine(name, value string) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteString(". IN TXT (")
	for len(value) > 0 {
		n := min(len(value), 255)
		fmt.Fprintf(&b, " %q", value[:n])
		value = value[n:]
	}
	b.WriteString(" )")
	return b.String()
}
