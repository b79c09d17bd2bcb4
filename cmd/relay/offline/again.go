package offline

import (
	"time"

	"postern/internal/eventlog"
)

// lookAgain searches a second time where the first finds nothing: what a running relay has
// just done gets into its journal a moment later. search reports whether it has found
// anything, or will not find it later either.
func lookAgain(search func() (done bool, err error), wait func()) error {
	done, err := search()
	if done || err != nil {
		return err
	}
	wait()
	_, err = search()
	return err
}

// untilWritten waits until a relay that is not behind has written what it knew before.
func untilWritten() { time.Sleep(2 * eventlog.FlushEvery) }
