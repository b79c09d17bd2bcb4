package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
)

// TestServeRefusesAStateFolderThatOthersCanWrite.
func TestServeRefusesAStateFolderThatOthersCanWrite(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	for _, row := range []struct {
		name, says string
		make       func(dir, elsewhere string) error
	}{
		{"anybody", `state_dir: .*can be written by others \(mode 0777\); chmod go-w it`, func(dir, _ string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777))
		}},
		{"a group", `state_dir: .*can be written by others \(mode 2770\)|state_dir: .*\(mode 0770\)`, func(dir, _ string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770|os.ModeSetgid))
		}},
		{"a link to such a one", `state_dir: .*can be written by others`, func(dir, elsewhere string) error {
			return errors.Join(os.Chmod(elsewhere, 0o777), os.Symlink(elsewhere, dir))
		}},
		{"counts elsewhere", `state_dir: .*outlier is a link`, func(dir, elsewhere string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Symlink(elsewhere, filepath.Join(dir, "outlier")))
		}},
		{"the lock elsewhere", `state_dir: .*lock is a link`, func(dir, elsewhere string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Symlink(filepath.Join(elsewhere, "x"), filepath.Join(dir, "lock")))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			writeFile(t, filepath.Join(dir, "relay.toml"), basic(up, ""))
			if err := row.make(filepath.Join(dir, "state"), elsewhere); err != nil {
				t.Fatal(err)
			}
			p := startRelayIn(t, dir)
			p.expect(row.says)
			if status := p.wait(); status != cli.Fault {
				t.Errorf("status %d", status)
			}
		})
	}
}

// TestServeTakesTheLinkOfDynamicUser: systemd makes the folder itself a link.
func TestServeTakesTheLinkOfDynamicUser(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	dir, private := t.TempDir(), filepath.Join(t.TempDir(), "postern")
	writeFile(t, filepath.Join(dir, "relay.toml"), basic(up, ""))
	if err := errors.Join(os.Mkdir(private, 0o700), os.Symlink(private, filepath.Join(dir, "state"))); err != nil {
		t.Fatal(err)
	}
	p := startRelayIn(t, dir)
	p.address("mta")
	p.stop()
}

// TestServeFollowsNoLinksInItsState: what links of state files and of the journal
// point to stays as it is.
func TestServeFollowsNoLinksInItsState(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	dir, precious := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	writeFile(t, filepath.Join(dir, "relay.toml"), basic(up, `strangers_file = "state/strangers.jsonl"`))
	writeFile(t, precious, "precious")
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(state, "outlier"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"strangers.jsonl", ".probe", "limits.snapshot", "limits.snapshot.new", "suppressions.json", "suppressions.json.new",
		"listings.json.new", "outlier/states.jsonl.new", "outlier/suspended.jsonl.new",
	} {
		if err := os.Symlink(precious, filepath.Join(state, name)); err != nil {
			t.Fatal(err)
		}
	}
	p := startRelayIn(t, dir)
	p.address("mta")
	p.stop()
	if got := string(readFile(t, precious)); got != "precious" {
		t.Errorf("the target is %q", got)
	}
}
