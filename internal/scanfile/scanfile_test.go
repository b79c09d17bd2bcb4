package scanfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/scantest"
	"postern/scan"
)

func config(change func(*scan.Config)) scan.Config {
	var c scan.Config
	c.SetDefaults()
	c.Timeout = 2 * time.Second
	change(&c)
	return c
}

func open(t *testing.T, o Options) *scan.Set {
	t.Helper()
	set, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Stop(nil) })
	return set
}

func TestReadMakesMailOfAFile(t *testing.T) {
	m, err := Read(strings.NewReader("From: A <a@x.example>\nTo: b@y.example\nCc: c@y.example\n\nhello\r\nworld\n"), 1000, "relay.example", &Envelope{Client: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.Content.Head) + "|" + string(m.Content.Chunks[0]); got != "From: A <a@x.example>\r\nTo: b@y.example\r\nCc: c@y.example\r\n\r\n|hello\r\nworld\r\n" {
		t.Errorf("%q", got)
	}
	if m.From != "a@x.example" || !slices.Equal(m.To, []string{"b@y.example", "c@y.example"}) || m.Client != "shop" {
		t.Errorf("%+v", m)
	}
	m, err = Read(strings.NewReader("From: a@x.example\n\n"), 1000, "", &Envelope{From: "b@x.example", To: []string{"c@y.example"}})
	if err != nil || m.From != "b@x.example" || m.To[0] != "c@y.example" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = Read(strings.NewReader("no header\nat all"), 1000, "", &Envelope{}); err != nil || m.Content.Size() != 17 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := Read(strings.NewReader(strings.Repeat("x", 1001)), 1000, "", &Envelope{}); !errors.Is(err, errTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := Read(strings.NewReader(""), 1000, "", &Envelope{}); err == nil {
		t.Error("nothing is a message")
	}
}

func TestOpenNarrowsToAClient(t *testing.T) {
	av := (&scantest.Clamd{Answer: scantest.Finds}).Start(t)
	configs := map[string]scan.Config{"av": config(func(c *scan.Config) { c.Clamd, c.Clients = av.Address, []string{"shop"} })}
	if _, err := Open(Options{Configs: configs, Client: "other"}); err == nil {
		t.Error("a client without scanners")
	}
	if _, err := Open(Options{}); err == nil {
		t.Error("a configuration without scanners")
	}
	for _, client := range []string{"", "shop"} {
		if list := open(t, Options{Configs: configs, Client: client}).Each(t.Context(), &scan.Message{Client: client}); len(list) != 1 || list[0].Class != scan.Clean {
			t.Errorf("client %q: %+v", client, list)
		}
	}
}

func TestFolderIsShownToTheScanners(t *testing.T) {
	av := (&scantest.Clamd{Answer: scantest.Finds}).Start(t)
	set := open(t, Options{Configs: map[string]scan.Config{
		"av":    config(func(c *scan.Config) { c.Clamd = av.Address }),
		"shade": config(func(c *scan.Config) { c.Clamd, c.Mode = av.Address, scan.Shadow }),
		"small": config(func(c *scan.Config) { c.Clamd, c.MaxSize = av.Address, 60 }),
	}})
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "cur"), 0o700)
	for name, body := range map[string]string{
		"1": "hello", "2": "a virus", "cur/3": "poison", "4": strings.Repeat("x", 100), "5": strings.Repeat("y", 2000), "6": "",
	} {
		text := "Subject: x\n\n" + body + "\n"
		if body == "" {
			text = ""
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("/etc/passwd", filepath.Join(dir, "link"))
	p := Replayer{Set: set, MaxSize: 1000}
	r, err := p.Folder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages != 5 || r.Passed != 2 || r.Refused != 1 || r.Deferred != 1 || r.TooLarge != 1 || r.Unscanned != 1 || len(r.Unread) != 1 {
		t.Errorf("%+v", r)
	}
	if len(r.Stopped) != 2 || r.Stopped[0].File != filepath.Join(dir, "2") || r.Stopped[0].Text != "Own.Virus" || r.Stopped[1].Choice != scan.Defer {
		t.Errorf("%+v", r.Stopped)
	}
	var b strings.Builder
	r.Write(&b, 1)
	for _, want := range []string{
		"5 messages: 2 would have gone on (1 of them unscanned by some scanner), 1 refused, 1 deferred, 1 too large for the relay",
		"av          2 clean, 1 fault, 1 virus; time median ", "(only watched)", "/2: refused by av: virus Own.Virus\n", "and 1 more\n", "/6: is empty\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Folder(ctx, dir); err == nil {
		t.Error("goes on when it is told to end")
	}
}
