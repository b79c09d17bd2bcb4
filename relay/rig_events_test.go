package relay

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/syntax"
	"postern/mail"
)

// events keeps what the server reports.
type events struct {
	mu    sync.Mutex
	all   []*mail.Event
	added chan struct{} // closed at the next event
}

func (e *events) Observe(ev *mail.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := *ev // whose slices are used again
	c.To, c.Authors, c.Limits = slices.Clone(ev.To), slices.Clone(ev.Authors), slices.Clone(ev.Limits)
	e.all = append(e.all, &c)
	if e.added != nil {
		close(e.added)
		e.added = nil
	}
}

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.all)
}

// wait returns event i as soon as it is there.
func (e *events) wait(t testing.TB, i int) *mail.Event {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		e.mu.Lock()
		if len(e.all) > i {
			defer e.mu.Unlock()
			return e.all[i]
		}
		if e.added == nil {
			e.added = make(chan struct{})
		}
		added := e.added
		e.mu.Unlock()
		select {
		case <-added:
		case <-limit:
			t.Fatalf("no event %d within a minute", i)
		}
	}
}

// testLog writes log lines to the test's own log while it runs.
type testLog struct {
	t    testing.TB
	mu   sync.Mutex
	done bool
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done {
		l.t.Log(strings.TrimSuffix(string(b), "\n"))
	}
	return len(b), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	l.done = true
	l.mu.Unlock()
}

func parseAddress(s string) (mail.Address, error) { return syntax.LenientMailbox(s, true) }
