package main

import (
	"path/filepath"

	"postern/internal/shell"
)

// commandFor is a command of an operator as it can be pasted: for the
// configuration at path, which is named unless it is the usual one.
func commandFor(path string, words ...string) string {
	words = append([]string{"relay"}, words...)
	if full := fullPath(path); full != configDefault {
		words = append(words, "-config", full)
	}
	return shell.Command(words...)
}

// command is one for this node.
func (n *node) command(words ...string) string { return commandFor(n.file().Path(), words...) }

// fullPath is a path as it can be used from any folder.
func fullPath(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return full
}
