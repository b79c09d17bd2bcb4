package main

import (
	"postern/config"
	"postern/ratelimit"
)

// openStore opens where counts are kept.
func (n *node) openStore(file *config.File) (ratelimit.Store, error) {
	return ratelimit.NewEmbedded(file.Store, nil), nil
}
