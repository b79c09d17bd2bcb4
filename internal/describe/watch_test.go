package describe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config"
)

// TestConfigTellsHowTheWatchTreatsWhom: an operator reads in relay check what was set.
func TestConfigTellsHowTheWatchTreatsWhom(t *testing.T) {
	dir := t.TempDir()
	text := `hostname = "relay.example.org"
postmaster = "post@example.org"
internal_domains = ["example.org", "*.example.org"]
[listener.a]
address = "127.0.0.1:2525"
[stream.main]
upstream = "out"
[upstream.out]
hosts = ["smtp.dest.example:25"]
tls = "off"
[outlier]
mode = "enforce"
spam = "5/10m"
decoys = ["decoys.txt"]
suspended_may = ["help@example.org"]
help_url = "https://example.org/help"
exempt_clients = ["exempt"]
shadow_clients = ["quiet"]
[outlier.policy.calm]
mode = "shadow"
sensitivity = 0.5
spam = "3/5m"
`
	for i, c := range [][2]string{{"plain", ""}, {"none", `watch = "none"`}, {"strict", `watch = "strict"`}, {"calm", `watch = "calm"`}, {"device", "retries = false"}, {"exempt", ""}, {"quiet", ""}} {
		text += fmt.Sprintf("[client.%s]\nnetworks = [\"10.1.%d.0/24\"]\nsenders = [\"@example.org\"]\nstream = \"main\"\n%s\n", c[0], i, c[1])
	}
	for name, text := range map[string]string{"relay.toml": text, "decoys.txt": "trap@example.org\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, _, err := config.LoadHere(filepath.Join(dir, "relay.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	Config(&b, f)
	words := map[string]string{}
	for _, block := range strings.Split(b.String(), "\n\n") {
		if rest, ok := strings.CutPrefix(block, "client "); ok {
			name, _, _ := strings.Cut(rest, "\n")
			_, watch, _ := strings.Cut(block, "\n  watch:")
			watch, _, _ = strings.Cut(watch, "\n")
			words[name] = strings.TrimSpace(watch)
		}
	}
	for name, want := range map[string]string{
		"plain": "", "none": "none: neither it nor its users and senders are judged", "exempt": "none: neither it nor its users and senders are judged",
		"strict": "strict: scores count one and a half times; 2/10m messages with spam or a virus suspend",
		"calm":   "calm: mode shadow; scores count 0.5 times; 3/5m messages with spam or a virus suspend",
		"device": "no brake, since it loses mail that waits (retries = false)", "quiet": "mode shadow",
	} {
		if words[name] != want {
			t.Errorf("%s: %q, not %q", name, words[name], want)
		}
	}
	for _, want := range []string{
		"outlier:       senders that behave unlike themselves: mode enforce\n", " brake: from a score of 0.4 on, mail to new recipients waits, but for 5 an hour\n",
		" spam: 5/10m messages with spam or a virus suspend who has submitted them\n", "decoys.txt suspends who has submitted it\n",
		" who is suspended may still write to help@example.org, post@example.org, postmaster@example.org\n", " replies about a suspension name https://example.org/help\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &b)
		}
	}
}
