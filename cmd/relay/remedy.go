package main

import (
	"path/filepath"

	"postern/internal/shell"
)

// commandFor is a command of an operator as it can be pasted: for the
// configuration at path, which is named unless it is the usual one.
func commandFor(path string, words ...string) string {
	words = append([]string{"relay"}, words...)
	if full, err := filepath.Abs(path); err == nil && full != configDefault {
		words = append(words, "-config", full)
	}
	return shell.Command(words...)
}

// command is one for this node.
func (n *node) command(words ...string) string { return commandFor(n.file().Path(), words...) }
