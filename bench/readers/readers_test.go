package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A sample of make bench-readers, with the readers that are at hand.
func TestReadersSeeTheAuthorsThatWereJudged(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs the Debian package python3")
	}
	for _, with := range []setting{{}, {strictNames: true}, {lenientForms: true}} {
		passed, err := pass(12_000, 7, with)
		if err != nil {
			t.Fatal(err)
		}
		if len(passed) < 800 || anew(passed) < 400 || anew(passed) == len(passed) {
			t.Fatalf("%d pass, %d of them written anew", len(passed), anew(passed))
		}
		for _, r := range readers(".") {
			if r.command != nil && r.command[0] != "python3" || r.strict && !with.strictNames || r.program != "" && !postfixStarts(&r) {
				continue
			}
			v, err := r.hold(t.Context(), passed)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			for _, w := range slices.Concat(v.wrong, v.missing) {
				t.Errorf("%s: %s", r.name, w)
			}
			if v.same < len(passed)*9/10 {
				t.Errorf("%s sees the authors of %d messages of %d", r.name, v.same, len(passed))
			}
		}
	}
}

// What readers were seen to take for somebody else does not pass, or leaves in
// another form.
func TestWhatReadersTookForSomebodyElse(t *testing.T) {
	j, err := newJudge(setting{})
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{
		"From: ceo@bank.example .example.org\r\n",
		"From: ceo@bank.example\r\n .example.org\r\n",
		"From: ceo@bank.example (CEO) .example.org\r\n",
		"From: <ceo@bank.example\r\n\t.example.org>\r\n",
		"From: \"=?utf-8?q?a\"?=(\"<ceo@bank.example>\") <news@example.org>\r\n",
		"From: \" =?utf-8?q?\"?=(\"<ceo@bank.example>\")<news@example.org>\r\n",
		"From: (ceo@bank.example), news@example.org\r\n",
		"Sender: CEO <ceo@bank.example>\r\nFrom : news@example.org\r\n",
		"Sender: CEO <ceo@bank.example>\r\nFrom\t: news@example.org\r\n",
		"Sender: CEO <ceo@bank.example>\r\nX-A : y\r\nFrom: news@example.org\r\n",
		"From: CEO <ceo@bank.example>, news@example.org\r\n",
		"From: \"..\"@example.org\r\n",
		"From: \ufeffceo@example.org\r\n",
	} {
		if m, ok := j.pass([]byte(header)); ok {
			t.Errorf("%q passes as %q", header, m.text)
		}
	}
}

func TestGeneratorIsDrawnFromItsSeed(t *testing.T) {
	a, b, c := newGenerator(1), newGenerator(1), newGenerator(2)
	other := false
	for range 100 {
		header := string(a.header())
		if header != string(b.header()) {
			t.Fatal("the same seed gives other headers")
		}
		other = other || header != string(c.header())
	}
	if !other {
		t.Error("another seed gives the same headers")
	}
}

// postfixStarts: as root only.
func postfixStarts(r *reader) bool { return r.installed() && os.Getuid() == 0 }

// Postfix is a reader that sees something: other authors than the client's where they
// are, and those of From alone.
func TestPostfixSeesAuthors(t *testing.T) {
	if !postfixStarts(&reader{program: "postfix"}) {
		return
	}
	var messages []message
	var want []string
	for _, m := range []struct{ header, authors string }{
		{"From: CEO <ceo@bank.example>\r\n", "ceo@bank.example"},
		{"Sender: a@b.example\r\nFrom: ceo@bank.example,\r\n news@example.org\r\n", "ceo@bank.example news@example.org"},
		{"From: news@example.org <ceo@bank.example>\r\n", "ceo@bank.example"},
		{"From: G: ceo@bank.example, a@b.example;\r\nReply-To: c@d.example\r\n", "ceo@bank.example a@b.example"},
		{"X-A: y\r\nTo: a@b.example\r\n", ""},
		{"From: \"ceo@bank.example\"@example.org\r\n", `"ceo@bank.example"@example.org`},
		{"From: Example, Inc. <news@example.org>\r\n", "Example@" + myorigin + " news@example.org"},
	} {
		messages, want = append(messages, message{text: []byte(m.header + "\r\nx\r\n")}), append(want, m.authors)
	}
	found, err := readWithPostfix(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		if got := strings.Join(found[i], " "); got != want[i] {
			t.Errorf("%q: %q, want %q", messages[i].text, got, want[i])
		}
	}
}
