package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config"
)

// TestStateFolderIsLookedAt, before a start fails on it.
func TestStateFolderIsLookedAt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := &config.File{StateDir: dir}
	expect := func(what, want string) {
		t.Helper()
		for _, own := range []bool{false, true} {
			err := StateFolder(f, own)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s, own %v: %v, want %q", what, own, err, want)
			}
		}
	}
	expect("not there yet", "")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	expect("ours alone", "")
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	expect("open to a group", "can be written by others (mode 0770)")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "outlier")); err != nil {
		t.Fatal(err)
	}
	expect("a link in it", "is a link")
	f.StateDir = filepath.Join(dir, "outlier", "none", "x")
	expect("none above it", "")
}

// TestStateFolderOfTheRelaysUser: whoever else asks hears nothing of whose folder it is.
func TestStateFolderOfTheRelaysUser(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Logf("needs root to give a folder away; looked at ours only")
		return
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	f := &config.File{StateDir: dir}
	if err := StateFolder(f, false); err != nil {
		t.Error(err)
	}
	if err := StateFolder(f, true); err == nil || !strings.Contains(err.Error(), "belongs to another user (uid 65534)") {
		t.Error(err)
	}
}
