package dkimsign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// python is Debian's own, where the module dkim is.
const python = "/usr/bin/python3"

// corpus returns the messages that are kept beside package syntax and have
// clean line ends and a From field.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../internal/syntax/testdata/messages/*.eml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d messages in ../syntax/testdata/messages, %v", len(files), err)
	}
	messages := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("\r\n\r\n")) {
			text = append(bytes.TrimSuffix(text, []byte("\r\n")), "\r\n\r\n"...) // header only
		}
		if name := filepath.Base(file); name != "from-missing.eml" {
			messages[name] = text
		}
	}
	return messages
}

// random makes a message of the pieces that canonicalisation cares about.
func random(r *rand.Rand) []byte {
	names := []string{"From", "from", "Subject", "SUBJECT", "X-Other", "Received", "List-Id", "To", "Date", "References", "DKIM-Filter"}
	values := []string{"a", "word word", " ", "\t", "  two", "\r\n ", "\r\n\t", "\r\n \t ", ":", "=", ";", "\xc3\xa4", "<a@example.org>", strings.Repeat("x", 90)}
	texts := []string{"a", "Word", " ", "\t", "  ", " \r\n", "\r\n", "\r\n\r\n", "\t\r\n", ".", "\xff", "\x00", strings.Repeat("base64line", 40)}
	var b bytes.Buffer
	pick := func(from []string, n int) {
		for range r.IntN(n) {
			b.WriteString(from[r.IntN(len(from))])
		}
	}
	b.WriteString("From: anna@example.org\r\n")
	for range r.IntN(12) {
		b.WriteString(names[r.IntN(len(names))] + ":x")
		pick(values, 8)
		b.WriteString("y\r\n")
	}
	b.WriteString("\r\n")
	pick(texts, 40)
	return b.Bytes()
}

// oddLines are header lines that are no field, or have white space before the
// colon, on which python3-dkim gives up.
var oddLines = regexp.MustCompile(`(?m)^(?:[^\s:]*\s+:|[^\s:]+[^:\n]*$)`)

func TestSignatureVerifiesOnTheCorpus(t *testing.T) {
	s := testDomain(t, nil)
	for name, message := range corpus(t) {
		signed := signed(t, s.For("example.org"), message)
		for key, err := range verify(t, s, ownSignatures(signed)) {
			if err != nil {
				t.Errorf("%s: %s: %v", name, key, err)
			}
		}
	}
}

// ownSignatures renames DKIM-Signature fields other than the two on top.
func ownSignatures(message []byte) []byte {
	n := 0
	return regexp.MustCompile(`(?mi)^DKIM-Signature:`).ReplaceAllFunc(message, func(name []byte) []byte {
		if n++; n <= 2 {
			return name
		}
		return append([]byte("X-"), name...)
	})
}

const verifyScript = `
import dkim, json, os, sys
records = json.load(open(sys.argv[1]))
for name in sorted(os.listdir(sys.argv[2])):
    message = open(os.path.join(sys.argv[2], name), "rb").read()
    for i in range(2):
        try:
            ok = dkim.DKIM(message).verify(idx=i, dnsfunc=lambda n, timeout=5: records[n.decode().rstrip(".")].encode())
        except Exception as e:
            ok = repr(e)
        if ok is not True:
            print(name, i, ok)
print("done")
`

func TestSignatureVerifiesWithAnotherImplementation(t *testing.T) {
	if exec.Command(python, "-c", "import dkim, nacl").Run() != nil {
		t.Skip("needs the Debian packages python3-dkim and python3-nacl")
	}
	s := testDomain(t, nil)
	dir := t.TempDir()
	write := func(name string, message []byte) {
		// As it comes over SMTP: the last line ended.
		message = append(bytes.TrimSuffix(message, []byte("\r\n")), "\r\n"...)
		signed := signed(t, s.For("example.org"), message)
		if err := os.WriteFile(filepath.Join(dir, name), signed, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, message := range corpus(t) {
		if header, _ := split(message); !oddLines.Match(header) {
			write(name, message)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		write(fmt.Sprintf("random-%03d", i), random(r))
	}
	records := map[string]string{}
	for _, k := range s.Keys() {
		name, value := k.Record()
		records[name] = value
	}
	text, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "records.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", verifyScript, file, dir).CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// FuzzSign lets go-msgauth judge signatures on any header and body.
func FuzzSign(f *testing.F) {
	f.Add("Subject: a\r\nTo:b", " a  b \r\n\r\n", uint8(2))
	f.Add("From:\r\n x\r\nfrom\t: y", "a", uint8(0))
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		header, body := split(random(r))
		f.Add(string(header), string(body), uint8(r.IntN(100)))
	}
	s := testDomain(f, func(c *DomainConfig) { c.Keys = c.Keys[1:] }) // the quick one
	d := s.For("example.org")
	field := regexp.MustCompile(`^[!-9;-~]+[ \t]*:`)
	f.Fuzz(func(t *testing.T, fields, text string, size uint8) {
		header := []byte("From: anna@example.org\r\n")
		for line := range strings.SplitSeq(clean(fields), "\r\n") {
			if line != "" && (line[0] == ' ' || line[0] == '\t' || field.MatchString(line)) && !strings.HasPrefix(strings.ToLower(line), "dkim-signature") {
				header = append(append(header, line...), "\r\n"...)
			}
		}
		body := []byte(clean(text))
		h := NewBodyHash()
		for rest := body; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			h.Write(rest[:n])
			rest = rest[n:]
		}
		signature, _, err := d.Sign(header, h, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(signature), "\r\n") {
			if len(line) > 78 {
				t.Errorf("line of %d octets", len(line))
			}
		}
		message := bytes.Join([][]byte{signature, header, []byte("\r\n"), body}, nil)
		for key, err := range verify(t, s, message) {
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}
