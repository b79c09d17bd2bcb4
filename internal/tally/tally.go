// Package tally counts what became of mail: by hour and stream over five weeks, by
// minute over the last two hours, and by upstream over the last hour. A page can say with
// it what is usual without reading the journal. All of it is bounded, whatever senders do:
// only streams and upstreams of the configuration are counted, 200 of each at most.
package tally

import (
	"maps"
	"slices"
	"sync"
	"time"

	"postern/mail"
)

const (
	// Kept is how far back hours are known: five weeks.
	Kept = 35 * 24

	keptMinutes = 120
	maxNames    = 200 // streams, and upstreams
)

// Count is what became of recipients within a time. A transaction that was refused before
// its first recipient counts as one.
type Count struct {
	Relayed  uint32 `json:"relayed"`
	Deferred uint32 `json:"deferred"`
	Refused  uint32 `json:"refused"`
}

// All is the number of recipients.
func (c Count) All() int { return int(c.Relayed) + int(c.Deferred) + int(c.Refused) }

// Plus is the sum.
func (c Count) Plus(d Count) Count {
	return Count{c.Relayed + d.Relayed, c.Deferred + d.Deferred, c.Refused + d.Refused}
}

// Hour is the number of a whole hour since 1970 in UTC.
type Hour int64

// HourOf is the hour that a time lies in.
func HourOf(t time.Time) Hour { return Hour(t.Unix() / 3600) }

// Time is when the hour begins.
func (h Hour) Time() time.Time { return time.Unix(int64(h)*3600, 0) }

// Tally is a mail.Observer. It is safe for concurrent use.
type Tally struct {
	now func() time.Time

	mu      sync.Mutex
	begin   Hour // the first one that is known as a whole
	streams map[string]*series
	ways    map[string]*way
	changed bool
}

// series is what became of the mail of one stream.
type series struct {
	hours   [Kept]slot
	minutes [keptMinutes]slot
}

// slot is one hour or minute of a ring: at says which, since 1970.
type slot struct {
	at int64
	Count
}

// New has counted nothing yet.
func New(now func() time.Time) *Tally {
	return &Tally{now: now, begin: HourOf(now()) + 1, streams: map[string]*series{}, ways: map[string]*way{}}
}

// Observe implements mail.Observer.
func (t *Tally) Observe(e *mail.Event) { t.add(e, t.now(), true, true) }

// countOf counts the recipients of an event.
func countOf(e *mail.Event) (c Count) {
	outcome := func(outcome string) {
		switch outcome {
		case mail.Relayed:
			c.Relayed++
		case mail.Deferred:
			c.Deferred++
		case mail.Rejected:
			c.Refused++
		}
	}
	for i := range e.To {
		if to := &e.To[i]; to.Outcome != mail.Relayed || to.Left() {
			outcome(to.Outcome)
		}
	}
	if len(e.To) == 0 {
		outcome(e.Outcome)
	}
	return c
}

// add counts an event that ended at a time, among the hours, what is of the last hour, or
// both.
func (t *Tally) add(e *mail.Event, ended time.Time, hours, lately bool) {
	if e.Client == "" || e.Stream == "" {
		return
	}
	c := countOf(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := named(t.streams, e.Stream); s != nil && c != (Count{}) {
		if hours {
			count(s.hours[:], int64(HourOf(ended)), c)
			t.changed = true
		}
		if lately {
			count(s.minutes[:], ended.Unix()/60, c)
		}
	}
	if e.Upstream != "" && lately {
		if w := named(t.ways, e.Upstream); w != nil {
			w.add(e, ended)
		}
	}
}

// named is what a map has under a name; nil where it is full.
func named[T any](m map[string]*T, name string) *T {
	v := m[name]
	if v == nil && len(m) < maxNames {
		v = new(T)
		m[name] = v
	}
	return v
}

// count adds to a place of a ring; what is older than the ring is left out.
func count(ring []slot, at int64, c Count) {
	s := &ring[at%int64(len(ring))]
	switch {
	case s.at == at:
		s.Count = s.Plus(c)
	case s.at < at:
		*s = slot{at, c}
	}
}

// Stream is what became of the mail of one stream.
type Stream struct {
	Name string
	// Hours are the last Kept hours, the present one last.
	Hours []Count
	// Last are the last 60 minutes.
	Last Count
}

// Report is what is known at one moment.
type Report struct {
	Now time.Time
	// Begin is the first hour that is known as a whole.
	Begin Hour
	// Streams are those that had mail, by name.
	Streams []Stream
}

// First is the hour of the first number of Stream.Hours.
func (r *Report) First() Hour { return HourOf(r.Now) - Kept + 1 }

// Report tells of streams.
func (t *Tally) Report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Report{Now: t.now(), Begin: t.begin}
	first, minute := int64(r.First()), r.Now.Unix()/60
	for _, name := range slices.Sorted(maps.Keys(t.streams)) {
		s := t.streams[name]
		one := Stream{Name: name, Hours: make([]Count, Kept)}
		for i := range s.hours {
			if at := s.hours[i].at; at >= first && at < first+Kept {
				one.Hours[at-first] = s.hours[i].Count
			}
		}
		for i := range s.minutes {
			if at := s.minutes[i].at; at > minute-60 && at <= minute {
				one.Last = one.Last.Plus(s.minutes[i].Count)
			}
		}
		r.Streams = append(r.Streams, one)
	}
	return r
}

// Sum is all streams as one.
func (r *Report) Sum() Stream {
	sum := Stream{Hours: make([]Count, Kept)}
	for i := range r.Streams {
		for h, c := range r.Streams[i].Hours {
			sum.Hours[h] = sum.Hours[h].Plus(c)
		}
		sum.Last = sum.Last.Plus(r.Streams[i].Last)
	}
	return sum
}
