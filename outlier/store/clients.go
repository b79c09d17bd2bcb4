package store

import (
	"errors"
	"os"
	"time"

	"postern/internal/statefile"
	"postern/outlier/detector"
)

// Clients tells since when each client is watched, as the newest file of counts in a
// folder says; nil where there is none.
func Clients(dir string) (map[string]time.Time, error) {
	k := &Disk{dir: dir}
	gens, err := k.generations()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var last error
	for i := len(gens) - 1; i >= 0; i-- {
		b, err := statefile.New(k.path(gens[i], "snap"), maxCountsRead).Read()
		if err == nil {
			return detector.ReadClients(b)
		}
		if !errors.Is(err, os.ErrNotExist) {
			last = err
		}
	}
	return nil, last // there is none until the relay is stopped for the first time, or has counted much
}
