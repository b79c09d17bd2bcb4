package dkimsign

import (
	"bytes"
	"crypto"
	"errors"
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
	c.Keys = []KeyConfig{{"r1", filepath.Join(dir, "r1.pem"), RSA, false}, {"e1", filepath.Join(dir, "e1.pem"), RSA, false}}
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

func TestAddedFieldBreaksTheSignature(t *testing.T) {
	s := testDomain(t, nil)
	base := plain + "List-Unsubscribe: <https://example.org/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" +
		"Feedback-ID: a:b:c\r\n"
	message := signed(t, s.For("example.org"), []byte(base+"\r\nHello\r\n"))
	added := func(name string) []byte {
		return append([]byte(name+": <evil@evil.example>\r\n"), message...)
	}
	for _, name := range []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID",
	} {
		for key, err := range verify(t, s, added(name)) {
			if err == nil {
				t.Errorf("%s: verifies with another %s", key, name)
			}
		}
	}
	// What the next servers and mailing lists add.
	for _, name := range []string{"Received", "Return-Path", "List-ID", "List-Post", "Resent-From", "X-Spam"} {
		for key, err := range verify(t, s, added(name)) {
			if err != nil {
				t.Errorf("%s: %s added: %v", key, name, err)
			}
		}
	}
}

// TestNobodyAddsAWayOut: a message without these fields still breaks when
// somebody on the way adds one, such as an unsubscribe link of his own.
func TestNobodyAddsAWayOut(t *testing.T) {
	s := testDomain(t, nil)
	message := signed(t, s.For("example.org"), []byte(plain+"\r\nHello\r\n"))
	for _, field := range []string{
		"List-Unsubscribe: <https://evil.example/u>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
		"Content-Disposition: attachment; filename=invoice.html", "BIMI-Selector: v=BIMI1; s=evil",
	} {
		for key, err := range verify(t, s, append([]byte(field+"\r\n"), message...)) {
			if err == nil {
				t.Errorf("%s: verifies with %q added", key, field)
			}
		}
	}
}

func TestChangedMessageBreaksTheSignature(t *testing.T) {
	s := testDomain(t, nil)
	message := signed(t, s.For("example.org"), []byte(plain+allFields()+"\r\nHello\r\n"))
	for _, old := range []string{"anna@", "Greetings", "Hello", "ben@", "\tt=1"} {
		changed := bytes.Replace(message, []byte(old), []byte(old+"1"), 1)
		if verify(t, s, changed)["example.org/r1"] == nil {
			t.Errorf("verifies with %q changed", old)
		}
	}
	for _, f := range signedFields[1:] {
		changed := bytes.Replace(message, []byte("\n"+f.name+": one"), []byte("\n"+f.name+": two"), 1)
		for key, err := range verify(t, s, changed) {
			if err == nil {
				t.Errorf("%s: verifies with %s changed", key, f.name)
			}
		}
	}
}

func TestSignatureField(t *testing.T) {
	s := testDomain(t, func(c *DomainConfig) { c.Expire = 48 * time.Hour; c.Keys = c.Keys[1:] })
	h := NewBodyHash()
	h.Write([]byte("Hello\r\n"))
	now := time.Unix(1_764_064_800, 0)
	fields, names, err := s.For("example.org").Sign([]byte(plain+"\r\nIgnored: no field\r\n"), h, now)
	if err != nil {
		t.Fatal(err)
	}
	want := "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=example.org;\r\n\ts=e1;\r\n" +
		"\tt=1764064800; x=1764237600;\r\n\th=From:From:Sender:Reply-To:To:To:Cc:Subject:Subject:Date:Date:Message-ID:\r\n" +
		"\t Message-ID:In-Reply-To:References:MIME-Version:Content-Type:\r\n\t Content-Transfer-Encoding:Content-Disposition:List-Unsubscribe:\r\n" +
		"\t List-Unsubscribe-Post:BIMI-Selector;\r\n" +
		"\tbh=Ba3gj8+xBPQLJTahTfzW6RbWQ/XPgESxkCi2B66PSQg=;\r\n\tb="
	if got := string(fields); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "==\r\n") {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got, want)
	}
	if len(names) != 1 || names[0] != "example.org/e1" {
		t.Errorf("names %q", names)
	}
}

func TestSignRefusesMessageWithoutFrom(t *testing.T) {
	d := testDomain(t, nil).For("example.org")
	for _, header := range []string{"", "\r\n", "Subject: a\r\n", "Subject: a\r\n\r\nFrom: in@the.body\r\n", " From: a@b\r\n", "From\r\n"} {
		if fields, _, err := d.Sign([]byte(header), NewBodyHash(), time.Now()); !errors.Is(err, errNoFrom) || fields != nil {
			t.Errorf("%q: %q, %v", header, fields, err)
		}
	}
}

func TestSignIsSafeForConcurrentUse(t *testing.T) {
	s := testDomain(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 4 {
				message := []byte(plain + strings.Repeat("References: <a@b>\r\n", i*j) + "\r\n" + strings.Repeat("x y\r\n", i+j))
				for key, err := range verify(t, s, signed(t, s.For("example.org"), message)) {
					if err != nil {
						t.Errorf("%s: %v", key, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestRequirePublished(t *testing.T) {
	for _, row := range []struct {
		name     string
		mode     Published
		required bool
		missing  []string
		names    string
		err      error
	}{
		{"warn signs all the same", Warn, true, []string{"r1", "e1"}, "example.org/r1 example.org/e1", nil},
		{"warn leaves one out while another is there", Warn, true, []string{"r1"}, "example.org/e1", nil},
		{"skip leaves one out", Skip, true, []string{"r1"}, "example.org/e1", nil},
		{"skip with nothing left", Skip, true, []string{"r1", "e1"}, "", errUnpublished},
		{"skip with nothing left where none is required", Skip, false, []string{"r1", "e1"}, "", nil},
		{"defer leaves one out while another is there", Defer, true, []string{"e1"}, "example.org/r1", nil},
		{"defer with nothing left", Defer, true, []string{"r1", "e1"}, "", errUnpublished},
		{"defer with nothing left where none is required", Defer, false, []string{"r1", "e1"}, "", errUnpublished},
		{"defer with all there", Defer, true, nil, "example.org/r1 example.org/e1", nil},
	} {
		s := testDomain(t, func(c *DomainConfig) { c.RequirePublished, c.Require = row.mode, row.required })
		for _, k := range s.Keys() {
			s.SetPublished(k.Domain, k.Selector, Matches)
		}
		for _, selector := range row.missing {
			s.SetPublished("example.org", selector, Unpublished)
		}
		fields, names, err := s.For("example.org").Sign([]byte(plain), NewBodyHash(), time.Now())
		if !errors.Is(err, row.err) || strings.Join(names, " ") != row.names || (len(fields) > 0) != (row.names != "") {
			t.Errorf("%s: %q, %v", row.name, names, err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	s := testDomain(b, nil)
	both := s.For("example.org")
	header := []byte(plain + "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nReceived: from a by b\r\n\twith ESMTP; today\r\n")
	for _, row := range []struct {
		name string
		keys []*Key
	}{{"rsa", both.keys[:1]}, {"ed25519", both.keys[1:]}, {"both", both.keys}} {
		d := &Domain{name: both.name, config: both.config, keys: row.keys}
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			h := NewBodyHash()
			for b.Loop() {
				h.reset()
				h.Write(header)
				if _, _, err := d.Sign(header, h, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
