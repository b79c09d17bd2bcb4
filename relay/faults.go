package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postern/internal/plain"
)

// faultLog logs faults, one line for each cause in ten seconds; that line counts
// those before it that were not logged. It is safe for concurrent use.
type faultLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string]*faultCause
}

type faultCause struct {
	line    rate.Sometimes
	dropped int
}

const (
	faultEvery  = 10 * time.Second
	faultCauses = 1000 // remembered at one time
)

func (f *faultLog) report(cause string, err error, attrs ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.cause(cause + " " + rootOf(err))
	c.dropped++
	c.line.Do(func() {
		attrs = append([]any{"err", plain.QuoteControls(err.Error())}, attrs...)
		if c.dropped > 1 {
			attrs = append(attrs, "not_logged", c.dropped-1)
		}
		c.dropped = 0
		f.log.Error("fault in "+cause, attrs...)
	})
}

func (f *faultLog) cause(key string) *faultCause {
	if f.seen == nil || len(f.seen) >= faultCauses {
		f.seen = map[string]*faultCause{}
	}
	if f.seen[key] == nil {
		f.seen[key] = &faultCause{line: rate.Sometimes{Interval: faultEvery}}
	}
	return f.seen[key]
}

// rootOf is the innermost error's type, which does not vary with addresses and
// ids in its text.
func rootOf(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("%T", err)
		}
		err = next
	}
}
