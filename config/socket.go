package config

import (
	"fmt"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
)

// SocketOf returns the control socket that the file at path names. It looks at
// nothing else, so that commands work for who may not read the secrets, and
// while the file has problems.
func SocketOf(path string) (string, error) {
	text, err := readBounded(path, maxFile)
	if err != nil {
		return "", fmt.Errorf("read configuration %q: %w", path, err)
	}
	f := &File{}
	f.SetDefaults()
	var some struct {
		StateDir *string `toml:"state_dir"`
		Control  struct {
			Socket string `toml:"socket"`
		} `toml:"control"`
	}
	if err := toml.Unmarshal(text, &some); err != nil {
		return "", fmt.Errorf("read configuration %q: %w", path, err)
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("read configuration %q: %w", path, err)
	}
	if some.StateDir != nil {
		f.StateDir = *some.StateDir
	}
	f.Control.Socket = some.Control.Socket
	for _, p := range []*string{&f.StateDir, &f.Control.Socket} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(full), *p)
		}
	}
	f.inState()
	return f.Control.Socket, nil
}
