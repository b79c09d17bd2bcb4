package eventlog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	return Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Now: clock()})
}

func ids(t *testing.T, files ...string) (ids []string) {
	t.Helper()
	_, err := Read(files, nil, func(e *mail.Event) error { ids = append(ids, e.ID); return nil })
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
	_, err := Read([]string{cfg.File}, nil, func(e *mail.Event) error {
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
		w.Reopen() // which writes it
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

// TestReadSaysWhereDamageIs, passes over it, and goes on.
func TestReadSaysWhereDamageIs(t *testing.T) {
	dir := t.TempDir()
	first := put(t, filepath.Join(dir, "j.1"), "{\"id\":\"1\"}\nnonsense\n\n{\"id\":\"2\"}\n{\"id\":7}\n{\"id\":\""+strings.Repeat("x", maxLine)+"\"}\n{\"id\":\"3\"}\n{\"id\":\"torn", 0)
	cut := put(t, filepath.Join(dir, "j.2.gz"), "{\"id\":\"4\"}\n", 5)
	none := put(t, filepath.Join(dir, "j.3.gz"), "", 20)
	var got []string
	d, err := Read([]string{first, cut, none, "-"}, strings.NewReader("{\"id\":\"5\"}\n"), func(e *mail.Event) error { got = append(got, e.ID); return nil })
	if err != nil || !slices.Equal(got, []string{"1", "2", "3", "4", "5"}) {
		t.Errorf("read %v, %v", got, err)
	}
	if d.Events != 5 || d.Lines != 5 || len(d.Places) != 3 {
		t.Fatalf("%+v", d)
	}
	for i, want := range []string{":2: not a journal line", ":5: not a journal line", ":6: not a journal line: longer"} {
		if text := d.Places[i].Error(); !strings.Contains(text, want) {
			t.Errorf("%s, want %s", text, want)
		}
	}
	fault := errors.New("fault")
	if _, err := Read([]string{first}, nil, func(*mail.Event) error { return fault }); !errors.Is(err, fault) || !strings.Contains(err.Error(), ":1: ") {
		t.Errorf("%v", err)
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

// faults counts how tries went.
type faults struct {
	mu          sync.Mutex
	good, wrong int
}

func (f *faults) report(_ string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.good++
	} else {
		f.wrong++
	}
}

func (f *faults) counts() (good, wrong int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.good, f.wrong
}

// TestWriterBoundsWhatWaitsForAFullDisk: what finds no room in memory is
// counted, and the count is told.
func TestWriterBoundsWhatWaitsForAFullDisk(t *testing.T) {
	var out bytes.Buffer
	var f faults
	w := Open(Config{File: "/dev/full", RotateSize: 1 << 20}, Options{Log: slog.New(slog.NewTextHandler(&out, nil)), Report: f.report})
	big := strings.Repeat("x", maxPending/4)
	for range 8 {
		w.Observe(&mail.Event{ID: big})
	}
	if cap(w.pending) > 2*maxPending {
		t.Errorf("%d octets wait for the disk", cap(w.pending))
	}
	w.Reopen()
	if _, wrong := f.counts(); wrong == 0 {
		t.Error("the full disk was not reported")
	}
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "8 lines") || !strings.Contains(out.String(), "lines=8") {
		t.Errorf("%v, log %s", err, out.String())
	}
}

// tmpfs mounts a file system of that size.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("run the tests as root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestWriterGoesOnWhenTheDiskIsFreeAgain: no line is lost or cut that came
// while the disk was full, as long as memory holds them.
func TestWriterGoesOnWhenTheDiskIsFreeAgain(t *testing.T) {
	dir := tmpfs(t, "64k")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var f faults
	cfg := Config{File: filepath.Join(dir, "j.jsonl"), RotateSize: 1 << 20}
	w := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Report: f.report})
	for i := range 40 {
		w.Observe(&mail.Event{ID: fmt.Sprint(i), Reply: strings.Repeat("r", 900)})
		w.Reopen()
	}
	if _, wrong := f.counts(); wrong == 0 {
		t.Fatal("the disk was never full")
	}
	if b, err := os.ReadFile(cfg.File); err != nil || len(b) > 0 && b[len(b)-1] != '\n' {
		t.Errorf("the file ends within a line (%v)", err)
	}
	os.Remove(ballast)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, cfg.File); len(got) != 40 {
		t.Errorf("%d lines, want 40", len(got))
	}
}

// TestWriterOpensLate: a folder that comes later, as a mount does.
func TestWriterOpensLate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "late")
	cfg := Config{File: filepath.Join(dir, "j.jsonl"), RotateSize: 1 << 20}
	w := open(t, cfg)
	w.Observe(&mail.Event{ID: "early"})
	w.Reopen()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Observe(&mail.Event{ID: "late"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, cfg.File); len(got) != 2 {
		t.Errorf("read %v", got)
	}
}

// TestWriterFollowsItsName: logrotate with create and with copytruncate, and rm.
func TestWriterFollowsItsName(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(file string) error
		old  bool // what came before is in file.1
	}{
		{"renamed", func(f string) error { return os.Rename(f, f+".1") }, true},
		{"renamed and made anew", func(f string) error {
			return errors.Join(os.Rename(f, f+".1"), os.WriteFile(f, nil, 0o644))
		}, true},
		{"copied and cut", func(f string) error {
			b, err := os.ReadFile(f)
			return errors.Join(err, os.WriteFile(f+".1", b, 0o600), os.Truncate(f, 0))
		}, true},
		{"removed", os.Remove, false},
		{"replaced by another file", func(f string) error {
			return errors.Join(os.WriteFile(f+".new", nil, 0o600), os.Link(f, f+".1"), os.Rename(f+".new", f))
		}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 20}
			w := open(t, cfg)
			w.Observe(&mail.Event{ID: "before"})
			w.Reopen()
			w.Observe(&mail.Event{ID: "between"})
			if err := row.do(cfg.File); err != nil {
				t.Fatal(err)
			}
			w.Reopen()
			w.Observe(&mail.Event{ID: "after"})
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got := ids(t, cfg.File); !slices.Equal(got, []string{"between", "after"}) {
				t.Errorf("the file of that name holds %v", got)
			}
			if row.old {
				if got := ids(t, cfg.File+".1"); !slices.Equal(got, []string{"before"}) {
					t.Errorf("the old file holds %v", got)
				}
			}
		})
	}
}

// TestWriterNeverSetsAsideOntoAnotherFile: a clock that stands still, or steps
// back to a time that was already there.
func TestWriterNeverSetsAsideOntoAnotherFile(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 10}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return at }})
	for i := range 5 {
		w.Observe(&mail.Event{ID: fmt.Sprint(i)})
		w.Reopen()
	}
	w.Close()
	aside, err := SetAside(cfg.File)
	if err != nil || len(aside) != 4 {
		t.Fatalf("set aside %v, %v", aside, err)
	}
	if got := ids(t, append(aside, cfg.File)...); len(got) != 5 {
		t.Errorf("lines %v", got)
	}
}

// TestWriterKeepsTheNewestWhateverTheClockSays: files set aside behind a step back by a
// year are neither removed first nor read first.
func TestWriterKeepsTheNewestWhateverTheClockSays(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 10, Keep: 3}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return at }})
	for i := range 10 {
		if i == 5 {
			at = at.AddDate(-1, 0, 0)
		}
		at = at.Add(time.Minute)
		w.Observe(&mail.Event{ID: fmt.Sprint(i)})
		w.Reopen()
	}
	w.Close()
	aside, err := SetAside(cfg.File)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(t, append(aside, cfg.File)...); !slices.Equal(got, []string{"6", "7", "8", "9"}) {
		t.Errorf("lines %v, want the newest, in order", got)
	}
}

// TestReadGoesOnBehindALineThatWasCut: a crash, a full disk or a power failure
// in the middle of a journal must not hide what came later.
func TestReadGoesOnBehindALineThatWasCut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j.jsonl")
	os.WriteFile(name, []byte("{\"id\":\"1\"}\n{\"id\":\"cu\n\x00\x00\x00{\"id\":\"2\"}\n\x00\x00\n{\"id\":\"3\"}\n"), 0o600)
	if got := ids(t, name); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("read %v", got)
	}
}

// TestWriterTakesOnlyAFileOfItsOwn: no pipe, whose reader could stop all mail,
// and in the state folder no file that has another name.
func TestWriterTakesOnlyAFileOfItsOwn(t *testing.T) {
	for _, row := range []struct {
		name          string
		noLink, wrong bool
		make          func(file, precious string) error
	}{
		{"a hard link in the state folder", true, true, func(file, precious string) error { return os.Link(precious, file) }},
		{"a hard link elsewhere", false, false, func(file, precious string) error { return os.Link(precious, file) }},
		{"a pipe in the state folder", true, true, func(file, _ string) error { return syscall.Mkfifo(file, 0o600) }},
		{"a pipe elsewhere", false, true, func(file, _ string) error { return syscall.Mkfifo(file, 0o600) }},
		{"a file", true, false, func(file, _ string) error { return os.WriteFile(file, nil, 0o600) }},
	} {
		dir := t.TempDir()
		file, precious := filepath.Join(dir, "j.jsonl"), filepath.Join(dir, "precious")
		if err := os.WriteFile(precious, []byte("precious\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := row.make(file, precious); err != nil {
			t.Fatal(err)
		}
		var f faults
		w := Open(Config{File: file, RotateSize: 1 << 20}, Options{Log: slog.New(slog.DiscardHandler), Report: f.report, NoLink: row.noLink})
		w.Observe(&mail.Event{ID: "x"})
		w.Close()
		if _, wrong := f.counts(); wrong > 0 != row.wrong {
			t.Errorf("%s: %d faults", row.name, wrong)
		}
		if b, _ := os.ReadFile(precious); row.wrong && string(b) != "precious\n" {
			t.Errorf("%s: the other name has %q", row.name, b)
		}
	}
}

// TestWriterFollowsNoLinkInTheStateFolder: its target stays as it is, also when
// the link comes while the journal is open.
func TestWriterFollowsNoLinkInTheStateFolder(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "precious")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, late := range []bool{false, true} {
		cfg := Config{File: filepath.Join(dir, fmt.Sprint(late)), RotateSize: 1 << 20}
		if !late {
			os.Symlink(target, cfg.File)
		}
		var f faults
		w := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Report: f.report, NoLink: true})
		if late {
			os.Remove(cfg.File)
			os.Symlink(target, cfg.File)
		}
		w.Observe(&mail.Event{ID: "x"})
		w.Close()
		if _, wrong := f.counts(); wrong == 0 {
			t.Errorf("late %v: no fault was reported", late)
		}
		if b, _ := os.ReadFile(target); string(b) != "precious" {
			t.Errorf("late %v: the target is %q", late, b)
		}
	}
}
