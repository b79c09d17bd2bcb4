package shell_test

import (
	"os/exec"
	"strings"
	"testing"

	"postern/internal/shell"
)

// readBack is what a shell makes of a command.
func readBack(t *testing.T, words []string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", shell.Command(append([]string{"printf", `%s\n--\n`}, words...)...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n--\n"), "\n--\n")
}

func TestCommandReachesTheProgramAsItIs(t *testing.T) {
	words := []string{"news@example.org", "user:o'neil", "", "a b", "$HOME", "`id`", "a;b|c&d>e<f", `back\slash`, `"q"`, "*", "~", "#x", "key=a b",
		"!x", "(x)", "{a,b}", "[ab]", "?", "client=shop recipient_domain=x.example", "ä€", "two\nlines", "-", "%s", "+5000"}
	got := readBack(t, words)
	if strings.Join(got, "\x00") != strings.Join(words, "\x00") {
		t.Errorf("a shell reads %q, want %q", got, words)
	}
	if got := shell.Command("relay", "release", "user:a.b@example.org"); got != "relay release user:a.b@example.org" {
		t.Errorf("quotes without need: %s", got)
	}
}

func FuzzCommand(f *testing.F) {
	f.Add("a b", "$(id)")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) {
			return // no program can be given such a word
		}
		out, err := exec.Command("sh", "-c", shell.Command("printf", "%s.%s", a, b)).Output()
		if err != nil || string(out) != a+"."+b {
			t.Fatalf("%q and %q: %q, %v", a, b, out, err)
		}
	})
}
