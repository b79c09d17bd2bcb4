package journal

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clock() func() time.Time {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { at = at.Add(time.Second); return at }
}

func open(t *testing.T, cfg Config) *Writer {
	t.Helper()
	w, err := Open(cfg, slog.New(slog.DiscardHandler), clock())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func ids(t *testing.T, files ...string) (ids []string) {
	t.Helper()
	err := Read(files, nil, func(e *mail.Event) error { ids = append(ids, e.ID); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestWriterGivesBackWhatItTook(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 20}
	w := open(t, cfg)
	want := mail.Event{ID: "a", From: "<>", Outcome: mail.Deferred, Duration: 3 * time.Millisecond,
		To:     []mail.RecipientEvent{{Address: "x@y.example", Code: 450, Outcome: mail.Deferred}},
		Limits: []mail.LimitEvent{{Limit: "sender", Key: "sender=<>", Unit: "messages", Window: time.Hour, Max: 5, Used: 5, Refused: true}}}
	w.Observe(&want)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	err := Read([]string{cfg.File}, nil, func(e *mail.Event) error {
		if fmt.Sprint(*e) != fmt.Sprint(want) {
			t.Errorf("read %v, wrote %v", *e, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(cfg.File); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
}

func TestWriterRotatesAndKeepsTheNewest(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 300, Keep: 2}
	w := open(t, cfg)
	for i := range 20 {
		w.Observe(&mail.Event{ID: fmt.Sprint(i)})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	aside, err := SetAside(cfg.File)
	if err != nil || len(aside) != 2 {
		t.Fatalf("set aside %v, %v; want 2 files", aside, err)
	}
	got := ids(t, append(aside, cfg.File)...)
	for i, id := range got {
		if want := fmt.Sprint(20 - len(got) + i); id != want {
			t.Fatalf("ids %v are not the last ones in order", got)
		}
	}
}

func TestWriterEndsALineThatACrashCutOff(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 20}
	if err := os.WriteFile(cfg.File, []byte("{\"id\":\"whole\"}\n{\"id\":\"cu"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, cfg.File); len(got) != 1 {
		t.Fatalf("read %v from a cut file, want the whole line", got)
	}
	w := open(t, cfg)
	w.Observe(&mail.Event{ID: "next"})
	w.Close()
	b, _ := os.ReadFile(cfg.File)
	if !bytes.Contains(b, []byte("{\"id\":\"cu\n{")) {
		t.Errorf("the next line does not stand by itself: %q", b)
	}
}

func TestReadTellsWhereABadLineStands(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j.jsonl")
	os.WriteFile(name, []byte("{\"id\":\"1\"}\nnonsense\n{\"id\":\"2\"}\n"), 0o600)
	err := Read([]string{name}, nil, func(*mail.Event) error { return nil })
	if err == nil || !strings.Contains(err.Error(), ":2: ") {
		t.Errorf("error %v does not name line 2", err)
	}
}

func TestReadUnpacksGzip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j.jsonl.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte("{\"id\":\"1\"}\n"))
	z.Close()
	os.WriteFile(name, b.Bytes(), 0o600)
	if got := ids(t, name); len(got) != 1 || got[0] != "1" {
		t.Errorf("read %v", got)
	}
}

// full is a file whose writes fail while it is set.
func TestWriterSurvivesAFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal("this test needs /dev/full")
	}
	var out bytes.Buffer
	w, err := Open(Config{File: "/dev/full", RotateSize: 1 << 20}, slog.New(slog.NewTextHandler(&out, nil)), clock())
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", bufferSize)
	for range 3 {
		w.Observe(&mail.Event{ID: big})
	}
	w.Close()
	if n := strings.Count(out.String(), "journal cannot be written"); n != 1 {
		t.Errorf("%d lines about the full disk, want one: %s", n, out.String())
	}
}
