package dkimsign

import (
	"bytes"
	"crypto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// testKeys makes one key of each type for the whole test run.
var testKeys = sync.OnceValues(func() (rsa, ed crypto.Signer) {
	rsa, err := NewKey(RSA, 2048)
	if err != nil {
		panic(err)
	}
	if ed, err = NewKey(Ed25519, 0); err != nil {
		panic(err)
	}
	return rsa, ed
})

// testDomain signs for example.org with an RSA key r1 and an Ed25519 key e1.
func testDomain(t testing.TB, change func(*DomainConfig)) *Signers {
	t.Helper()
	rsa, ed := testKeys()
	dir := t.TempDir()
	for name, key := range map[string]crypto.Signer{"r1.pem": rsa, "e1.pem": ed} {
		if err := WriteKey(filepath.Join(dir, name), key); err != nil {
			t.Fatal(err)
		}
	}
	var c DomainConfig
	c.SetDefaults()
	c.Keys = []KeyConfig{{"r1", filepath.Join(dir, "r1.pem"), RSA}, {"e1", filepath.Join(dir, "e1.pem"), RSA}}
	if change != nil {
		change(&c)
	}
	s, err := Load(map[string]DomainConfig{"example.org": c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// split cuts a message into header block and body.
func split(message []byte) (header, body []byte) {
	if i := bytes.Index(message, []byte("\r\n\r\n")); i >= 0 {
		return message[:i+2], message[i+4:]
	}
	return message, nil
}

// signed returns the message with its signatures on top.
func signed(t testing.TB, d *Domain, message []byte) []byte {
	t.Helper()
	header, body := split(message)
	h := NewBodyHash()
	h.Write(body)
	fields, _, err := d.Sign(header, h, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Join([][]byte{fields, header, []byte("\r\n"), body}, nil)
}

// verify returns the errors of all signatures by key name, as go-msgauth
// judges them.
func verify(t testing.TB, s *Signers, message []byte) map[string]error {
	t.Helper()
	records := map[string]string{}
	for _, k := range s.Keys() {
		name, value := k.Record()
		records[name] = value
	}
	results, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return []string{records[name]}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{}
	for i, v := range results {
		errs[v.Domain+"/"+s.Keys()[i].Selector] = v.Err
	}
	return errs
}

const plain = "From: Anna <anna@example.org>\r\nTo: ben@partner.example\r\nSubject: Greetings\r\n" +
	"Date: Tue, 25 Nov 2025 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"

func TestSignatureVerifies(t *testing.T) {
	s := testDomain(t, nil)
	for _, row := range []struct{ name, message string }{
		{"plain", plain + "\r\nHello\r\n"},
		{"no body", plain + "\r\n"},
		{"no final line end", plain + "\r\nHello"},
		{"body of blank lines", plain + "\r\n\r\n \r\n\t\r\n"},
		{"body of white space", plain + "\r\n  "},
		{"white space of all kinds", plain + "\r\n a\t b  c \r\n\t\r\n\r\n  d \t\r\n\r\n\r\n"},
		{"folded fields", "X: 1\r\n 2\r\nFrom:\r\n Anna\r\n\t<anna@example.org> \r\nSubject:a\r\n\r\nHello\r\n"},
		{"many of one field", plain + strings.Repeat("List-ID: <a.example.org>\r\nReferences: <x@y>\r\n", 200) + "\r\nHello\r\n"},
		{"all signed fields", plain + allFields() + "\r\nHello\r\n"},
		{"obsolete space before the colon", "Subject : a\r\nFROM\t: anna@example.org\r\n\r\nHello\r\n"},
		{"8-bit header", "From: anna@example.org\r\nSubject: \xc3\xa4\xff\r\n\r\nHello\r\n"},
	} {
		for key, err := range verify(t, s, signed(t, s.For("example.org"), []byte(row.message))) {
			if err != nil {
				t.Errorf("%s: %s: %v", row.name, key, err)
			}
		}
	}
}

func allFields() string {
	var b strings.Builder
	for _, f := range signedFields[1:] {
		b.WriteString(f.name + ": one,\r\n\ttwo\r\n" + strings.ToUpper(f.name) + ": three\r\n")
	}
	return b.String()
}
