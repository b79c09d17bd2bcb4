// Package spare is for work beside the mail, such as the reading of a journal of a year:
// it takes only so much of the processor that mail does not notice.
package spare

import (
	"context"
	"time"
)

// Rest waits four times as long as the caller has worked, a second at most, so that the
// work has a fifth of one processor; less where ctx ends.
func Rest(ctx context.Context, worked time.Duration) {
	wait := time.NewTimer(min(4*worked, time.Second))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// EachMinute calls f every minute, until ctx ends; a call that takes longer delays the
// next one.
func EachMinute(ctx context.Context, f func(context.Context)) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f(ctx)
		case <-ctx.Done():
			return
		}
	}
}
