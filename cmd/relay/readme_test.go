package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// startExample runs the example configuration on free ports, with changes: old,
// new...
func startExample(t *testing.T, changes ...string) *process {
	t.Helper()
	text := string(readFile(t, "../../config.example.toml"))
	changes = append(changes, `"127.0.0.1:2525"`, `"127.0.0.1:0"`, `"127.0.0.1:8025"`, `"127.0.0.1:0"`)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("the example has no %s", changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return startRelay(t, text)
}

// outbox lists the captured messages.
func (p *process) outbox() []string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "outbox", "*.eml"))
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

// TestReadmeCommandsSendAMessage runs the lines that README.md shows.
func TestReadmeCommandsSendAMessage(t *testing.T) {
	t.Parallel()
	readme := string(readFile(t, "../../README.md"))
	p := startExample(t)
	p.expect(`^s1\._domainkey\.example\.org\. IN TXT .*v=DKIM1; k=rsa; p=`)
	address := p.address("local")
	for i, program := range []string{"curl", "swaks"} {
		t.Run(program, func(t *testing.T) {
			need(t, program, program)
			line := regexp.MustCompile(`(?m)^    (.*\b` + program + ` .*)$`).FindStringSubmatch(readme)
			if line == nil || !strings.Contains(line[1], "127.0.0.1:2525") {
				t.Fatalf("README.md has no line with %s", program)
			}
			out, err := exec.Command("sh", "-c", strings.ReplaceAll(line[1], "127.0.0.1:2525", address)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			files := p.outbox()
			if len(files) != i+1 {
				t.Fatalf("outbox has %d messages, want %d\n%s", len(files), i+1, out)
			}
			checkCaptured(t, files[i])
		})
	}
	p.stop()
}

// checkCaptured holds a captured message against what README.md says of it.
func checkCaptured(t *testing.T, file string) {
	t.Helper()
	text := string(readFile(t, file))
	for _, want := range []string{"DKIM-Signature: v=1; a=rsa-sha256;", "\r\nReceived: from ", "\r\nDate: ", "\r\nMessage-ID: ", "\r\nFrom: "} {
		if !strings.Contains(strings.ReplaceAll(text, "Message-Id:", "Message-ID:"), want) {
			t.Errorf("%s holds no %q:\n%s", filepath.Base(file), want, text)
		}
	}
	var envelope struct {
		From string `json:"from"`
		To   []struct {
			Address string `json:"address"`
		} `json:"to"`
		Size int `json:"size"`
	}
	if err := json.Unmarshal(readFile(t, strings.TrimSuffix(file, ".eml")+".json"), &envelope); err != nil {
		t.Fatal(err)
	}
	if envelope.From != "news@example.org" || len(envelope.To) != 1 || envelope.To[0].Address != "reader@example.net" || envelope.Size != len(text) {
		t.Errorf("envelope %+v of %d octets", envelope, len(text))
	}
}

// TestReadmeTellsWhatTheExampleRefuses: another sender, and one message more in
// a minute than the limit says; 3 of them in place of 60, to save time.
func TestReadmeTellsWhatTheExampleRefuses(t *testing.T) {
	t.Parallel()
	p := startExample(t, `messages = ["60/1m", "500/1h"]`, `messages = ["3/1m", "500/1h"]`)
	d := dialSMTP(t, p.address("local"))
	d.say("MAIL FROM:<a@elsewhere.example>", "553 5.7.1")
	for range 3 {
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<reader@example.net>", "250")
		d.say("DATA", "354")
		d.say(testMessage("a@example.org", "m")+".", "250 2.0.0 captured")
	}
	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RCPT TO:<reader@example.net>", "450 4.7.1 <a@example.org>: sender limit of 3 messages in 1m reached, retry in ")
	d.say("QUIT", "221")
	if n := len(p.outbox()); n != 3 {
		t.Errorf("outbox has %d messages", n)
	}
	p.stop()
}

// TestReadmeNamesEachExample: a list that leaves one out hides it.
func TestReadmeNamesEachExample(t *testing.T) {
	readme := string(readFile(t, "../../README.md"))
	files, err := filepath.Glob("../../examples/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.Contains(readme, "- `"+name+"`: ") {
			t.Errorf("README.md does not name %s", name)
		}
	}
}
