package syntax

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// message is one row of testdata/messages/index.tsv.
type message struct{ name, authors, expect string }

func messages(t testing.TB) []message {
	t.Helper()
	index, err := os.ReadFile("testdata/messages/index.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var all []message
	for i, line := range strings.Split(strings.TrimSpace(string(index)), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 {
			continue // the head line
		}
		all = append(all, message{name: f[0], authors: f[7], expect: f[11]})
	}
	return all
}

// notKept are in the index but too large for the repository.
var notKept = map[string]bool{"related-gmail-dkim-large.eml": true, "line-64k.eml": true, "big-attachment.eml": true}

func readHeader(t testing.TB, name string) (Header, error) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/messages", name))
	if err != nil {
		t.Fatal(err)
	}
	if end := HeaderEnd(b, 0); end >= 0 {
		b = b[:end]
	}
	return ParseHeader(b, 2000)
}

// What the index leaves to us, besides what policy decides.
var refusedHeader = map[string]error{
	"header-line-without-colon.eml": errNotField,
	"space-before-colon.eml":        errNotField,
	"unix-mail-bare-lf.eml.raw":     errNewline,
	"cr-cr-lf.eml.raw":              errNewline,
}

// Of the forms of From that the index leaves to us these are refused.
var refusedFrom = map[string]bool{
	"from-comment-then-address.eml":      true, // an address in a comment
	"from-folded.eml":                    true, // folded within the address
	"obsolete-syntax-comments-group.eml": true, // comments within the address
}

func TestAuthorsOfEveryMessage(t *testing.T) {
	for _, m := range messages(t) {
		if notKept[m.name] {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			h, err := readHeader(t, m.name)
			if want := refusedHeader[m.name]; !errors.Is(err, want) {
				t.Fatalf("ParseHeader: %v, want %v", err, want)
			}
			if err != nil {
				return
			}
			authors, err := fromOf(h)
			if refused := err != nil; refused != (m.expect == "refuse-from" || m.expect == "choice" && refusedFrom[m.name]) {
				t.Fatalf("authors %v, error %v; the index expects %s", authors, err, m.expect)
			}
			if err == nil && authors != m.authors {
				t.Errorf("authors %s, want %s", authors, m.authors)
			}
		})
	}
}

func fromOf(h Header) (string, error) {
	if h.Count("From") != 1 {
		return "", errors.New("not one From field")
	}
	f, _ := h.Get("From")
	authors, _, err := AppendAuthors(nil, f.Body())
	var all []string
	for _, a := range authors {
		all = append(all, a.Address.String())
	}
	return strings.Join(all, ","), err
}

// A From that the index wants to leave as it came is plain.
func TestFromOfEveryMessageIsPlain(t *testing.T) {
	for _, m := range messages(t) {
		if notKept[m.name] {
			continue
		}
		h, err := readHeader(t, m.name)
		if err != nil || m.expect != "relay" && m.expect != "refuse-duplicate" {
			continue
		}
		f, ok := h.Get("From")
		if _, plain, err := AppendAuthors(nil, f.Body()); !ok || !plain || err != nil {
			t.Errorf("%s: %q is plain %v, %v", m.name, f.Body(), plain, err)
		}
	}
}

func TestParseHeaderLosesNoOctet(t *testing.T) {
	for _, m := range messages(t) {
		if notKept[m.name] || refusedHeader[m.name] != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("testdata/messages", m.name))
		if err != nil {
			t.Fatal(err)
		}
		h, err := readHeader(t, m.name)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		var all []byte
		for _, f := range h {
			all = append(all, f.Raw...)
		}
		if !bytes.HasPrefix(b, all) {
			t.Errorf("%s: fields are not the beginning of the message", m.name)
		}
		if rest := b[len(all):]; len(rest) > 0 && !bytes.HasPrefix(rest, []byte("\r\n")) {
			t.Errorf("%s: after the fields comes %.20q", m.name, rest)
		}
	}
}
