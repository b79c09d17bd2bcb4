package relay

import "time"

// stopwatch measures the stage that a transaction is in.
type stopwatch struct {
	into  *time.Duration // in the event; nil: none runs
	since time.Time
}

// clock begins to measure a stage, and ends the one before. The end of the transaction
// ends it, too, so that its event has the time of where it ended.
func (t *transaction) clock(into *time.Duration) {
	t.unclock()
	t.watch = stopwatch{into, time.Now()}
}

// unclock ends what clock has begun.
func (t *transaction) unclock() {
	if t.watch.into != nil {
		*t.watch.into += time.Since(t.watch.since)
		t.watch.into = nil
	}
}
