package config

import (
	"path/filepath"

	"postern/internal/shell"
)

// DefaultPath is the configuration of a relay that was installed as a service.
const DefaultPath = "/etc/postern/relay.toml"

// Command is a command of an operator as it can be pasted: for the
// configuration at path, which is named unless it is the usual one.
func Command(path string, words ...string) string {
	words = append([]string{"relay"}, words...)
	if full := FullPath(path); full != DefaultPath {
		words = append(words, "-config", full)
	}
	return shell.Command(words...)
}

// FullPath is a path as it can be used from any folder.
func FullPath(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return full
}
