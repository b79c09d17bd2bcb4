package dkimsign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/secret"
)

// keyFile writes a PEM block and returns its path.
func keyFile(t *testing.T, kind string, der []byte, mode fs.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "k.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadKeyForms(t *testing.T) {
	key, ed := testKeys()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	edDER, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"PKCS #1":         keyFile(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey)), 0o600),
		"PKCS #8":         keyFile(t, "PRIVATE KEY", pkcs8, 0o400),
		"PKCS #8 Ed25519": keyFile(t, "PRIVATE KEY", edDER, 0o600),
	} {
		got, err := ReadKey(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tag := publicTag(got); tag != publicTag(key) && tag != publicTag(ed) {
			t.Errorf("%s: another key", name)
		}
	}
}

func TestReadKeyRefusals(t *testing.T) {
	key, _ := testKeys()
	rsa2048 := x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))
	long, err := rsa.GenerateKey(rand.Reader, 4104)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	group := keyFile(t, "RSA PRIVATE KEY", rsa2048, 0o640)
	if err := os.Chown(group, -1, 54_321); err != nil { // of which nobody is
		t.Fatal(err)
	}
	world := keyFile(t, "RSA PRIVATE KEY", rsa2048, 0o604)
	text := filepath.Join(t.TempDir(), "text")
	large := filepath.Join(t.TempDir(), "large")
	for file, content := range map[string][]byte{text: []byte("no key"), large: make([]byte, secret.Max+1)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ name, file, says string }{
		{"missing", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"a folder", t.TempDir(), "is not a regular file"},
		{"readable by the group", group, "chmod 600 " + group},
		{"readable by all", world, "chmod o= " + world},
		{"no PEM", text, "is not a PEM file"},
		{"too large", large, "is larger than"},
		{"damaged", keyFile(t, "PRIVATE KEY", []byte("x"), 0o600), "damaged"},
		{"long", keyFile(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(long), 0o600), "4104 bits"},
		{"another kind", keyFile(t, "PRIVATE KEY", ecDER, 0o600), "neither RSA nor Ed25519"},
		{"a public key", keyFile(t, "PUBLIC KEY", []byte("x"), 0o600), "the private key is needed"},
		{"with a passphrase", keyFile(t, "ENCRYPTED PRIVATE KEY", []byte("x"), 0o600), "passphrase"},
		{"another block", keyFile(t, "OPENSSH PRIVATE KEY", []byte("x"), 0o600), "OPENSSH PRIVATE KEY"},
	} {
		if _, err := ReadKey(row.file); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestWeakKeySignsOnlyWhereAllowed: what is published today goes on signing
// until the new key is published, but nobody comes to a weak key by chance.
func TestWeakKeySignsOnlyWhereAllowed(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	file := keyFile(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak), 0o600)
	load := func(allow bool) (*Signers, error) {
		return Load(map[string]DomainConfig{"example.org": {Keys: []KeyConfig{{Selector: "s", File: file, AllowWeak: allow}}}})
	}
	if _, err := load(false); err == nil || !strings.Contains(err.Error(), "1024 bits") || !strings.Contains(err.Error(), "allow_weak") {
		t.Errorf("without allow_weak: %v", err)
	}
	s, err := load(true)
	if err != nil {
		t.Fatal(err)
	}
	if keys := s.Keys(); len(keys) != 1 || !keys[0].Weak() {
		t.Errorf("%d keys", len(keys))
	}
	body := NewBodyHash()
	field, _, err := s.For("example.org").Sign([]byte("From: a@example.org\r\n"), body, time.Now())
	if err != nil || !bytes.Contains(field, []byte("s=s;")) {
		t.Errorf("%q, %v", field, err)
	}
}

// TestReadKeyFindsTheKeyAmongOtherBlocks: certificates, public keys and
// parameters often stand before the key in one file.
func TestReadKeyFindsTheKeyAmongOtherBlocks(t *testing.T) {
	_, ed := testKeys()
	der, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	var before []byte
	for _, kind := range []string{"CERTIFICATE", "PUBLIC KEY", "DH PARAMETERS"} {
		before = append(before, "some text\n"...)
		before = append(before, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("x")})...)
	}
	for name, text := range map[string][]byte{"last": append(before, key...), "first": append(key, before...)} {
		if got, err := parseKey(text); err != nil || publicTag(got) != publicTag(ed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseKey(before); err == nil || !strings.Contains(err.Error(), "private key is needed") {
		t.Errorf("without a private key: %v", err)
	}
}

func TestLoadTellsAllProblems(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(map[string]DomainConfig{
		"a.example":   {Keys: []KeyConfig{{"s1", dir + "/1", RSA, false}, {"s2", dir + "/2", RSA, false}}},
		"B.example":   {Keys: []KeyConfig{{"s3", dir + "/3", RSA, false}}},
		"büb.example": {},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`dkim."a.example".keys.0: open ` + dir + `/1: no such file or directory; set generate = true, or make it by: relay dkim keygen -domain a.example -selector s1 -out ` + dir + `/1`,
		`dkim."a.example".keys.1: `, `dkim."B.example": has capitals; write "b.example"`, `dkim."büb.example": is not a domain in ASCII`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestLoadMakesMissingKeysOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	cfg := map[string]DomainConfig{"example.org": {Generate: true, Keys: []KeyConfig{
		{"r", filepath.Join(dir, "r.pem"), RSA, false}, {"e", filepath.Join(dir, "e.pem"), Ed25519, false},
	}}}
	if s, missing, err := Check(cfg); err != nil || len(missing) != 2 || s.For("example.org") == nil {
		t.Errorf("Check: %q, %v", missing, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("Check made something")
	}
	first, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range first.Keys() {
		if info, err := os.Stat(k.File); err != nil || info.Mode().Perm() != 0o600 || !k.Made {
			t.Errorf("%s: made %v, %v, %v", k.File, k.Made, info, err)
		}
	}
	again, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range again.Keys() {
		_, old := first.Keys()[i].Record()
		if _, value := k.Record(); value != old || k.Made {
			t.Errorf("%s was made again", k.Name())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".key-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestForFindsTheNearestDomain(t *testing.T) {
	_, ed := testKeys()
	file := filepath.Join(t.TempDir(), "k")
	if err := WriteKey(file, ed); err != nil {
		t.Fatal(err)
	}
	one := DomainConfig{Keys: []KeyConfig{{Selector: "s", File: file, Type: RSA}}}
	s, err := Load(map[string]DomainConfig{"example.org": one, "news.example.org": one})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ domain, want string }{
		{"example.org", "example.org"},
		{"a.example.org", "example.org"},
		{"news.example.org", "news.example.org"},
		{"b.a.news.example.org", "news.example.org"},
		{"badexample.org", ""},
		{"org", ""},
		{"", ""},
		{"[192.0.2.1]", ""},
	} {
		got := ""
		if d := s.For(row.domain); d != nil {
			got = d.Name()
		}
		if got != row.want {
			t.Errorf("%q: %q, want %q", row.domain, got, row.want)
		}
	}
}

func TestRecordOfKnownKey(t *testing.T) {
	// RFC 8463, appendix A.2.
	seed := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: append(
		[]byte{0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20},
		[]byte("\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60")...)})
	key, err := parseKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	name, value := Record("football.example.com", "brisbane", key)
	if name != "brisbane._domainkey.football.example.com" || value != "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Errorf("%q %q", name, value)
	}
}

func TestZoneLineSplitsLongValues(t *testing.T) {
	line := ZoneLine("s._domainkey.example.org", strings.Repeat("a", 255)+strings.Repeat("b", 10))
	if want := `s._domainkey.example.org. IN TXT ( "` + strings.Repeat("a", 255) + `" "bbbbbbbbbb" )`; line != want {
		t.Errorf("%s", line)
	}
}

func TestConfigCheck(t *testing.T) {
	var c DomainConfig
	c.SetDefaults()
	if !c.Require || c.RequirePublished != Warn {
		t.Errorf("defaults %+v", c)
	}
	var told []string
	report := func(key, problem string) { told = append(told, key) }
	c.Check(report)
	c.Keys = []KeyConfig{{"a", "f", RSA, false}, {"A", "g", RSA, false}}
	c.Expire = 1
	c.Check(report)
	for _, k := range []KeyConfig{{}, {"a b", "f", RSA, false}, {"-a", "f", RSA, false}, {strings.Repeat("a", 64), "f", RSA, false}, {"good.one_2", "f", RSA, false}} {
		k.Check(report)
	}
	if got := strings.Join(told, " "); got != "keys expire keys.1.selector selector file selector selector selector" {
		t.Errorf("reported %s", got)
	}
	var p Published
	var k KeyType
	if p.UnmarshalText([]byte("off")) == nil || k.UnmarshalText([]byte("dsa")) == nil {
		t.Error("unknown words taken")
	}
}

func FuzzParseKey(f *testing.F) {
	_, ed := testKeys()
	der, _ := x509.MarshalPKCS8PrivateKey(ed)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseKey(text)
		if err == nil && !bytes.Contains([]byte(publicTag(key)), []byte("p=")) {
			t.Error("key without record")
		}
	})
}
