package eventlog

import (
	"sync"
	"time"

	"postern/mail"
)

const (
	// fruitlessLines is how many transactions of one client that came to nothing are
	// told one by one in ten seconds.
	fruitlessLines = 500
	// fruitlessKinds is how many kinds of the others are told apart.
	fruitlessKinds = 50
)

// Fruitless hands events of clients on to log and journal: those of messages as they
// come, and those of transactions that came to nothing within a budget of 500 in ten
// seconds for each client. Whoever has a client's password, or runs on its host, ends a
// hundred thousand of these in a second, and would turn everybody's journal over within
// minutes. What finds no room is counted, and told by one event, the last of its client,
// stage and rule, with the number in Times. It is safe for concurrent use, and its
// memory is bounded by the number of clients.
type Fruitless struct {
	next []mail.Observer
	now  func() time.Time

	mu      sync.Mutex
	began   time.Time // of the present ten seconds
	clients map[string]*fruitlessClient
}

// fruitlessClient is what a client has had in the present ten seconds.
type fruitlessClient struct {
	told int
	by   map[fruitlessKind]*mail.Event // with the number in Times
}

type fruitlessKind struct{ stage, rule string }

// NewFruitless hands events on to next. A nil now is time.Now.
func NewFruitless(next []mail.Observer, now func() time.Time) *Fruitless {
	if now == nil {
		now = time.Now
	}
	return &Fruitless{next: next, now: now, clients: map[string]*fruitlessClient{}}
}

// Observe takes one event.
func (f *Fruitless) Observe(e *mail.Event) {
	if e.Outcome == mail.Relayed || e.Stage == mail.StageForward {
		f.pass(e)
		return
	}
	f.Tell()
	if f.count(e) {
		f.pass(e)
	}
}

// count reports whether the event is to be told now.
func (f *Fruitless) count(e *mail.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clients[e.Client]
	if c == nil {
		c = &fruitlessClient{by: map[fruitlessKind]*mail.Event{}}
		f.clients[e.Client] = c
	}
	if c.told < fruitlessLines {
		c.told++
		return true
	}
	kind := fruitlessKind{e.Stage, e.Rule}
	if c.by[kind] == nil && len(c.by) >= fruitlessKinds {
		kind = fruitlessKind{rule: "others"}
	}
	times := 1
	if last := c.by[kind]; last != nil {
		times += last.Times
	}
	last := *e
	last.To, last.Times = []mail.RecipientEvent{}, times
	if kind.stage == "" {
		last.Rule = kind.rule
	}
	c.by[kind] = &last
	return false
}

// Tell hands on what has been counted, once the ten seconds are over. The caller calls
// it now and then, so that the last of it is told, too.
func (f *Fruitless) Tell() {
	for _, e := range f.due() {
		f.pass(e)
	}
}

// Close hands on what is left.
func (f *Fruitless) Close() {
	f.mu.Lock()
	f.began = time.Time{}
	f.mu.Unlock()
	f.Tell()
}

// due begins the next ten seconds and returns what is to be told of the last ones.
func (f *Fruitless) due() (events []*mail.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if since := now.Sub(f.began); since >= 0 && since < strangersEvery {
		return nil
	}
	for _, c := range f.clients {
		for _, e := range c.by {
			events = append(events, e)
		}
	}
	f.began = now
	clear(f.clients)
	return events
}

func (f *Fruitless) pass(e *mail.Event) {
	for _, o := range f.next {
		o.Observe(e)
	}
}
