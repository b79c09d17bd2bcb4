package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
)

// stateOn is a configuration with the state folder at dir.
func stateOn(t *testing.T, dir, more string) string {
	t.Helper()
	return "state_dir = \"" + dir + "\"\n" + basic(smtptest.Start(t, smtptest.Options{}), more)
}

// TestRelayStartsOnAReadOnlyDisk: it says once what is wrong, relays, and
// keeps its state there as soon as it can.
func TestRelayStartsOnAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_RDONLY, "size=8m"); err != nil {
		t.Fatalf("run the tests as root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	dir := filepath.Join(disk, "state")
	p := startRelay(t, stateOn(t, dir, ""))
	p.expect("listening")
	p.expect("degraded.*what=state")
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	p.stop()
	for _, what := range []string{"state", "journal", "control"} {
		if n := p.count("msg=degraded what=" + what + " "); n > 1 {
			t.Errorf("%d lines say that %s is degraded", n, what)
		}
	}
	for _, name := range []string{"limits.snapshot", "outlier", "listings.json", "lock"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("after the disk could be written: %v", err)
		}
	}
}

// TestRelaySetsDamagedStateAside: garbage in each file of the state folder is
// an error in the log and a file beside it, and the relay starts.
func TestRelaySetsDamagedStateAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []string{"limits.snapshot", "suppressions.json", "listings.json", "history.bin", "outlier/states.jsonl"}
	if err := os.Mkdir(filepath.Join(dir, "outlier"), 0o700); err != nil {
		t.Fatal(err)
	}
	garbage := func(name string) string { return "garbage of " + name + "\n" }
	for _, name := range files {
		writeFile(t, filepath.Join(dir, name), garbage(name))
	}
	p := startRelay(t, stateOn(t, dir, ""))
	p.expect("listening")
	p.stop()
	for _, name := range files {
		aside, _ := filepath.Glob(filepath.Join(dir, name) + ".damaged-*")
		if len(aside) != 1 {
			t.Errorf("%s: set aside as %q", name, aside)
			continue
		}
		if b, err := os.ReadFile(aside[0]); err != nil || string(b) != garbage(name) {
			t.Errorf("%s: %q, %v", aside[0], b, err)
		}
		if n := strings.Count(p.output(), aside[0]); n != 1 || p.count("level=ERROR.*"+filepath.Base(aside[0])) != 1 {
			t.Errorf("%d lines name %s", n, aside[0])
		}
	}
}

// TestSecondRelayIsKeptOutOfTheFolder, also where no file can be made in it.
func TestSecondRelayIsKeptOutOfTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startRelay(t, stateOn(t, dir, ""))
	p.expect("listening")
	second := startRelay(t, stateOn(t, dir, ""))
	if status := second.wait(); status != cli.Fault {
		t.Errorf("status %d", status)
	}
	second.expect("is in use by another relay; stop that one")
	p.stop()
}

// TestControlSocketIsMadeAgain where something has removed it.
func TestControlSocketIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startRelay(t, stateOn(t, dir, ""))
	p.expect("listening")
	socket := filepath.Join(dir, "control.sock")
	eventually(t, "the socket is there", func() bool { _, err := os.Stat(socket); return err == nil })
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the socket is there again", func() bool { _, err := os.Stat(socket); return err == nil })
	p.tells(".", "status")
	p.stop()
}
