package main

import (
	"os/exec"
	"slices"
	"testing"
)

// A sample of make bench-readers, with the readers that are at hand.
func TestReadersSeeTheAuthorsThatWereJudged(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs the Debian package python3")
	}
	for _, strict := range []bool{false, true} {
		passed, err := pass(12_000, 7, strict)
		if err != nil {
			t.Fatal(err)
		}
		if len(passed) < 800 || anew(passed) < 400 || anew(passed) == len(passed) {
			t.Fatalf("%d pass, %d of them written anew", len(passed), anew(passed))
		}
		for _, r := range readers(".") {
			if r.command != nil && r.command[0] != "python3" || r.strict && !strict {
				continue
			}
			v, err := r.hold(passed)
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
	j, err := newJudge(false)
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
