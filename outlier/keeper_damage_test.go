package outlier

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// suspendByHand makes a folder in which an operator has suspended two senders
// and released one of them again.
func suspendByHand(t *testing.T, dir string) *rig {
	t.Helper()
	r := newRigIn(t, dir, nil, nil)
	for _, name := range []string{"stolen@x.example", "well@x.example"} {
		if _, err := r.Suspend(Order{Scope: Sender, Name: name, By: "ops"}); err != nil {
			t.Fatal(err)
		}
	}
	r.tick()
	if _, err := r.Release(Order{Scope: Sender, Name: "well@x.example", By: "ops"}); err != nil {
		t.Fatal(err)
	}
	r.tick()
	r.kill()
	return r
}

// TestSuspensionsByHandSurviveADamagedFile: whatever has become of the file of
// states, who was suspended by hand stays so, who was released does not come
// back, and the file is kept under another name.
func TestSuspensionsByHandSurviveADamagedFile(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"garbage":     func(b []byte) []byte { return []byte("\x00\x01garbage\nmore\n") },
		"NULs":        func(b []byte) []byte { return append(make([]byte, len(b)), '\n') },
		"a bad line":  func(b []byte) []byte { return append([]byte("{\n"), b...) },
		"empty lines": func(b []byte) []byte { return []byte("{}\n{}\n") },
		"too large":   func(b []byte) []byte { return append(b, make([]byte, 64<<20)...) },
		"empty":       func(b []byte) []byte { return nil },
		"zeros":       func(b []byte) []byte { return make([]byte, len(b)) },
		"cut short":   func(b []byte) []byte { return b[:20] },
		"a line gone": func(b []byte) []byte { return linesWithout(b, "stolen@") },
		"removed":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := suspendByHand(t, dir)
			file := filepath.Join(dir, "states.jsonl")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if damage == nil {
				os.Remove(file)
			} else {
				b = damage(b)
				os.WriteFile(file, b, 0o600)
			}
			r.open(dir, nil, nil)
			if !r.Judge("shop", "", "stolen@x.example").Refuse() || r.Judge("shop", "", "well@x.example").Refuse() {
				t.Errorf("states %v", r.states)
			}
			r.tick()
			r.kill()
			aside, _ := filepath.Glob(file + ".damaged-*")
			if damage == nil {
				return
			}
			if len(aside) != 1 {
				t.Fatalf("set aside: %q", aside)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(b) {
				t.Error("what was set aside is not what was there")
			}
		})
	}
}

// linesWithout leaves out the lines that hold a word.
func linesWithout(b []byte, word string) (rest []byte) {
	for line := range bytes.Lines(b) {
		if !bytes.Contains(line, []byte(word)) {
			rest = append(rest, line...)
		}
	}
	return rest
}

// TestWatchSetsAsideWhatIsNoFolder: something else lies where its folder was.
func TestWatchSetsAsideWhatIsNoFolder(t *testing.T) {
	for name, place := range map[string]func(path string) error{
		"a file":          func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"a pipe":          func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a dangling link": func(path string) error { return os.Symlink("/nonexistent/x", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "outlier")
			if err := place(dir); err != nil {
				t.Fatal(err)
			}
			r := newRigIn(t, dir, nil, nil)
			r.message()
			r.tick()
			r.kill()
			if _, err := os.Stat(filepath.Join(dir, "states.jsonl")); err != nil {
				t.Error(err)
			}
			if aside, _ := filepath.Glob(dir + ".damaged-*"); len(aside) != 1 {
				t.Errorf("set aside: %q", aside)
			}
		})
	}
}

// TestWatchGoesOnWithoutADisk: a folder on a disk that is read-only at the
// start, and can be written later.
func TestWatchGoesOnWithoutADisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_RDONLY, "size=1m"); err != nil {
		t.Fatalf("run the tests as root: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	dir := filepath.Join(disk, "outlier")
	r := newRigIn(t, dir, nil, nil)
	if _, err := r.Suspend(Order{Scope: Sender, Name: "stolen@x.example", By: "ops"}); err != nil {
		t.Fatal(err)
	}
	r.message()
	r.tick()
	if !r.Judge("shop", "", "stolen@x.example").Refuse() {
		t.Error("a suspension is not in force without a disk")
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	r.tick()
	r.tick()
	r.kill()
	r.open(dir, nil, nil)
	defer r.kill()
	if !r.Judge("shop", "", "stolen@x.example").Refuse() {
		t.Error("what was suspended without a disk was not written when there was one")
	}
	if d, err := r.Show(Sender, "a@x.example"); err != nil || d.Messages != 1 {
		t.Errorf("what was counted without a disk: %+v, %v", d, err)
	}
	if files, _ := os.ReadDir(dir); !strings.Contains(files[0].Name(), "counts-") {
		t.Errorf("files %v", files)
	}
}
