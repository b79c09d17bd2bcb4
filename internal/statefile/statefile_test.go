package statefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// disk mounts a file system of that size.
func disk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("run the tests as root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func readOnly(t *testing.T, dir string, on bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if on {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("", dir, "", flags, ""); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestReplaceLeavesTheOldFileOnAnyFault: a full disk, one that is read-only, a
// writer that fails half way, a folder that is gone.
func TestReplaceLeavesTheOldFileOnAnyFault(t *testing.T) {
	dir := disk(t, "size=64k")
	f := New(filepath.Join(dir, "state"), 1<<20)
	if err := f.Write([]byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(make([]byte, 100<<10)); !errors.Is(err, syscall.ENOSPC) || !IsDiskTrouble(err) {
		t.Errorf("full disk: %v", err)
	}
	broken := errors.New("broken")
	err := f.Replace(func(w io.Writer) error { io.WriteString(w, "half"); return broken })
	if !errors.Is(err, broken) {
		t.Errorf("writer that fails: %v", err)
	}
	if n := names(t, dir); len(n) != 1 || text(t, f.Name()) != "old" {
		t.Errorf("files %q, text %q", n, text(t, f.Name()))
	}
	readOnly(t, dir, true)
	if err := f.Write([]byte("new")); !errors.Is(err, syscall.EROFS) || !IsDiskTrouble(err) || text(t, f.Name()) != "old" {
		t.Errorf("read-only disk: %v", err)
	}
	readOnly(t, dir, false)
	if err := f.Write([]byte("new")); err != nil || text(t, f.Name()) != "new" {
		t.Errorf("writable again: %v", err)
	}
	gone := New(filepath.Join(dir, "none", "state"), 1)
	if err := gone.Write(nil); !errors.Is(err, fs.ErrNotExist) || IsDiskTrouble(err) {
		t.Errorf("no folder: %v", err)
	}
}

func TestReplaceDoesNotWriteThroughALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "state.new")); err != nil {
		t.Fatal(err)
	}
	if err := New(filepath.Join(dir, "state"), 10).Write([]byte("x")); err == nil {
		t.Error("a link in the place of the new file was followed")
	}
}

func TestReadIsBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state")
	os.WriteFile(name, []byte("1234"), 0o600)
	if b, err := New(name, 4).Read(); err != nil || string(b) != "1234" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := New(name, 3).Read(); err == nil {
		t.Error("a file beyond the bound was read")
	}
	if _, err := New(name+".none", 3).Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestDamagedFilesAreNeverOverwritten: each keeps a name of its own, also
// within one second, and also where the folder cannot be written at first.
func TestDamagedFilesAreNeverOverwritten(t *testing.T) {
	dir := disk(t, "size=64k")
	f := New(filepath.Join(dir, "state"), 1<<20)
	for _, garbage := range []string{"first", "second"} {
		if err := os.WriteFile(f.Name(), []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		err := f.SetAside(errors.New("checksum"))
		if err == nil || !strings.Contains(err.Error(), "it is now "+f.Name()+".damaged-2") {
			t.Errorf("%v", err)
		}
	}
	if n := names(t, dir); len(n) != 2 {
		t.Fatalf("files %q", n)
	}
	if err := os.WriteFile(f.Name(), []byte("third"), 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly(t, dir, true)
	if err := f.SetAside(errors.New("checksum")); err == nil || !strings.Contains(err.Error(), "stays there") {
		t.Errorf("%v", err)
	}
	readOnly(t, dir, false)
	if err := f.Write([]byte("new")); err != nil || text(t, f.Name()) != "new" {
		t.Fatal(err)
	}
	all := ""
	for _, n := range names(t, dir) {
		all += text(t, filepath.Join(dir, n)) + " "
	}
	for _, want := range []string{"first", "second", "third", "new"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is gone: %s", want, all)
		}
	}
	if err := KeepCopy(f.Name(), errors.New("cut")); !strings.Contains(err.Error(), "a copy is") || text(t, f.Name()) != "new" {
		t.Errorf("%v", err)
	}
}

// TestLockHoldsOnAReadOnlyDisk, where no file can be made for it.
func TestLockHoldsOnAReadOnlyDisk(t *testing.T) {
	dir := disk(t, "size=64k")
	for _, ro := range []bool{false, true} {
		if ro {
			os.Remove(filepath.Join(dir, "lock"))
			readOnly(t, dir, true)
		}
		l, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Lock(dir); !errors.Is(err, ErrInUse) {
			t.Errorf("read-only %v: a second lock: %v", ro, err)
		}
		l.Close()
		again, err := Lock(dir)
		if err != nil {
			t.Fatalf("read-only %v: after Close: %v", ro, err)
		}
		again.Close()
	}
}

// TestReadTakesFilesOnly: a pipe would keep the relay from starting for ever.
func TestReadTakesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, dir, "/dev/zero"} {
		if _, err := New(name, 10).Read(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
