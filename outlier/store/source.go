package store

import (
	"iter"
	"log/slog"
	"sync"
	"time"

	"postern/outlier/detector"
	"postern/outlier/networks"
)

// Source is the watch whose counts and states are kept on disk and shared through
// Redis.
type Source struct {
	Log      *slog.Logger
	Detector *detector.Detector
	// Places are where users are.
	Places *networks.Memory
	// Lock guards the detector, the places and the states. Now, States, Merge, Adopt and Take are
	// called with it held, and so are Disk.Note, Disk.State and the methods of Link of
	// these names.
	Lock sync.Locker
	// Now is the time of the watch, which never goes back.
	Now func() time.Time
	// States are all there are.
	States func() iter.Seq[*State]
	// Name is the one name of a sender, user or client: an older release kept them by
	// the letters as they were sent.
	Name func(detector.Who) string
	// Count counts an event of an earlier run, and Take one of another node.
	Count, Take func(*detector.Event)
	// Merge takes a state of another node. Adopt takes one that an older release has
	// left under another spelling, and reports whether it holds.
	Merge func(*State)
	Adopt func(*State) bool
	// Tell tells the changes that Merge and Adopt have led to; Lock is not held.
	Tell func()
}
