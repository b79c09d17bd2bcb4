package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSocketOf(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, text, want string }{
		{"the default", "", filepath.Join(dir, "state/control.sock")},
		{"a state folder", `state_dir = "var"`, filepath.Join(dir, "var/control.sock")},
		{"a socket", "[control]\nsocket = \"c.sock\"", filepath.Join(dir, "c.sock")},
		{"an absolute socket", "[control]\nsocket = \"/run/c.sock\"", "/run/c.sock"},
		{"problems elsewhere", "hostnam = 3\nstate_dir = \"x\"\n[message]\nmax_size = \"?\"", filepath.Join(dir, "x/control.sock")},
		{"a line that cannot be read", "state_dir = \"x\"\n[message\nmax_size = \"1MiB\"\n[control]\nsocket = \"c.sock\"", filepath.Join(dir, "c.sock")},
		{"a password that is not here", "state_dir = \"x\"\n[redis]\npassword_file = \"none\"", filepath.Join(dir, "x/control.sock")},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, "relay.toml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := SocketOf(path)
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}
