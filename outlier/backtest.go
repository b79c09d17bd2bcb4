package outlier

import (
	"time"

	"postern/mail"
)

// Backtest says what a watch with other settings would have said about transactions of the
// past. It is for one goroutine.
type Backtest struct {
	w   *Watch
	now time.Time
}

// NewBacktest makes a Backtest; changes is called with each change of state and the time
// that it would have had. The error is about cfg or its files.
func NewBacktest(cfg Config, changes func(Change)) (*Backtest, error) {
	// What would have been deferred was sent: it is counted apart, as in shadow.
	cfg.Mode = Shadow
	cfg.Sender, cfg.Client = shadowed(cfg.Sender), shadowed(cfg.Client)
	b := &Backtest{now: time.Unix(0, 0)}
	var err error
	b.w, err = New(cfg, Options{Now: func() time.Time { return b.now }, Changes: changes})
	return b, err
}

func shadowed(all map[string]Expectation) map[string]Expectation {
	out := make(map[string]Expectation, len(all))
	for name, e := range all {
		if e.Mode == Enforce {
			e.Mode = Shadow
		}
		out[name] = e
	}
	return out
}

// Observe takes the next transaction, in the order in which they ended, and
// reports whether it would have been deferred.
func (b *Backtest) Observe(ev *mail.Event) (deferred bool) {
	at := ev.Time.Add(ev.Duration)
	if at.Sub(b.now) >= time.Minute {
		b.w.mu.Lock()
		b.w.expire(b.w.clock.read())
		b.w.mu.Unlock()
	}
	if at.After(b.now) {
		b.now = at
	}
	if ev.Client == "" {
		return false
	}
	b.w.mu.Lock()
	deferred = b.w.observe(ev)
	b.w.mu.Unlock()
	b.w.tell()
	return deferred
}
