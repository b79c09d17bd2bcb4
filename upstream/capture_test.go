package upstream

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/mail"
	"postern/upstream/capture"
)

func captureUpstream(t *testing.T) (*Upstream, string) {
	t.Helper()
	var c Config
	c.SetDefaults()
	c.Capture = filepath.Join(t.TempDir(), "deep", "outbox")
	u, err := New("staging", c, Options{Hostname: "relay.example"})
	if err != nil {
		t.Fatal(err)
	}
	return u, c.Capture
}

func TestCaptureKeepsMessageAndEnvelope(t *testing.T) {
	u, dir := captureUpstream(t)
	env := mail.Envelope{From: addr("a@a.example"), Body: mail.Body8Bit, Ret: "HDRS"}
	rcpt := mail.Recipient{Address: addr("b c@b.example"), Notify: "NEVER"}
	text := "Subject: x\r\n\r\n.dot\r\n\xe4 and no end"
	rt := Route{EHLO: "news.example", SourceIPs: ips("192.0.2.25", "2001:db8::25")}
	r := send(t.Context(), u, rt, env, Content{Prefix: []byte(text[:9]), Chunks: [][]byte{[]byte(text[9:])}}, rcpt, recipients("d@b.example")[0])
	if r.codes() != "250 250 final 250" || !strings.HasPrefix(r.final.Text, "captured as 2") {
		t.Fatalf("got %v", r)
	}
	name := filepath.Join(dir, strings.TrimPrefix(r.final.Text, "captured as "))
	if got, err := os.ReadFile(name + ".eml"); err != nil || string(got) != text {
		t.Errorf("message %q, %v", got, err)
	}
	raw, err := os.ReadFile(name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var e capture.Envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	if e.From != "a@a.example" || len(e.To) != 2 || e.To[0] != (capture.Recipient{Address: `"b c"@b.example`, Notify: "NEVER"}) ||
		e.EHLO != "news.example" || len(e.Source) != 2 || e.Size != int64(len(text)) || e.Upstream != "staging" || e.Body != "8BITMIME" || e.Ret != "HDRS" {
		t.Errorf("envelope %s", raw)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	for _, f := range append(files, dirEntry(t, dir)) {
		info, _ := f.Info()
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	if err := u.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func dirEntry(t *testing.T, dir string) os.DirEntry {
	t.Helper()
	es, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(es) != 1 {
		t.Fatal(es, err)
	}
	return es[0]
}

func TestCapturedNamesSortByTimeAndNothingElseIsLeft(t *testing.T) {
	u, dir := captureUpstream(t)
	var want []string
	for range 20 {
		r := deliver(t, u, "b@b.example")
		name := strings.TrimPrefix(r.final.Text, "captured as ")
		want = append(want, name+".eml", name+".json")
	}
	files, err := os.ReadDir(dir) // sorted by name
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, want %d, %v", len(files), len(want), err)
	}
	for i, f := range files {
		if f.Name() != want[i] {
			t.Errorf("file %d is %s, want %s", i, f.Name(), want[i])
		}
	}
}

func TestCaptureOfBrokenContentLeavesNothing(t *testing.T) {
	u, dir := captureUpstream(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "short"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r := send(t.Context(), u, Route{}, mail.Envelope{}, Content{File: f, FileSize: 10}, recipients("b@b.example")...); r.err == nil {
		t.Errorf("got %v", r)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%d files are left", len(files))
	}
}

func TestCaptureFolderGoneIsAFault(t *testing.T) {
	u, dir := captureUpstream(t)
	os.RemoveAll(dir)
	if r := send(t.Context(), u, Route{}, mail.Envelope{}, Content{}, recipients("b@b.example")...); r.err == nil {
		t.Errorf("got %v", r)
	}
}

func TestNewFailsWithoutItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("no PEM"), 0o600)
	for name, set := range map[string]func(*Config){
		"capture under a file": func(c *Config) { c.Capture = filepath.Join(file, "outbox") },
		"no CA file":           func(c *Config) { c.Hosts, c.CA = []string{"a"}, filepath.Join(dir, "none") },
		"empty CA file":        func(c *Config) { c.Hosts, c.CA = []string{"a"}, file },
		"bad host":             func(c *Config) { c.Hosts = []string{"a b"} },
		"no host":              func(c *Config) {},
	} {
		var c Config
		c.SetDefaults()
		set(&c)
		if _, err := New("x", c, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
