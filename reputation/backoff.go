package reputation

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/resolve"
	"postern/internal/text"
	"postern/mail"
	"postern/reputation/bygroup"
)

// Backoff remembers which receivers have asked for less mail, and which streams are paused.
// It is safe for concurrent use and remembers at most 50,000 pairs of stream and
// destination.
//
// What a receiver says concerns those to whom it says it: first the sender that heard it,
// for 30 minutes at most; after a second sender of the same client all mail of that client
// to the destination; after a second client all mail of the stream. A wait ends by trial:
// of each client one message in five minutes goes through, and when the receiver takes it,
// all of them go on.
type Backoff struct {
	// Groups are the waits of streams for groups of receivers.
	Groups *bygroup.Memory

	now func() time.Time
	any atomic.Bool // there is a pair or a paused stream; mostly none, and then nobody needs the lock

	mu     sync.Mutex
	pairs  map[pair]*backoff
	paused map[string]*pause // by stream
}

type pair struct{ stream, domain string }

// backoff is of one pair.
type backoff struct {
	trials
	waits map[string]*wait // by client
	reply string           // the last one
}

// wait is what one client has heard.
type wait struct {
	until  time.Time
	steps  int           // refusals in a row
	sender mail.Identity // that heard it first
	wide   bool          // another sender has heard it, too
}

func (w *wait) binds(sender mail.Identity) bool { return w.wide || w.sender == sender }

type pause struct {
	trials
	until time.Time
}

// trials says when each client may try again.
type trials struct {
	began time.Time
	next  map[string]time.Time // by client; missing: trialEvery after began
}

func newTrials(now time.Time) trials { return trials{began: now, next: map[string]time.Time{}} }

// at is when the next trial of a client may be.
func (t *trials) at(client string) time.Time {
	if at, ok := t.next[client]; ok {
		return at
	}
	return t.began.Add(trialEvery)
}

func (t *trials) due(client string, now time.Time) bool { return !now.Before(t.at(client)) }

const (
	maxBackoff  = 50_000
	firstWait   = time.Minute
	longestWait = 30 * time.Minute
	// longestNamed bounds what a reply may ask for once two senders heard it.
	longestNamed = 24 * time.Hour
	// forgetWait is how long after its end a wait still counts as one in a row.
	forgetWait = 2 * time.Hour
	trialEvery = 5 * time.Minute
)

// NewBackoff makes an empty memory; now must not be nil.
func NewBackoff(now func() time.Time) *Backoff {
	return &Backoff{Groups: bygroup.New(now), now: now, pairs: map[pair]*backoff{}, paused: map[string]*pause{}}
}

// Mail is what Backoff needs to know of a message to one recipient. Client and
// stream are names in the configuration.
type Mail struct {
	Stream, Client string
	Sender         mail.Identity
	Domain         string // of the recipient
}

// Refused notes that the receiver of m wants less mail. named is the wait that its reply
// asks for; 0 stands for 1, 2, 4 ... up to 30 minutes, one step for each wait. A refusal
// during a wait prolongs it only where its reply asks for longer.
func (b *Backoff) Refused(m Mail, named time.Duration, reply string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	p := b.pairLocked(pair{m.Stream, m.Domain}, now)
	p.reply = text.Clip(resolve.Printable(reply), 200)
	w := p.waits[m.Client]
	if w == nil || now.Sub(w.until) > forgetWait {
		w = &wait{sender: m.Sender}
		p.waits[m.Client] = w
	}
	w.wide = w.wide || w.sender != m.Sender
	longest := longestWait
	if w.wide || p.othersWait(m.Client, now) {
		longest = longestNamed
	}
	if now.Before(w.until) {
		w.until = later(w.until, now.Add(min(named, longest)))
		return
	}
	d := min(firstWait<<min(w.steps, 10), longestWait)
	if named > 0 {
		d = min(named, longest)
	}
	w.steps++
	w.until = now.Add(d)
}

func (b *Backoff) pairLocked(k pair, now time.Time) *backoff {
	p := b.pairs[k]
	if p == nil {
		if len(b.pairs) >= maxBackoff {
			b.makeRoom(now)
		}
		p = &backoff{waits: map[string]*wait{}}
		b.pairs[k] = p
		b.any.Store(true)
	}
	if p.active(now) == 0 {
		p.trials = newTrials(now)
	}
	return p
}

// active is how many clients wait.
func (p *backoff) active(now time.Time) (n int) {
	for _, w := range p.waits {
		if now.Before(w.until) {
			n++
		}
	}
	return n
}

// othersWait reports whether another client waits, too.
func (p *backoff) othersWait(client string, now time.Time) bool {
	for c, w := range p.waits {
		if c != client && now.Before(w.until) {
			return true
		}
	}
	return false
}

// until is how long mail of a client's sender waits; the zero time: it does not.
func (p *backoff) until(m Mail) (at time.Time) {
	if w := p.waits[m.Client]; w != nil && w.binds(m.Sender) {
		at = w.until
	}
	if len(p.waits) < 2 {
		return at
	}
	var ends []time.Time // while two clients wait, all do
	for _, w := range p.waits {
		ends = append(ends, w.until)
	}
	slices.SortFunc(ends, time.Time.Compare)
	return later(at, ends[len(ends)-2])
}

// Relayed notes that the receiver of m took it. After a trial the wait ends for all.
func (b *Backoff) Relayed(m Mail, trial bool) {
	if !b.any.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := pair{m.Stream, m.Domain}
	p := b.pairs[k]
	if p == nil {
		return
	}
	// Without a trial it may be a message that was under way before.
	if w := p.waits[m.Client]; w != nil && !b.now().Before(w.until) {
		delete(p.waits, m.Client)
	}
	if trial || len(p.waits) == 0 {
		delete(b.pairs, k)
	}
	b.noteAnyLocked()
}

func (b *Backoff) noteAnyLocked() { b.any.Store(len(b.pairs)+len(b.paused) > 0) }

// Left is how long m waits; 0 when it may go on. trial says that it would have to wait, and
// goes through to see whether it is taken.
func (b *Backoff) Left(m Mail) (left time.Duration, trial bool) {
	if !b.any.Load() {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var waits []*trials
	if p := b.pairs[pair{m.Stream, m.Domain}]; p != nil {
		if until := p.until(m); now.Before(until) {
			left, waits = until.Sub(now), append(waits, &p.trials)
		}
	}
	if p := b.paused[m.Stream]; p != nil && now.Before(p.until) {
		// A pause may end at any moment: it is worth coming back for a trial.
		again := min(p.until.Sub(now), max(p.at(m.Client).Sub(now), time.Second))
		left, waits = max(left, again), append(waits, &p.trials)
	}
	for _, t := range waits {
		if !t.due(m.Client, now) {
			return left, false
		}
	}
	for _, t := range waits {
		t.next[m.Client] = now.Add(trialEvery)
	}
	return 0, len(waits) > 0
}

// Pause holds back all mail of a stream until a time, except for trials.
func (b *Backoff) Pause(stream string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	p := b.paused[stream]
	if p == nil || !now.Before(p.until) {
		p = &pause{trials: newTrials(now)}
		b.paused[stream] = p
	}
	p.until = later(p.until, until)
	b.any.Store(true)
}

// Resume lets a paused stream go on, and reports whether it was paused.
func (b *Backoff) Resume(stream string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.paused[stream]
	delete(b.paused, stream)
	b.noteAnyLocked()
	return p != nil && b.now().Before(p.until)
}

// End forgets what was heard for a stream, a destination or both; "" is any. A
// destination is a domain or a group of receivers. It reports how many pairs waited.
func (b *Backoff) End(stream, domain string) (n int) {
	n = b.Groups.End(stream, domain)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for k, p := range b.pairs {
		if (stream == "" || k.stream == stream) && (domain == "" || k.domain == domain) {
			if p.active(now) > 0 {
				n++
			}
			delete(b.pairs, k)
		}
	}
	b.noteAnyLocked()
	return n
}

// BackoffEntry is one entry of List.
type BackoffEntry struct {
	Stream string `json:"stream"`
	Domain string `json:"domain,omitempty"` // "" for a group, and for a whole stream, which a listing has paused
	// Provider is a group of receivers to which all mail of the stream waits; "" for the
	// others.
	Provider string `json:"provider,omitempty"`
	// Client and Sender say whose mail waits; "" stands for all.
	Client string        `json:"client,omitempty"`
	Sender mail.Identity `json:"sender,omitempty"`
	Until  time.Time     `json:"until"`
	Reply  string        `json:"reply,omitempty"` // that asked for it
}

// Destination is a domain, a group of receivers such as "provider google", or "" for a
// stream that is paused.
func (e *BackoffEntry) Destination() string {
	if e.Provider != "" {
		return "provider " + e.Provider
	}
	return e.Domain
}

// Paused returns the streams that are paused, with the end of each pause.
func (b *Backoff) Paused() map[string]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, paused := b.now(), map[string]time.Time{}
	for s, p := range b.paused {
		if now.Before(p.until) {
			paused[s] = p.until
		}
	}
	return paused
}

// Restore makes mail wait again as those entries of List say whose time is not over, and
// reports how many it took. It leaves out paused streams, which are for Monitor.Pause.
func (b *Backoff) Restore(list []BackoffEntry) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for i := range list {
		e := &list[i]
		switch {
		case !now.Before(e.Until):
			continue
		case e.Provider != "":
			b.Groups.Restore(e.Stream, e.Provider, e.Until, e.Reply)
		case e.Domain != "" && e.Client != "": // without a client it follows from those of two
			p := b.pairLocked(pair{e.Stream, e.Domain}, now)
			w := p.waits[e.Client]
			if w == nil {
				w = &wait{sender: e.Sender, wide: e.Sender == "", steps: 1}
				p.waits[e.Client], p.reply = w, e.Reply
			}
			w.until = later(w.until, e.Until)
		default:
			continue
		}
		n++
	}
	return n
}

// List returns what waits now.
func (b *Backoff) List() []BackoffEntry {
	list := b.unsorted()
	for _, e := range b.Groups.List() {
		list = append(list, BackoffEntry{Stream: e.Stream, Provider: e.Group, Until: e.Until, Reply: e.Reply})
	}
	slices.SortFunc(list, func(a, b BackoffEntry) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Client, b.Client))
	})
	return list
}

// unsorted is what waits for domains, and the streams that are paused; never nil. Mail
// waits while it is gathered, and not while it is sorted.
func (b *Backoff) unsorted() []BackoffEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	list := []BackoffEntry{}
	for s, p := range b.paused {
		if now.Before(p.until) {
			list = append(list, BackoffEntry{Stream: s, Until: p.until})
		}
	}
	for k, p := range b.pairs {
		list = append(list, p.entries(k, now)...)
	}
	return list
}

func (p *backoff) entries(k pair, now time.Time) (list []BackoffEntry) {
	if until := p.until(Mail{}); now.Before(until) {
		list = append(list, BackoffEntry{Stream: k.stream, Domain: k.domain, Until: until, Reply: p.reply})
	}
	for client, w := range p.waits {
		if !now.Before(w.until) {
			continue
		}
		e := BackoffEntry{Stream: k.stream, Domain: k.domain, Client: client, Until: w.until, Reply: p.reply}
		if !w.wide {
			e.Sender = w.sender
		}
		list = append(list, e)
	}
	return list
}

// makeRoom forgets what is over, and a tenth where that is not enough.
func (b *Backoff) makeRoom(now time.Time) {
	for k, p := range b.pairs {
		if p.active(now) == 0 {
			delete(b.pairs, k)
		}
	}
	for k := range b.pairs {
		if len(b.pairs) < maxBackoff*9/10 {
			return
		}
		delete(b.pairs, k)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
