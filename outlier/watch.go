package outlier

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"postern/mail"
	"postern/outlier/brake"
	"postern/outlier/detector"
	"postern/outlier/store"
)

// Watch counts what senders, users and clients do and keeps their states. It is
// safe for concurrent use.
type Watch struct {
	log     *slog.Logger
	changes func(Change)
	parse   func(string) (mail.Address, error) // nil: ASCII only
	disk    *store.Disk                        // nil: nothing is kept on disk
	link    *store.Link                        // nil: nothing is shared
	listed  func(client string, from netip.Addr) string

	mu       sync.Mutex
	rules    *rules
	clock    clock
	detector *detector.Detector
	states   map[detector.Who]*State
	scopes   scopes // that have had one
	// admitted are the recipients of transactions under way that Admit has let
	// through, by the id of the transaction.
	admitted  map[string]admitted
	flights   flights
	near      uint16 // of what a message needs, so that it is fetched
	found     found  // verdicts of scanners
	places    elsewhere
	strangers *brake.Book[detector.Who]
	forgotten forgotten
	learned   map[string]Learned // of clients' past, by a journal
	queue     []Change           // to be told once mu is free
	event     detector.Event     // room for that of one message, with its recipients

	telling sync.Mutex // so that changes are told in order
}

// Options are what a Watch is made of.
type Options struct {
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: says nothing
	Changes func(Change)     // hears each change of state, in order; must not block; nil: none
	// Parse reads "local@domain" with U-labels; nil knows ASCII only. Operators
	// and SASL users write such.
	Parse func(string) (mail.Address, error)
	// Dir is where counts and states are kept over a restart; made when missing.
	// "": nowhere.
	Dir string
	// Report is told how each try to write there went; nil: nobody.
	Report func(error)
	// Listed is the blocklist that lists the address of a client's user, as far as is
	// known now, "" for none. It must not block. Nil: none is asked.
	Listed func(client string, from netip.Addr) string
	// Shared makes one state for all nodes with the same Redis; nil: each node
	// watches by itself.
	Shared *Shared
}

// New makes a watch and reads what an earlier one has left in Options.Dir. Run
// must be called for anything to be kept or shared.
func New(cfg Config, o Options) (*Watch, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r, err := newRules(cfg, o.Parse)
	if err != nil {
		return nil, err
	}
	w := &Watch{log: o.Log, changes: o.Changes, parse: o.Parse, listed: o.Listed, rules: r, clock: newClock(o.Now), states: map[detector.Who]*State{}, admitted: map[string]admitted{}, found: newFound(),
		flights: flights{of: map[string]flight{}, by: map[uint64]traffic{}}}
	w.strangers = brake.NewBook[detector.Who]()
	w.detector = detector.New(cfg.settings(), randomSeed())
	as, err := openASFile(cfg.ASTable, asFile{})
	if err != nil {
		return nil, err
	}
	w.places = openNetworks(o.Dir, cfg.MaxSenders/4, o.Shared != nil, o.Log)
	w.places.useTable(as)
	src := w.source()
	if o.Dir != "" {
		if err := w.load(src, &o); err != nil {
			return nil, fmt.Errorf("outlier: %w", err)
		}
	}
	if o.Shared != nil {
		w.link = store.NewLink(src, o.Shared)
	}
	return w, nil
}

// source is what disk and Redis need of the watch.
func (w *Watch) source() *store.Source {
	return &store.Source{
		Log: w.log, Detector: w.detector, Places: w.places.memory, Lock: &w.mu, Now: w.clock.read, Name: w.nameOf,
		States: func() iter.Seq[*State] { return maps.Values(w.states) },
		Count:  w.count, Take: w.take, Merge: w.merge, Adopt: w.adopt, Tell: w.tell,
	}
}

// load reads what an earlier watch has left on disk.
func (w *Watch) load(src *store.Source, o *Options) (err error) {
	if w.disk, err = store.OpenDisk(src, o.Dir, o.Report); err != nil {
		return err
	}
	found, err := w.disk.Load()
	if err != nil {
		return err
	}
	w.clock.notBefore(found.Latest)
	now := w.clock.read()
	for _, s := range found.States {
		w.joinState(s, now)
	}
	return w.disk.Begin()
}

func randomSeed() detector.Seed {
	var random [detector.SeedSize]byte
	rand.Read(random[:]) // never fails since Go 1.24
	return detector.ReadSeed(random[:])
}

// SetConfig puts other settings in force. Counts, records and states stay;
// MaxSenders and MaxKnown hold from the next start on.
func (w *Watch) SetConfig(cfg Config) error {
	use, err := w.Prepare(cfg)
	if err == nil {
		use()
	}
	return err
}

// Prepare reads the files that other settings name, and changes nothing. use puts the
// settings in force, and cannot fail.
func (w *Watch) Prepare(cfg Config) (use func(), err error) {
	r, err := newRules(cfg, w.parse)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	last := w.places.as
	w.mu.Unlock()
	as, err := openASFile(cfg.ASTable, last)
	if err != nil {
		return nil, err
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rules = r
		w.places.useTable(as)
		w.detector.Set(cfg.settings())
	}, nil
}

// Run ends states whose time is over, keeps counts on disk and shares them with
// other nodes, until ctx ends; then it writes what is left.
func (w *Watch) Run(ctx context.Context) {
	var wait sync.WaitGroup
	if w.link != nil {
		wait.Go(func() { w.link.Run(ctx) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.tick()
		case <-ctx.Done():
			wait.Wait()
			w.keepNetworks(true)
			if w.disk != nil {
				w.disk.Close()
			}
			return
		}
	}
}

// tick does what is due: Run calls it every second.
func (w *Watch) tick() {
	w.mu.Lock()
	w.expire(w.clock.read())
	w.mu.Unlock()
	w.tell()
	w.tellForgotten()
	if w.disk != nil {
		w.disk.Tick()
	}
	w.keepNetworks(false)
}

// keepNetworks writes where users are, and tells of a failure.
func (w *Watch) keepNetworks(anyway bool) {
	if err := w.saveNetworks(time.Now(), anyway); err != nil {
		w.log.Error("networks of users not written", "err", err)
	}
}

// Judge says whether mail of this client, user and reverse-path may go on. At
// AUTH, from is ""; user is "" without SASL, else a mail.User.
func (w *Watch) Judge(client, user string, from mail.Identity) Judgment {
	w.mu.Lock()
	defer w.unlock()
	if len(w.states) == 0 {
		return Judgment{}
	}
	states, any := w.statesOf(client, user, user, senderName(from))
	if !any {
		return Judgment{}
	}
	v := w.judge(w.clock.read(), &states, false, 1, 0)
	if !v.Refuse() && from != "" {
		admit(&states, 1)
	}
	return v
}

// unlock releases mu and tells what has changed meanwhile.
func (w *Watch) unlock() {
	news := len(w.queue) > 0
	w.mu.Unlock()
	if news {
		w.tell()
	}
}

// senderName is the name under which a sender is kept; "" for the null
// reverse-path, which belongs to no sender.
func senderName(from mail.Identity) string {
	if from == mail.NullSender {
		return ""
	}
	return string(from)
}

// statesOf are the states of those that a message of a mail.Party belongs to, the widest
// first, nil where one has none: where a client has told a submitter, its user, too. any
// says whether one has. What the watch has found in a sender's mail of which nobody knows
// who submitted it holds no mail of users and submitters: anybody can have written that name
// there. It makes no strings: it is asked about every message, and hardly anybody has a state.
func (w *Watch) statesOf(client, user, party, sender string) (states [5]*State, any bool) {
	if w.scopes.has(scopeClient) {
		states[0] = w.states[detector.Who{Scope: Client, Name: client}]
	}
	if user != "" && party != user && w.scopes.has(scopeUser) {
		states[1] = w.states[detector.Who{Scope: User, Name: user}]
	}
	if party != "" && w.scopes.has(scopeUser|scopeMailbox) {
		states[2] = w.states[detector.PartyWho(party)]
	}
	if sender != "" && w.scopes.has(scopeSender) {
		states[4] = w.states[detector.Who{Scope: Sender, Name: sender}]
	}
	if party != "" && sender != "" {
		if w.scopes.has(scopeUserSender) {
			var room [128]byte
			name := detector.AppendNames(room[:0], party, sender)
			states[3] = w.states[detector.Who{Scope: UserSender, Name: string(name)}]
		}
		if s := states[4]; s != nil && OfUnnamed(s) {
			states[4] = nil
		}
	}
	return states, states != [5]*State{}
}

// judge looks at the states that are in shadow, or at those that are not: the first
// suspended one decides, else the first that is over its pace. n is how many recipients
// are to go, of which was have been let through before.
func (w *Watch) judge(now time.Time, states *[5]*State, shadow bool, n, was int) (held Judgment) {
	for _, s := range states {
		if s == nil {
			continue
		}
		w.lapse(s, now)
		if s.Shadow != shadow || s.Level < Throttled {
			continue
		}
		k := s.Who()
		v := judgmentOn(k)
		v.Level, v.Until, v.Unnamed = s.Level, s.Until, OfUnnamed(s)
		if s.Level == Throttled {
			wait := w.detector.Pace(now.Unix(), k, n, max(0, s.Pending-was), !shadow, w.rules.expect(now))
			if wait == 0 {
				continue
			}
			v.Until = now.Add(wait)
			if v.Until.After(s.Until) {
				v.Until = s.Until
			}
		}
		if !v.Until.IsZero() {
			v.left = max(v.Until.Sub(now), time.Second)
		}
		if v.Level == Suspended {
			return v
		}
		if !held.Refuse() {
			held = v
		}
	}
	return held
}

// verdictOn is a verdict because of k; that of a sender as a user uses it names the
// sender.
func judgmentOn(k detector.Who) Judgment {
	if k.Scope == UserSender {
		_, sender := detector.SplitNames(k.Name)
		return Judgment{Scope: Sender, Name: sender}
	}
	return Judgment{Scope: k.Scope, Name: k.Name}
}

// admit notes recipients of throttled submitters that are on their way, beside
// those of the same transaction that were before.
func admit(states *[5]*State, more int) {
	for _, s := range states {
		if s != nil && s.Level == Throttled {
			s.Pending = max(0, s.Pending+more)
		}
	}
}

// maxAdmitted bounds the transactions under way of which Admit remembers how many
// recipients they have.
const maxAdmitted = 100_000

// Admit says whether a transaction that Judge has let through may go on now, with so many
// recipients: before 354, and again before anything is forwarded. A throttled submitter
// must keep to its pace in recipients, in which those on their way count; anybody else is
// deferred when the messages on their way would, once sent, lead to a state that defers. id
// is the ID of the mail.Event that Observe gets at the end. submitter is "" until the
// header has come, and where it names none.
func (w *Watch) Admit(id, client, user, submitter, stream string, from mail.Identity, recipients int) Judgment {
	w.mu.Lock()
	defer w.unlock()
	if len(w.states) > 0 {
		if v := w.admitByState(id, client, user, submitter, from, recipients); v.Refuse() {
			return v
		}
	}
	return w.takeOff(id, client, mail.Party(user, submitter), stream, from, recipients)
}

// admitted is a transaction under way that has been let through.
type admitted struct {
	n         int    // recipients
	submitter string // for whom they count beside the others; "" before the header
}

// admitByState is Admit for those with a state.
func (w *Watch) admitByState(id, client, user, submitter string, from mail.Identity, recipients int) Judgment {
	was := w.underWay(id)
	if was.submitter != submitter { // it was under way for others
		states, _ := w.statesOf(client, user, mail.Party(user, was.submitter), senderName(from))
		admit(&states, -was.n)
		was = admitted{submitter: submitter}
		w.admits(id, was)
	}
	states, any := w.statesOf(client, user, mail.Party(user, submitter), senderName(from))
	if !any {
		return Judgment{}
	}
	v := w.judge(w.clock.read(), &states, false, recipients, was.n)
	if !v.Refuse() && w.admits(id, admitted{recipients, submitter}) {
		admit(&states, recipients-was.n)
	}
	return v
}

// admits notes what was let through; false where there is no room for it.
func (w *Watch) admits(id string, a admitted) bool {
	if _, known := w.admitted[id]; !known && len(w.admitted) >= maxAdmitted {
		return false
	}
	w.admitted[id] = a
	return true
}

// underWay says for whom and with how many recipients a transaction was let through
// so far: with one at MAIL, where nobody knows how many there will be.
func (w *Watch) underWay(id string) admitted {
	if a, ok := w.admitted[id]; ok {
		return a
	}
	return admitted{n: 1}
}

func (w *Watch) changed(c Change) {
	w.queue = append(w.queue, c)
	if w.disk != nil {
		w.disk.State(&c.State)
	}
	if w.link != nil && c.Cause != CauseExpired {
		w.link.State(&c.State)
	}
}

// tell hands changes to the log and to Options.Changes, in their order.
func (w *Watch) tell() {
	w.telling.Lock()
	defer w.telling.Unlock()
	w.mu.Lock()
	queue := w.queue
	w.queue = nil
	w.mu.Unlock()
	for i := range queue {
		c := &queue[i]
		at := slog.LevelInfo
		if c.Level >= Alerted && c.Level > c.From {
			at = slog.LevelWarn
		}
		attrs := []any{"scope", c.Scope, "name", c.Name, "client", c.Client, "was", c.From.String(), "is", c.Level.String(),
			"cause", c.Cause, "reason", c.Reason}
		if c.Rule != "" {
			attrs = append(attrs, "rule", c.Rule, "score", fmt.Sprintf("%.2f", c.Score))
		}
		if !c.Until.IsZero() {
			attrs = append(attrs, "until", c.Until)
		}
		if c.By != "" {
			attrs = append(attrs, "by", c.By)
		}
		if c.Shadow {
			attrs = append(attrs, "shadow", true)
		}
		w.log.Log(context.Background(), at, "outlier", attrs...)
		if w.changes != nil {
			w.changes(*c)
		}
	}
}
