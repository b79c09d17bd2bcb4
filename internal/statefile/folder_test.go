package statefile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFolderThatOthersCanWriteIsRefused: any of them could put a link there.
func TestFolderThatOthersCanWriteIsRefused(t *testing.T) {
	for mode, fine := range map[os.FileMode]bool{
		0o700: true, 0o750: true, 0o755: true, 0o777: false, 0o770: false, 0o775: false, 0o702: false,
		os.ModeSticky | 0o777: false, os.ModeSetgid | 0o770: false,
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		link := dir + ".link"
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		if err := CheckFolder(dir, true); (err == nil) != fine {
			t.Errorf("%v: %v", mode, err)
		}
		if err := CheckFolder(link, true); (err == nil) != fine { // as DynamicUser makes it
			t.Errorf("%v by a link: %v", mode, err)
		}
		if err := CheckFolder(link, false); !errors.Is(err, errLink) {
			t.Errorf("%v by a link within: %v", mode, err)
		}
	}
	if err := CheckFolder(filepath.Join(t.TempDir(), "none"), true); err != nil {
		t.Error(err)
	}
}

func TestFolderOfAnotherUserIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatalf("run the tests as root: %v", err)
	}
	if err := CheckFolder(dir, true); err == nil || !strings.Contains(err.Error(), "uid 12345") {
		t.Error(err)
	}
}

func TestParentThatEverybodyCanWriteIsNamed(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "parent")
	dir := filepath.Join(parent, "between", "state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o755: "", 0o777: parent, os.ModeSticky | 0o777: ""} {
		if err := os.Chmod(parent, mode); err != nil {
			t.Fatal(err)
		}
		if got := OpenParent(dir); got != want {
			t.Errorf("%v: %q, want %q", mode, got, want)
		}
	}
}

// TestLinksAreNotFollowed: whoever made one would choose what is emptied,
// replaced, read or locked.
func TestLinksAreNotFollowed(t *testing.T) {
	for _, row := range []struct {
		name, link string
		do         func(dir string) error
	}{
		{"replaced", "f.new", func(dir string) error { return New(filepath.Join(dir, "f"), 100).Write([]byte("ours")) }},
		{"read", "f", func(dir string) error { _, err := New(filepath.Join(dir, "f"), 100).Read(); return err }},
		{"locked", "lock", func(dir string) error { _, err := Lock(dir); return err }},
		{"opened", "f", func(dir string) error {
			_, err := Open(filepath.Join(dir, "f"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
			return err
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, target := t.TempDir(), filepath.Join(t.TempDir(), "precious")
			err := errors.Join(os.WriteFile(target, []byte("precious"), 0o600), os.Symlink(target, filepath.Join(dir, row.link)))
			if err != nil {
				t.Fatal(err)
			}
			if err := row.do(dir); !errors.Is(err, errLink) {
				t.Errorf("error %v", err)
			}
			if b, _ := os.ReadFile(target); string(b) != "precious" {
				t.Errorf("the target of the link is %q", b)
			}
		})
	}
}
