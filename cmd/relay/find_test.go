package main

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// TestFindTellsWhatBecameOfAMessage: by each flag, newest first, in the journal and in
// what was packed of it, without a relay.
func TestFindTellsWhatBecameOfAMessage(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, "[limit.sender]\nper = \"sender\"\nmessages = [\"2/1h\"]\n"))
	d := dialSMTP(t, p.address("mta"))
	for _, id := range []string{"m1", "m2"} {
		d.say("MAIL FROM:<Alice@example.org>", "250")
		d.say("RCPT TO:<b@dest.example>", "250")
		d.say("RCPT TO:<Bob@dest.example>", "250")
		d.say("DATA", "354")
		d.say("Message-ID: <"+id+"@example.org>\r\n"+testMessage("alice@example.org", id)+".", "250")
	}
	d.say("MAIL FROM:<alice@example.org>", "250")
	d.say("RCPT TO:<carl@dest.example>", "450 4.7.1")
	d.say("QUIT", "221")
	p.stop()
	queued := regexp.MustCompile(`taken as ([0-9.]+)`).FindStringSubmatch(p.verb(0, "find", "-message-id", "m2@example.org"))
	if queued == nil {
		t.Fatal("no queue id")
	}
	for _, packed := range []bool{false, true} {
		if packed {
			pack(t, filepath.Join(p.dir, "journal.jsonl"))
		}
		for _, c := range []struct {
			want string // of each line, and how many
			n    int
			args []string
		}{
			{`<[Aa]lice@example\.org> to <(b|carl)@dest\.example>`, 3, []string{"-from", "ALICE@example.org"}},
			{`to <Bob@dest\.example> and 1 more  relayed 250 2\.0\.0 upstream: taken as`, 2, []string{"-to", "bob@dest.example", "-since", "1h"}},
			{`m2`, 1, []string{"-message-id", "<m2@example.org>", "-json"}},
			{`relayed`, 1, []string{"-queue-id", queued[1]}},
			{`<carl@dest\.example>  deferred 450 4\.7\.1 limit sender: .*retry in`, 1, []string{"-code", "4.7.1"}},
			{`relayed`, 2, []string{"-code", "2xx", "-to", "@dest.example"}},
			{`carl`, 1, []string{"-from", "alice@example.org", "-n", "1"}},
		} {
			out := p.verb(0, append([]string{"find"}, c.args...)...)
			lines := 0
			for line := range strings.Lines(out) {
				if strings.Contains(line, "dest.example") {
					lines++
					wantText(t, line, c.want)
				}
			}
			if lines != c.n {
				t.Errorf("packed %v, %q: %d lines, want %d:\n%s", packed, c.args, lines, c.n, out)
			}
		}
		wantText(t, p.verb(1, "find", "-to", "nobody@dest.example"), "nothing in 2 files")
		p.verb(2, "find", "-code", "banana")
		p.verb(2, "find")
		wantText(t, p.verb(2, "find", "bob@dest.example"), `"bob@dest\.example" has no flag before it; write -to or -from`)
	}
}

func pack(t *testing.T, name string) {
	text := readFile(t, name)
	f, err := os.Create(name + ".1.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	z.Write(text)
	z.Close()
	os.Remove(name)
}
