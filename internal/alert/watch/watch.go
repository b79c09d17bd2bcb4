// Package watch finds in the events of mail what is worth an alert: an upstream that
// takes nothing, a stream whose mail receivers refuse, a limit that is nearly used up.
// It also remembers the last events, so that an alert can name the transaction that led
// to it. All of it is bounded, whatever senders do.
package watch

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"postern/internal/alert"
	"postern/mail"
)

// Thresholds; docs/alerts.md has them.
const (
	// NoSuccessAfter is how long an upstream takes nothing while mail for it is deferred.
	NoSuccessAfter = 15 * time.Minute
	// quiet is how long such a condition lasts when clients do not try again.
	quiet = 2 * time.Hour
	// minDeferred is how many transactions must have been deferred.
	minDeferred = 2

	refusedShare = 0.10 // of what receivers answered within an hour, from here on
	mendedShare  = 0.07 // until here
	minAnswered  = 100

	nearShare = 0.8
	farShare  = 0.7
	maxNear   = 1000
	maxNames  = 200 // upstreams and streams
)

// Watch is a mail.Observer. It is safe for concurrent use.
type Watch struct {
	now   func() time.Time
	start time.Time

	mu     sync.Mutex
	recent recent
	ways   map[string]*way
	rates  map[string]*rate
	near   map[nearKey]*near
}

// New begins to watch.
func New(now func() time.Time) *Watch {
	return &Watch{now: now, start: now(), ways: map[string]*way{}, rates: map[string]*rate{}, near: map[nearKey]*near{}}
}

// way is what became of the mail for one upstream.
type way struct {
	success     time.Time
	first, last time.Time // of the deferrals since then
	deferred    int       // transactions
	id, reply   string    // of the last one
}

// rate counts what receivers answered to a stream's recipients, by five minutes.
type rate struct {
	buckets [12]bucket
	high    bool
	id      string // of the last transaction that was refused
	reply   string
}

type bucket struct {
	slot              int64
	answered, refused int
}

const bucketSeconds = 300

// nearKey names a window of a limit for one key.
type nearKey struct {
	limit, key, unit string
	window           time.Duration
}

// near is one that is nearly used up, or was within the window.
type near struct {
	used, max     int64
	since, until  time.Time
	id            string
	client, user  string
	refusedLately bool
}

// Observe takes an event in.
func (w *Watch) Observe(e *mail.Event) {
	if e.Client == "" {
		return
	}
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recent.add(e)
	if e.Upstream != "" {
		w.answers(e, now)
	}
	for i := range e.Limits {
		w.limit(e, &e.Limits[i], now)
	}
}

// answers counts what the upstream said of each recipient.
func (w *Watch) answers(e *mail.Event, now time.Time) {
	taken, refused, deferred := 0, 0, false
	reply := ""
	for i := range e.To {
		r := &e.To[i]
		switch {
		case r.Rule != "upstream":
		case r.Code/100 == 2:
			taken++
		case r.Code/100 == 5:
			refused++
			reply = fmt.Sprintf("%d %s %s", r.Code, r.Status, r.Reply)
		case r.Code/100 == 4 && (r.Said == nil || r.Said.About != mail.AboutRecipient):
			deferred = true
			reply = fmt.Sprintf("%d %s %s", r.Code, r.Status, r.Reply)
		}
	}
	if e.Err != "" && deferred {
		reply = e.Err
	}
	u := entry(w.ways, e.Upstream)
	switch {
	case taken+refused > 0: // it answers, and not only "later"
		*u = way{success: now}
	case deferred:
		if u.first.IsZero() {
			u.first = now
		}
		u.last, u.id, u.reply = now, e.ID, reply
		u.deferred++
	}
	if taken+refused > 0 {
		s := entry(w.rates, e.Stream)
		s.add(now, taken+refused, refused)
		if refused > 0 {
			s.id, s.reply = e.ID, reply
		}
	}
}

// entry is that of a name, made when missing. Names are of the configuration; past the
// bound all share one.
func entry[T any](m map[string]*T, name string) *T {
	if m[name] == nil && len(m) >= maxNames {
		name = ""
	}
	if m[name] == nil {
		m[name] = new(T)
	}
	return m[name]
}

func (r *rate) add(now time.Time, answered, refused int) {
	slot := now.Unix() / bucketSeconds
	b := &r.buckets[slot%int64(len(r.buckets))]
	if b.slot != slot {
		*b = bucket{slot: slot}
	}
	b.answered += answered
	b.refused += refused
}

// sum is that of the last hour.
func (r *rate) sum(now time.Time) (answered, refused int) {
	slot := now.Unix() / bucketSeconds
	for _, b := range r.buckets {
		if slot-b.slot < int64(len(r.buckets)) && b.slot <= slot {
			answered, refused = answered+b.answered, refused+b.refused
		}
	}
	return answered, refused
}

// limit notes how much of a window is used.
func (w *Watch) limit(e *mail.Event, l *mail.LimitEvent, now time.Time) {
	if l.Shadow || l.Max <= 0 {
		return
	}
	k := nearKey{l.Limit, l.Key, l.Unit, l.Window}
	n, share := w.near[k], float64(l.Used)/float64(l.Max)
	switch {
	case n != nil && share < farShare && !l.Refused:
		delete(w.near, k)
	case n == nil && share < nearShare && !l.Refused:
	case n == nil && len(w.near) >= maxNear:
	default:
		if n == nil {
			n = &near{since: now}
			w.near[k] = n
		}
		n.used, n.max, n.until, n.id, n.client, n.user = l.Used, l.Max, now.Add(l.Window), e.ID, e.Client, e.Party()
		n.refusedLately = l.Refused
	}
}

// NoSuccess are the upstreams that have taken nothing for NoSuccessAfter while mail for
// them was deferred. held are those told before a restart: of an upstream that has not
// taken anything since, nobody knows better.
func (w *Watch) NoSuccess(held []alert.Alert) (list []alert.Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, name := range slices.Sorted(maps.Keys(w.ways)) {
		u := w.ways[name]
		if u.deferred < minDeferred || now.Sub(u.first) < NoSuccessAfter || now.Sub(u.last) > quiet {
			continue
		}
		list = append(list, alert.Alert{
			Condition: "no_success upstream " + name, Since: u.first,
			Summary: fmt.Sprintf("upstream %s has taken no mail for %s, and %d transactions were deferred", name, now.Sub(u.first).Round(time.Minute), u.deferred),
			Reason:  u.reply, Numbers: map[string]float64{"deferred": float64(u.deferred), "minutes": now.Sub(u.first).Round(time.Minute).Minutes()},
			About: alert.About{Scope: "upstream", Name: name, Upstream: name, Transaction: u.id},
		})
	}
	for _, a := range held {
		if u := w.ways[a.About.Upstream]; (u == nil || u.success.IsZero() && u.last.IsZero()) && now.Sub(w.start) < quiet {
			list = append(list, a)
		}
	}
	return list
}

// Refusals are the streams of whose recipients receivers refuse a tenth or more.
func (w *Watch) Refusals(held []alert.Alert) (list []alert.Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, name := range slices.Sorted(maps.Keys(w.rates)) {
		r := w.rates[name]
		answered, refused := r.sum(now)
		share := float64(refused) / float64(max(answered, 1))
		r.high = answered >= minAnswered && share >= refusedShare || r.high && answered > 0 && share > mendedShare
		if !r.high {
			continue
		}
		list = append(list, alert.Alert{
			Condition: "refusals stream " + name,
			Summary:   fmt.Sprintf("receivers refused %d of %d recipients of stream %s within an hour (%.0f %%)", refused, answered, name, 100*share),
			Reason:    "the last refusal: " + r.reply,
			Numbers:   map[string]float64{"refused": float64(refused), "answered": float64(answered), "share": share},
			About:     alert.About{Scope: "stream", Name: name, Stream: name, Transaction: r.id},
		})
	}
	for _, a := range held {
		if w.rates[a.About.Stream] == nil && now.Sub(w.start) < time.Hour {
			list = append(list, a)
		}
	}
	return list
}

// NearLimits are the limits that are used to 80 %, until they are used to less than 70
// or their window has passed.
func (w *Watch) NearLimits(held []alert.Alert) (list []alert.Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	here := map[string]bool{}
	for k, n := range w.near {
		if !now.Before(n.until) {
			delete(w.near, k)
			continue
		}
		a := alert.Alert{
			Condition: fmt.Sprintf("near_limit %s %s %s %s", k.limit, k.key, k.unit, k.window), Since: n.since, Until: n.until,
			Summary: fmt.Sprintf("limit %s is used to %d of %d %s in %s for %s", k.limit, n.used, n.max, k.unit, k.window, k.key),
			Numbers: map[string]float64{"used": float64(n.used), "max": float64(n.max)},
			About:   alert.About{Scope: "limit", Name: k.limit, Client: n.client, User: n.user, Transaction: n.id},
		}
		if n.refusedLately {
			a.Reason = "it has no room, and mail waits"
		}
		here[a.Condition] = true
		list = append(list, a)
	}
	for _, a := range held {
		if !here[a.Condition] && a.Since.Before(w.start) && now.Before(a.Until) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(x, y alert.Alert) int { return x.Since.Compare(y.Since) })
	return list
}
