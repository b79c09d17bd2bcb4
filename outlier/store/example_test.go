package store_test

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"postern/outlier/detector"
	"postern/outlier/store"
)

// A suspension is on the disk before it takes effect, so that a process that is killed
// does not forget it.
func Example() {
	dir, err := os.MkdirTemp("", "outlier")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)

	watch := func() *store.Disk {
		states := map[detector.Who]*store.State{}
		d := detector.New(detector.Settings{Sensitivity: 1, Growth: 0.05, HalfLife: 60 * 24 * time.Hour, MaxSenders: 1000, MaxKnown: 10_000}, detector.Seed{1, 2})
		disk, err := store.OpenDisk(&store.Source{
			Log: slog.New(slog.DiscardHandler), Detector: d, Lock: new(sync.Mutex), Now: func() time.Time { return now },
			States: func() iter.Seq[*store.State] { return maps.Values(states) },
			Name:   func(who detector.Who) string { return who.Name },
			Count:  func(ev *detector.Event) { d.Count(ev, nil) },
		}, dir, nil)
		if err != nil {
			fmt.Println(err)
			return nil
		}
		found, err := disk.Load()
		if err != nil {
			fmt.Println(err)
		}
		for _, s := range found.States {
			fmt.Println(s.Scope, s.Name, "is", s.Level)
			states[s.Who()] = s
		}
		if err := disk.Begin(); err != nil {
			fmt.Println(err)
		}
		return disk
	}

	killed := watch()
	killed.State(&store.State{Scope: detector.Sender, Name: "anna@example.org", Level: store.Suspended, Since: now})
	after := watch() // nobody has closed the first one
	after.Close()
	// Output:
	// sender anna@example.org is suspend
}
