package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/health"
	"postern/internal/statefile"
)

// probeEvery is how often the state folder is tried.
const probeEvery = 10 * time.Second

// openState makes the state folder and locks it. A disk that is full, broken or
// read-only is not a reason not to relay: what is kept there is kept in memory
// until it can be written. The error is one of the configuration.
func (n *Node) openState(dir string) error {
	n.opened.add(func(context.Context) {
		if n.state != nil {
			n.state.Close()
		}
	})
	err := n.takeState(dir)
	if err != nil && !statefile.IsDiskTrouble(err) {
		return err
	}
	n.stateWritten("folder", err)
	return nil
}

func (n *Node) takeState(dir string) error {
	if n.state != nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for folder, follow := range map[string]bool{dir: true, filepath.Join(dir, "outlier"): false} {
		if err := statefile.CheckFolder(folder, follow); err != nil {
			return err
		}
	}
	if parent := statefile.OpenParent(dir); parent != "" {
		n.log.Warn("everybody can put another folder in the place of state_dir; chmod o-w or +t the one above", "state_dir", dir, "above", parent)
	}
	lock, err := statefile.Lock(dir)
	if errors.Is(err, statefile.ErrInUse) {
		return fmt.Errorf("%s %w; stop that one, or give this one a folder of its own", dir, err)
	}
	if err != nil {
		return err
	}
	n.state = lock
	return nil
}

// stateWritten notes how the writing of a part of the state went.
func (n *Node) stateWritten(part string, err error) { n.health.Report(health.State, part, err) }

// probeState writes a file into the state folder and removes it: what is kept
// there may change rarely, and a full disk shows in nothing else.
func (n *Node) probeState(dir string) {
	n.condition.probing.Lock()
	defer n.condition.probing.Unlock()
	err := n.takeState(dir)
	if err == nil {
		err = writable(dir)
	}
	n.stateWritten("folder", err)
}

func writable(dir string) error {
	path := filepath.Join(dir, ".probe")
	f, err := statefile.Open(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		err = errors.Join(err, f.Close())
	}
	os.Remove(path)
	return err
}

// within reports whether a file lies in a folder or below it, by their names.
func within(folder, file string) bool {
	rest, err := filepath.Rel(folder, file)
	return err == nil && rest != ".." && !strings.HasPrefix(rest, "../")
}
