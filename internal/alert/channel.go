package alert

import (
	"slices"
	"time"
)

const (
	// Hourly is how many notices leave a channel by themselves in any hour.
	Hourly = 30
	// HourlyKept is how many more may leave that are not about senders, of whom there
	// may be any number.
	HourlyKept = 10
	// MaxQueue is how many notices wait for a receiver; the oldest go first, those about
	// senders before others.
	MaxQueue = 1000
	// DigestEvery is the least time between two digests.
	DigestEvery = 10 * time.Minute
	// MaxDigest is how many notices a digest holds; what is left goes into the next.
	MaxDigest = 250
	// ResendEvery is how often a channel of form Active is told what holds.
	ResendEvery = time.Minute
	// gather is how long the first digest waits for more.
	gather = time.Minute
	// firstRetry and lastRetry bound the time between tries, which doubles.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// maxRefused is how often a receiver may refuse one batch for what it is, while it
	// takes others, before that is given up.
	maxRefused = 10
)

// Form is how a channel is told.
type Form int

const (
	// Each: each notice once.
	Each Form = iota
	// Active: all that holds, again and again, and what has ended once.
	Active
)

// Channel is one receiver.
type Channel struct {
	Name  string
	Form  Form
	Kinds []string // that it is told
}

// Batch is what a channel is to send at once.
type Batch struct {
	// ID is that of the one notice, or of the digest; the same in each try.
	ID     string    `json:"id"`
	Time   time.Time `json:"time"` // of its making
	Digest bool      `json:"digest"`
	Alerts []Alert   `json:"alerts"`
	// Lost is how many older notices found no room in the queue, and Over how many
	// conditions are not watched because there are too many.
	Lost int `json:"lost,omitempty"`
	Over int `json:"over,omitempty"`
}

// channel is a Channel with what it is to send. Its fields but cfg are saved.
type channel struct {
	cfg Channel

	Queue  []Alert
	Lost   int
	Sent   []time.Time // notices that left by themselves within the hour
	Digest time.Time   // when the last one was made
	Flight *Batch      // handed out and not yet answered

	fails    int
	refused  int // of Flight
	retry    time.Time
	resent   time.Time // a channel of form Active was told
	dirty    bool      // and something has changed since
	err      string
	failing  time.Time // since when
	success  time.Time
	accepted int
	dropped  int // batches given up
}

func (c *channel) wants(kind string) bool { return slices.Contains(c.cfg.Kinds, kind) }

// tell puts a notice into the queue. One of form Active keeps ends only: what holds
// it is told anyway.
func (c *channel) tell(a Alert) {
	if !c.wants(a.Kind) {
		return
	}
	c.dirty = true
	if c.cfg.Form == Active && a.Status != Resolved {
		return
	}
	c.Queue = append(c.Queue, a)
	if len(c.Queue) > MaxQueue {
		c.Lost++
		oldest := max(0, slices.IndexFunc(c.Queue, func(a Alert) bool { return a.crowd() }))
		c.Queue = slices.Delete(c.Queue, oldest, oldest+1)
	}
}

// Next is what a channel has to send now; nil when nothing is due, and then wait is
// the time until something may be, 0 for none. What it returns must be answered by
// Done before anything else of the channel is handed out.
func (b *Board) Next(name string, now time.Time) (batch *Batch, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[name]
	switch {
	case c == nil:
		return nil, 0
	case now.Before(c.retry):
		return nil, c.retry.Sub(now)
	case c.cfg.Form == Active:
		return b.active(c, now)
	case c.Flight != nil:
		return c.Flight, 0
	}
	c.Flight, wait = c.take(now, b.opt.NewID)
	if c.Flight != nil {
		if c.Flight.Digest {
			c.Flight.Over, b.over = b.over, 0
		}
		b.dirty = true
	}
	return c.Flight, wait
}

// take makes the next batch of the queue.
func (c *channel) take(now time.Time, newID func() string) (*Batch, time.Duration) {
	if len(c.Queue) == 0 {
		return nil, 0
	}
	if a, ok := c.single(now); ok {
		return &Batch{ID: a.ID, Time: now, Alerts: []Alert{a}}, 0
	}
	if wait := c.digestDue(now).Sub(now); wait > 0 {
		return nil, wait
	}
	crowdLast(c.Queue)
	n := min(len(c.Queue), MaxDigest)
	batch := &Batch{ID: newID(), Time: now, Digest: true, Alerts: slices.Clone(c.Queue[:n]), Lost: c.Lost}
	c.Queue, c.Lost, c.Digest = slices.Delete(c.Queue, 0, n), 0, now
	return batch, 0
}

// single takes the notice out of the queue that may leave by itself: the first that
// is not about a sender, else the first; ok is false where this hour has had its share.
func (c *channel) single(now time.Time) (a Alert, ok bool) {
	c.Sent = slices.DeleteFunc(c.Sent, func(t time.Time) bool { return now.Sub(t) >= time.Hour || t.After(now) })
	i, room := slices.IndexFunc(c.Queue, func(a Alert) bool { return !a.crowd() }), Hourly+HourlyKept
	if i < 0 {
		i, room = 0, Hourly
	}
	if len(c.Sent) >= room || room == Hourly && c.Lost > 0 {
		return Alert{}, false
	}
	a = c.Queue[i]
	c.Queue, c.Sent = slices.Delete(c.Queue, i, i+1), append(c.Sent, now)
	return a, true
}

// digestDue is when the next digest may leave: a while after the last one, and the
// first one waits for what comes at the same time.
func (c *channel) digestDue(now time.Time) time.Time {
	if c.Digest.After(now) { // the clock was set back
		c.Digest = time.Time{}
	}
	due := c.Digest.Add(DigestEvery)
	if n := len(c.Sent); n > 0 && c.Sent[n-1].Add(gather).After(due) {
		due = c.Sent[n-1].Add(gather)
	}
	return due
}

// active makes the batch of a channel that is told what holds.
func (b *Board) active(c *channel, now time.Time) (*Batch, time.Duration) {
	if c.resent.After(now) {
		c.resent = time.Time{}
	}
	if wait := c.resent.Add(ResendEvery).Sub(now); !c.dirty && wait > 0 {
		return nil, wait
	}
	batch := &Batch{ID: b.opt.NewID(), Time: now, Alerts: slices.Clone(c.Queue)}
	batch.Alerts = append(batch.Alerts, b.holding(c)...)
	c.dirty, c.resent = false, now
	if len(batch.Alerts) == 0 {
		return nil, 0
	}
	c.Flight = batch
	return batch, 0
}

// holding is what a channel is told as long as it holds: the newest, those about senders
// only as far as the others leave room.
func (b *Board) holding(c *channel) (list []Alert) {
	for _, k := range slices.Backward(b.told()) {
		if c.wants(k.Alert.Kind) {
			list = append(list, b.notice(k.Alert, Open, k.Alert.ID))
		}
	}
	crowdLast(list)
	list = list[:min(len(list), MaxQueue)]
	slices.Reverse(list)
	return list
}

// Result is how a try to send went.
type Result struct {
	Err error // nil: the receiver has it
	// Refused: the receiver would not take this batch for what it is; to send it
	// again does not help for long.
	Refused bool
}

// Done says how the batch that Next has handed out went. It returns what is to be
// logged: that the channel begins to fail, works again, or gave a batch up.
func (b *Board) Done(name, id string, r Result, now time.Time) (news string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[name]
	if c == nil || c.Flight == nil || c.Flight.ID != id {
		return "" // the configuration has changed meanwhile
	}
	if r.Err == nil {
		return b.taken(c, now)
	}
	c.fails++
	c.err = r.Err.Error()
	c.retry = now.Add(min(firstRetry<<min(c.fails-1, 20), lastRetry))
	if c.failing.IsZero() {
		c.failing, news = now, "fails"
	}
	if r.Refused {
		c.refused++
	}
	if c.cfg.Form == Active {
		c.dirty, c.Flight = true, nil
		c.retry = now.Add(min(firstRetry<<min(c.fails-1, 20), ResendEvery))
		return news
	}
	if c.refused >= maxRefused {
		c.Flight, c.refused, c.retry, c.fails = nil, 0, time.Time{}, 0
		c.dropped++
		b.dirty = true
		return "gave up"
	}
	return news
}

// taken notes that the receiver has what is in flight.
func (b *Board) taken(c *channel, now time.Time) (news string) {
	if c.cfg.Form == Active {
		c.forget(c.Flight)
	}
	c.Flight, c.fails, c.refused, c.retry = nil, 0, 0, time.Time{}
	c.success, c.accepted = now, c.accepted+1
	b.dirty = true
	if !c.failing.IsZero() {
		news = "works again"
	}
	c.failing, c.err = time.Time{}, ""
	return news
}

// forget removes the ends that a batch has told.
func (c *channel) forget(b *Batch) {
	told := map[string]bool{}
	for i := range b.Alerts {
		told[b.Alerts[i].ID] = true
	}
	c.Queue = slices.DeleteFunc(c.Queue, func(a Alert) bool { return told[a.ID] })
}

// ChannelState is how a channel does.
type ChannelState struct {
	Name     string    `json:"name"`
	Queued   int       `json:"queued"` // what is in flight included
	Lost     int       `json:"lost,omitempty"`
	Accepted int       `json:"accepted"` // batches, since the start
	GivenUp  int       `json:"given_up,omitempty"`
	Success  time.Time `json:"last_success,omitzero"`
	Failing  time.Time `json:"failing_since,omitzero"`
	Err      string    `json:"error,omitempty"`
}

// Channels are the states of all channels, by name.
func (b *Board) Channels() (list []ChannelState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, c := range b.channels {
		s := ChannelState{Name: name, Queued: len(c.Queue), Lost: c.Lost, Accepted: c.accepted, GivenUp: c.dropped,
			Success: c.success, Failing: c.failing, Err: c.err}
		if c.Flight != nil && c.cfg.Form == Each {
			s.Queued += len(c.Flight.Alerts)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y ChannelState) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	return list
}
