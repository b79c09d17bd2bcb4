package alert

import (
	"slices"
	"sync"
	"time"
)

// MaxConditions is how many conditions about senders are known at a time, and how many
// others. What begins beyond them is counted and not told.
const MaxConditions = 10_000

// Options are what a Board is made of.
type Options struct {
	Relay string        // host name
	NewID func() string // an id that nobody else makes
}

// Board knows the conditions and the queues of all channels. It is safe for
// concurrent use.
type Board struct {
	opt Options

	mu       sync.Mutex
	known    map[string]*condition // by name
	crowd    int                   // of them about senders
	order    uint64
	over     int // conditions that found no room, since a digest told it
	channels map[string]*channel
	dirty    bool // changed since Save
	wake     chan struct{}
}

// condition is one that holds, or is about to be told.
type condition struct {
	Alert Alert
	// First and Last are when a source has reported it.
	First, Last time.Time
	Told        bool
	Order       uint64 // of its beginning
}

// New makes a board without channels.
func New(o Options) *Board {
	return &Board{opt: o, known: map[string]*condition{}, channels: map[string]*channel{}, wake: make(chan struct{})}
}

// Wake returns a channel that is closed when there may be something new to send.
func (b *Board) Wake() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wake
}

// signal wakes those who send; mu is held.
func (b *Board) signal() {
	b.dirty = true
	close(b.wake)
	b.wake = make(chan struct{})
}

// SetChannels puts other channels in force. Those that stay, by name, keep their
// queues; a new one is told what holds.
func (b *Board) SetChannels(list []Channel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := map[string]*channel{}
	for _, cfg := range list {
		c := b.channels[cfg.Name]
		if c == nil {
			c = &channel{cfg: cfg}
			for _, k := range b.told() {
				c.tell(b.notice(k.Alert, Open, k.Alert.ID))
			}
		}
		c.cfg = cfg
		next[cfg.Name] = c
	}
	b.channels = next
	b.signal()
}

// told are the conditions that were told, in the order in which they began.
func (b *Board) told() (list []*condition) {
	for _, c := range b.known {
		if c.Told {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(x, y *condition) int {
		switch {
		case x.Order < y.Order:
			return -1
		case x.Order > y.Order:
			return 1
		}
		return 0
	})
	return list
}

// Sync reports all conditions of a kind that hold now: those that are new begin, and
// those that are missing end.
func (b *Board) Sync(kind string, list []Alert, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	here := make(map[string]bool, len(list))
	for _, a := range list {
		a.Kind = kind
		here[b.report(a, now)] = true
	}
	for name, c := range b.known {
		if c.Alert.Kind == kind && !here[name] {
			b.gone(name, c, "", now)
		}
	}
}

// Open reports one condition that holds; it lasts until Close, or until Sync of its
// kind does not have it.
func (b *Board) Open(a Alert, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report(a, now)
}

// Close ends a condition; reason is why, or blank.
func (b *Board) Close(name, reason string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.known[name]; c != nil {
		c.Last = time.Time{}
		b.gone(name, c, reason, now)
	}
}

// report notes that a condition holds, and returns its name.
func (b *Board) report(a Alert, now time.Time) string {
	a.bound()
	if c := b.known[a.Condition]; c != nil {
		c.Last = now
		c.Alert.renew(&a)
		b.due(c, now)
		return a.Condition
	}
	if b.full(a.crowd()) {
		b.over++
		return a.Condition
	}
	a.Relay, a.Severity, a.Docs = b.opt.Relay, kindOf(a.Kind).severity, DocsOf(a.Kind)
	if a.Since.IsZero() {
		a.Since = now
	}
	b.order++
	c := &condition{Alert: a, First: now, Last: now, Order: b.order}
	b.known[a.Condition] = c
	b.crowd += rank(&a)
	b.due(c, now)
	return a.Condition
}

// full reports whether there is no room for another condition, about a sender or not.
func (b *Board) full(crowd bool) bool {
	if crowd {
		return b.crowd >= MaxConditions
	}
	return len(b.known)-b.crowd >= MaxConditions
}

// renew takes over what a later report says of the same condition.
func (a *Alert) renew(later *Alert) {
	a.Summary, a.Reason, a.Until = later.Summary, later.Reason, later.Until
	if later.Numbers != nil {
		a.Numbers = later.Numbers
	}
	if later.Commands != nil {
		a.Commands = later.Commands
	}
}

// due tells a condition that has held long enough.
func (b *Board) due(c *condition, now time.Time) {
	if c.Told || now.Sub(c.First) < kindOf(c.Alert.Kind).after {
		return
	}
	c.Told, c.Alert.ID = true, b.opt.NewID()
	b.tell(b.notice(c.Alert, Open, c.Alert.ID))
}

// gone ends a condition that has been away for long enough.
func (b *Board) gone(name string, c *condition, reason string, now time.Time) {
	if c.Told && now.Sub(c.Last) < kindOf(c.Alert.Kind).clear {
		return
	}
	delete(b.known, name)
	b.crowd -= rank(&c.Alert)
	if !c.Told {
		return
	}
	a := b.notice(c.Alert, Resolved, b.opt.NewID())
	a.Ended = now
	if !c.Last.IsZero() { // it was last seen then
		a.Ended = c.Last
	}
	a.Commands = a.Commands[:min(len(a.Commands), 1)] // nothing is left to be done
	if reason != "" {
		a.Reason = oneLine(cut(reason, maxText))
	}
	b.tell(a)
}

func (b *Board) notice(a Alert, status, id string) Alert {
	a.Opened, a.ID, a.Status = a.ID, id, status
	return a
}

// tell gives a notice to each channel that wants its kind.
func (b *Board) tell(a Alert) {
	for _, c := range b.channels {
		c.tell(a)
	}
	b.signal()
}

// Conditions are those that hold and were told, in the order in which they began.
func (b *Board) Conditions() (list []Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.told() {
		list = append(list, b.notice(c.Alert, Open, c.Alert.ID))
	}
	return list
}

// Find is the condition that holds with the notice id that it began with.
func (b *Board) Find(id string) (Alert, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.known {
		if c.Told && c.Alert.ID == id {
			return b.notice(c.Alert, Open, id), true
		}
	}
	return Alert{}, false
}

// OfKind are the conditions of a kind that hold, told or not: a source reports again
// what it cannot see at the moment.
func (b *Board) OfKind(kind string) (list []Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.known {
		if c.Alert.Kind == kind {
			list = append(list, c.Alert)
		}
	}
	return list
}
