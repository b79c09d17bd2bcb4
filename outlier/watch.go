package outlier

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	"postern/mail"
)

// Watch counts what senders, users and clients do and keeps their states. It is
// safe for concurrent use.
type Watch struct {
	log     *slog.Logger
	changes func(Change)

	mu     sync.Mutex
	cfg    Config
	tuning tuning
	clock  clock
	seed   seed
	meters map[key]*meter
	known  *known
	states map[key]*State
	queue  []Change // to be told once mu is free
}

// key names a sender, user or client.
type key struct{ scope, name string }

// Options are what a Watch is made of.
type Options struct {
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: says nothing
	Changes func(Change)     // hears each change of state, in order; must not block; nil: none
}

// New makes a watch that has seen nothing yet.
func New(cfg Config, o Options) (*Watch, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watch{
		log: o.Log, changes: o.Changes, cfg: cfg, tuning: newTuning(&cfg), clock: newClock(o.Now),
		meters: map[key]*meter{}, known: newKnown(cfg.MaxKnown), states: map[key]*State{},
	}
	var random [16]byte
	rand.Read(random[:]) // never fails since Go 1.24
	w.seed = seed{binary.LittleEndian.Uint64(random[:]), binary.LittleEndian.Uint64(random[8:])}
	return w, nil
}

// SetConfig puts other settings in force. Counts, records and states stay.
func (w *Watch) SetConfig(cfg Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cfg, w.tuning = cfg, newTuning(&cfg)
}

// Judge says whether mail of this client, user and reverse-path may go on. At
// AUTH, from is ""; user is "" without SASL; from is an Address.Key.
func (w *Watch) Judge(client, user, from string) Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.states) == 0 {
		return Verdict{}
	}
	now := w.clock.read()
	for _, k := range [...]key{{Client, client}, {User, user}, {Sender, from}} {
		if s := w.states[k]; s != nil && k.name != "" && !s.Shadow && s.stands(now) {
			if s.Level == Suspended {
				return Verdict{Scope: k.scope, Name: k.name, Level: Suspended, Until: s.Until}
			}
		}
	}
	return Verdict{}
}

// Observe counts a finished transaction and takes the steps that follow.
func (w *Watch) Observe(ev *mail.Event) {
	w.mu.Lock()
	w.observe(ev)
	queue := w.queue
	w.queue = nil
	w.mu.Unlock()
	for _, c := range queue {
		w.tell(c)
	}
}

func (w *Watch) tell(c Change) {
	level := slog.LevelInfo
	if c.To >= Alerted {
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, "outlier", "scope", c.Scope, "name", c.Name, "from", c.From.String(), "to", c.To.String(), "reason", c.Reason)
	if w.changes != nil {
		w.changes(c)
	}
}

func (w *Watch) observe(ev *mail.Event) {
	if ev.Client == "" {
		return
	}
	now := w.clock.read().Unix()
	client := w.seed.hash(ev.Client)
	var a amount
	for i := range ev.To {
		r := &ev.To[i]
		switch {
		case r.Outcome == mail.Relayed:
		case r.Outcome == mail.Rejected && (r.Rule == "upstream" || r.Class != ""):
			a[refused]++
		default:
			continue
		}
		a[sent]++
		if h := w.seed.hash(r.Address); !w.known.has(client, h) {
			a[fresh]++
			if r.Outcome == mail.Relayed {
				w.known.add(client, h)
			}
		}
	}
	if a[sent] == 0 {
		return
	}
	for _, k := range [...]key{{Sender, ev.From}, {User, ev.User}, {Client, ev.Client}} {
		if k.name == "" {
			continue
		}
		m := w.meters[k]
		if m == nil {
			m = &meter{last: now, born: int32(now / 86400)}
			w.meters[k] = m
		}
		m.add(now, a)
		if score := float64(m.score(&w.tuning)); score >= w.cfg.Volume.Suspend && w.cfg.Volume.Suspend > 0 {
			w.raise(k, Suspended, score)
		}
		m.learn(&w.tuning)
		if s := w.states[k]; s != nil && s.Level == Suspended {
			break // it explains this mail; the wider ones are not to blame
		}
	}
}

// raise puts k into a state that is harder than its present one.
func (w *Watch) raise(k key, to Level, score float64) {
	now := w.clock.read()
	s := w.states[k]
	if s == nil {
		s = &State{Scope: k.scope, Name: k.name}
		w.states[k] = s
	}
	if s.stands(now) && s.Level >= to {
		return
	}
	from := s.Level
	s.Level, s.Since, s.Until, s.Score = to, now, now.Add(w.cfg.Expiry.Throttle), score
	s.Shadow = w.cfg.Mode == Shadow
	w.queue = append(w.queue, Change{State: *s, From: from, To: to, Time: now})
}
