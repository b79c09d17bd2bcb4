package scan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"time"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// asker speaks the protocol of one kind. What it returns with a nil error is an
// answer that the tables know. A new kind begins here and in newScanner; its keys are in
// config.go, its address in target.go, what it has to find in canary.go, and its test
// messages in examine.go.
type asker interface {
	ask(ctx context.Context, m *Message) (Response, error)
	version(ctx context.Context) (Version, error)
}

// Scanner is one scanner with what is known of its health.
type Scanner struct {
	name     string
	cfg      Config
	hostname string
	asker    asker
	places   *places
	changed  func(ScannerState)
	now      func() time.Time
	life     *life
	proving  chan struct{} // one proof at a time
	clean    *memory
	poison   *poison

	mu       sync.Mutex
	state    ScannerState
	failures int       // in a row
	downAt   time.Time // when it was last found down
	failed   int64     // faults so far
	rounds   int64     // proofs so far
	proofAt  time.Time // when the last canary was found
	faultsAt int64     // failed, when that proof began
}

// ScannerState is the health of a scanner.
type ScannerState struct {
	Name    string
	Kind    string
	Up      bool
	Since   time.Time
	Why     string // of one that is down
	Version Version
	Proven  bool // its yes is: it found a canary
	Shadow  bool
}

// newScanner makes a scanner that is down until its first proof.
func newScanner(name, hostname string, cfg Config, changed func(ScannerState), now func() time.Time) (*Scanner, error) {
	t, err := cfg.target()
	if err != nil {
		return nil, err
	}
	kind, _ := cfg.kind()
	s := &Scanner{
		name: name, cfg: cfg, hostname: hostname, changed: changed, now: now,
		places: newPlaces(cfg.Concurrency), proving: make(chan struct{}, 1),
		clean: newMemory(), poison: newPoison(), life: newLife(),
	}
	switch kind {
	case "rspamd":
		s.asker = &rspamd{target: t, require: cfg.RequireSymbols, settings: cfg.SettingsID}
	case "clamd":
		s.asker = &clamd{target: t}
	case "icap":
		s.asker = &icap{target: t}
	case "milter":
		s.asker = &milterClient{target: t, accept: cfg.AcceptHeaders}
	default:
		return nil, fmt.Errorf("%q is not a kind of scanner", kind)
	}
	s.state = ScannerState{Name: name, Kind: kind, Since: now(), Why: "not asked yet", Shadow: cfg.Mode == Shadow}
	if cfg.Canary == 0 {
		s.state.Up, s.state.Why = true, ""
	}
	return s, nil
}

// is reports whether s is as a new configuration wants it.
func (s *Scanner) is(hostname string, cfg Config) bool {
	return s.hostname == hostname && reflect.DeepEqual(s.cfg, cfg)
}

// State is the present health of s.
func (s *Scanner) State() ScannerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// usable reports whether s may be asked: it is up, or has no canary to speak for
// it and gets a trial.
func (s *Scanner) usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Up || s.cfg.Canary == 0 && s.now().Sub(s.downAt) >= downFor
}

const (
	// maxFailures in a row, without a canary found in between, mean down.
	maxFailures = 5
	// downFor is how soon one that is down is asked again.
	downFor = 5 * time.Second
)

// ask asks once. A canary needs no free place.
func (s *Scanner) ask(ctx context.Context, m *Message) (Response, error) {
	if !m.Canary {
		leave, ok := s.places.enter(ctx, m.Client)
		if !ok {
			return Response{}, errBusy
		}
		defer leave()
	}
	return s.asker.ask(ctx, m)
}

var errBusy = errors.New("no place became free in time")

// judge asks about a message and says what is to happen to it, within the
// time-out.
func (s *Scanner) judge(ctx context.Context, m *Message, about digest) Response {
	began := time.Now()
	v := s.verdict(ctx, m, about)
	s.cfg.choose(&v)
	if v.Hopeless && v.Choice == Defer {
		v.Choice = Refuse
	}
	v.Scanner, v.Took = s.name, time.Since(began)
	return v
}

func (s *Scanner) verdict(whole context.Context, m *Message, about digest) Response {
	ctx, cancel := context.WithTimeout(whole, s.cfg.Timeout)
	defer cancel()
	switch {
	case m.Content.Size() > s.cfg.MaxSize:
		return Response{Class: TooLarge}
	case !s.usable():
		return Response{Class: Fault, Err: errors.New("scanner is down: " + s.State().Why)}
	}
	if r, ok := s.clean.get(about, s.now()); ok && s.same(ctx) {
		return Response{Class: Clean, Score: r.score, Cached: true}
	}
	if n := s.poison.faults(about, s.now()); n > 0 && s.cfg.Canary != 0 && s.same(ctx) {
		if n >= attempts {
			return hopeless()
		}
		if !s.checkWithin(ctx) {
			return Response{Class: Fault, Err: errors.New("scanner is down: " + s.State().Why)}
		}
	}
	before := s.proof()
	v, err := s.ask(ctx, m)
	switch {
	case err != nil && whole.Err() != nil:
		return Response{Class: Cut} // nobody wants the answer any more
	case err != nil && ctx.Err() != nil:
		return s.fault(about, before, fmt.Errorf("no verdict within %s: %w", s.cfg.Timeout, err))
	case err != nil:
		return s.fault(about, before, err)
	}
	s.worked()
	if v.Class == Clean {
		v.Text = ""
		s.keep(about, &v, before)
	}
	return v
}

// keep remembers a clean verdict, where a canary vouches for it.
func (s *Scanner) keep(about digest, v *Response, before proof) {
	if len(v.Fields) == 0 && (s.cfg.Canary == 0 || before.found) {
		s.clean.put(about, remembered{at: s.now(), score: v.Score})
	}
}

// hopeless is the verdict on content that has had its attempts.
func hopeless() Response {
	return Response{Class: Fault, Hopeless: true, Err: fmt.Errorf("fault %d on the same content, between canaries that were found", attempts)}
}

// fault notes a failed question. Where the scanner found a canary directly
// before, and finds one directly behind it, the content is to blame.
func (s *Scanner) fault(about digest, before proof, err error) Response {
	v := Response{Class: Fault, Err: err}
	if errors.Is(err, errBusy) {
		return v
	}
	s.failing(err)
	if s.cfg.Canary == 0 {
		return v
	}
	third := make(chan bool, 1)
	s.life.spawn(func(ctx context.Context) { third <- s.blame(ctx, about, before) })
	wait := time.NewTimer(blameWait)
	defer wait.Stop()
	select {
	case yes := <-third:
		if yes {
			return hopeless()
		}
	case <-wait.C:
	}
	return v
}

// blameWait is how long a client waits for the canary behind a fault.
const blameWait = 50 * time.Millisecond

// blame reports whether this was the last fault that a content may cause.
func (s *Scanner) blame(ctx context.Context, about digest, before proof) bool {
	if !s.check(ctx) || !before.found || s.now().Sub(before.at) > s.cfg.Canary+MaxTimeout {
		return false
	}
	s.mu.Lock()
	alone, same := s.failed == before.failed+1, before.version == s.state.Version
	s.mu.Unlock()
	if !alone || !same {
		return false // it had trouble with other questions, too, or has reloaded
	}
	return s.poison.add(about, s.now())
}

// proof is the last time that a canary was found.
type proof struct {
	at      time.Time
	found   bool // and nothing has failed since
	version Version
	failed  int64 // faults so far, this one not among them
}

func (s *Scanner) proof() proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	return proof{at: s.proofAt, found: s.state.Up && !s.proofAt.IsZero() && s.failed == s.faultsAt, version: s.state.Version, failed: s.failed}
}

// worked notes an answer.
func (s *Scanner) worked() {
	s.mu.Lock()
	s.failures = 0
	revived, version := !s.state.Up && s.cfg.Canary == 0, s.state.Version
	s.mu.Unlock()
	if revived {
		s.set(true, "", version, false)
	}
}

// failing notes a fault; several in a row mean down.
func (s *Scanner) failing(err error) {
	s.mu.Lock()
	s.failed++
	s.failures++
	down := s.failures >= maxFailures
	s.mu.Unlock()
	if down {
		s.set(false, clean(fmt.Sprintf("%d faults in a row, the last: %v", maxFailures, err), 300), Version{}, false)
	}
}

// checkWithin is check for a message that waits no longer than ctx.
func (s *Scanner) checkWithin(ctx context.Context) bool {
	found := make(chan bool, 1)
	if !s.life.spawn(func(life context.Context) { found <- s.check(life) }) {
		return false
	}
	select {
	case ok := <-found:
		return ok
	case <-ctx.Done():
		return false
	}
}

// check sends the canaries and reports whether all were found. Of those who come
// while it is at work one begins anew, the others take what that one finds.
func (s *Scanner) check(ctx context.Context) bool {
	round := s.round()
	select {
	case s.proving <- struct{}{}:
		defer func() { <-s.proving }()
	case <-ctx.Done():
		return false
	}
	if s.round() > round+1 {
		return s.State().Up // that one began behind our call, and has ended
	}
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	version, why, proven := s.probe(ctx)
	if ctx.Err() != nil {
		return false // we are stopping; that says nothing about the scanner
	}
	s.mu.Lock()
	s.rounds++
	if why == "" {
		s.proofAt, s.faultsAt, s.failures = s.now(), failed, 0
	}
	s.mu.Unlock()
	s.set(why == "", why, version, proven)
	return why == ""
}

// probe asks for the version and sends the canaries; why is "" when all is well.
func (s *Scanner) probe(ctx context.Context) (v Version, why string, proven bool) {
	v, err := s.version(ctx)
	if err != nil {
		return v, clean(err.Error(), 300), false
	}
	for _, p := range s.prove(ctx) {
		if p.Err != nil {
			return v, clean(fmt.Sprintf("canary %s: %v", p.What, p.Err), 300), false
		}
		proven = proven || p.What != canaryAnswer
	}
	return v, "", proven
}

func (s *Scanner) round() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rounds
}

func (s *Scanner) version(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.asker.version(ctx)
}

// same reports whether the scanner is there, with the version and the database
// that it had; else what is known of messages is forgotten.
func (s *Scanner) same(ctx context.Context) bool {
	v, err := s.version(ctx)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == s.state.Version {
		return true
	}
	s.state.Version = v
	s.clean.forget()
	s.poison.forget()
	return false
}

// set notes whether s is up, tells of a change, and forgets clean verdicts of
// another version.
func (s *Scanner) set(up bool, why string, version Version, proven bool) {
	s.mu.Lock()
	before := s.state
	switch {
	case !up: // what it called clean since the last proof is not proven
		s.clean.forget()
	case version != before.Version:
		s.clean.forget()
		s.poison.forget()
		s.state.Version = version
	}
	s.state.Up, s.state.Why, s.state.Proven = up, why, proven
	if before.Up != up {
		s.state.Since = s.now()
	}
	if !up {
		s.downAt = s.now()
	}
	after := s.state
	s.mu.Unlock()
	if s.changed != nil && (before.Up != up || before.Why == "not asked yet") {
		s.changed(after)
	}
}

// watch sends canaries until ctx ends: as often as configured, sooner while the
// scanner is down.
func (s *Scanner) watch(ctx context.Context) {
	if s.cfg.Canary == 0 {
		return
	}
	for {
		every := s.cfg.Canary
		if !s.State().Up {
			every = min(every, downFor)
		}
		wait := time.NewTimer(every)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
			s.check(ctx)
		}
	}
}
