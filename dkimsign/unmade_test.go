package dkimsign

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestNoKeyIsMadeOnAReadOnlyDisk: the relay starts, and the domain's mail is not
// taken for signed; a Load after the disk can be written makes the key.
func TestNoKeyIsMadeOnAReadOnlyDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_RDONLY, "size=1m"); err != nil {
		t.Fatalf("run the tests as root: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	cfg := map[string]DomainConfig{"example.org": {Generate: true, Require: true,
		Keys: []KeyConfig{{Selector: "s", File: filepath.Join(disk, "keys", "s.pem"), Type: Ed25519}}}}
	for _, made := range []bool{false, true} {
		s, err := Load(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.For("example.org").Sign([]byte("From: a@example.org\r\n\r\n"), NewBodyHash(), time.Now())
		if (err == nil) != made || (len(s.Unmade()) == 0) != made {
			t.Errorf("made %v: Sign says %v, unmade %v", made, err, s.Unmade())
		}
		if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
	}
}
