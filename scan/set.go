package scan

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Set holds the configured scanners. It is safe for concurrent use; a nil Set has no
// scanners.
type Set struct {
	scanners []*Scanner
}

// Options of New.
type Options struct {
	Hostname string
	Configs  map[string]Config // by name, as in [scanner.NAME]
	// Old is the set that this one follows; scanners that have not changed keep
	// what is known of them. Nil: none.
	Old *Set
	// Changed hears when a scanner goes up or down. Nil: nobody does.
	Changed func(ScannerState)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// New makes a set; it asks nobody yet. The error is about a configuration.
func New(o Options) (*Set, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	set := &Set{}
	for _, name := range slices.Sorted(maps.Keys(o.Configs)) {
		if old := o.Old.find(name); old != nil && old.is(o.Hostname, o.Configs[name]) {
			set.scanners = append(set.scanners, old)
			continue
		}
		s, err := newScanner(name, o.Hostname, o.Configs[name], o.Changed, o.Now)
		if err != nil {
			return nil, fmt.Errorf("scanner %s: %w", name, err)
		}
		set.scanners = append(set.scanners, s)
	}
	return set, nil
}

func (set *Set) find(name string) *Scanner {
	if set == nil {
		return nil
	}
	for _, s := range set.scanners {
		if s.name == name {
			return s
		}
	}
	return nil
}

// Start sends the first canaries, waits at most so long for their results, and goes on
// sending them until Stop.
func (set *Set) Start(wait time.Duration) {
	if set == nil {
		return
	}
	first := make(chan struct{}, len(set.scanners))
	begun := 0
	for _, s := range set.scanners {
		if s.cfg.Canary == 0 || !s.life.begin() {
			continue
		}
		begun++
		s.life.spawn(func(ctx context.Context) {
			s.check(ctx)
			first <- struct{}{}
			s.watch(ctx)
		})
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	for range begun {
		select {
		case <-first:
		case <-limit.C:
			return
		}
	}
}

// Stop ends the canaries of the scanners that next, which follows this set, has
// not taken over, and returns when none is on its way. Nil: of all.
func (set *Set) Stop(next *Set) {
	if set == nil {
		return
	}
	for _, s := range set.scanners {
		if next.find(s.name) != s {
			s.life.end()
		}
	}
}

// States returns the health of all scanners, by name.
func (set *Set) States() []ScannerState {
	if set == nil {
		return nil
	}
	list := make([]ScannerState, len(set.scanners))
	for i, s := range set.scanners {
		list[i] = s.State()
	}
	return list
}

// Wanted reports whether any scanner is to see mail of a client and stream.
func (set *Set) Wanted(client, stream string) bool {
	return set != nil && slices.ContainsFunc(set.scanners, func(s *Scanner) bool { return s.cfg.needs(client, stream) })
}

// Missing names a scanner without which mail of a client and stream has to wait;
// "" when there is none.
func (set *Set) Missing(client, stream string) string {
	if set == nil {
		return ""
	}
	for _, s := range set.scanners {
		if s.cfg.Mode == Enforce && s.cfg.OnFailure == Defer && s.cfg.needs(client, stream) && !s.usable() {
			return s.name
		}
	}
	return ""
}

// Judge asks the scanners that a message needs, all at the same time. The first
// refusal ends the others; what is only watched is not waited for. Finish has to
// be called before the content may change or go away.
func (set *Set) Judge(ctx context.Context, m *Message) (*Result, error) {
	var needed []*Scanner
	for _, s := range set.scanners {
		if s.cfg.needs(m.Client, m.Stream) {
			needed = append(needed, s)
		}
	}
	r := &Result{}
	if len(needed) == 0 {
		return r, nil
	}
	about, err := m.about()
	if err != nil {
		return nil, fmt.Errorf("read the message: %w", err)
	}
	r.ask(ctx, m, needed, about)
	return r, nil
}

// shadows are the scanners that are only watched and still at work.
type shadows struct {
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	verdicts []Response // by scanner; of enforcing ones empty
	enforced []Response
}

type answer struct {
	at int
	v  Response
}

func (r *Result) ask(ctx context.Context, m *Message, needed []*Scanner, about digest) {
	watched, cancel := context.WithCancel(ctx)
	sh := &shadows{cancel: cancel, verdicts: make([]Response, len(needed))}
	r.shadows = sh
	enforcing, end := context.WithCancel(ctx)
	defer end()
	answers := make(chan answer, len(needed))
	left := 0
	for i, s := range needed {
		sh.verdicts[i] = Response{Scanner: s.name, Class: Cut, Shadow: s.cfg.Mode == Shadow, Choice: Pass}
		if s.cfg.Mode == Shadow {
			sh.tasks.Go(func() { sh.verdicts[i] = s.judge(watched, m, about) })
			continue
		}
		left++
		go func() { answers <- answer{i, s.judge(enforcing, m, about)} }()
	}
	enforced := make([]Response, len(needed))
	for ; left > 0; left-- {
		a := <-answers
		enforced[a.at] = a.v
		if a.v.Choice == Refuse && (r.Decided == nil || r.Decided.Choice != Refuse) {
			r.Decided = &enforced[a.at]
			end()
		}
		if a.v.Choice == Defer && r.Decided == nil {
			r.Decided = &enforced[a.at]
		}
	}
	for i := range enforced {
		r.Fields = append(r.Fields, enforced[i].Fields...)
		if v := &enforced[i]; v.Class == Cut && r.Decided == nil {
			// Its caller went away: nothing may leave without a verdict.
			v.Class, v.Choice, v.Err = Fault, Defer, context.Cause(ctx)
			r.Decided = v
		}
	}
	sh.enforced = enforced
}

// Finish ends what is still at work, and returns when nobody reads the message
// any more. Verdicts are complete then.
func (r *Result) Finish() {
	if r == nil || r.shadows == nil {
		return
	}
	sh := r.shadows
	sh.cancel()
	sh.tasks.Wait()
	r.shadows = nil
	for i := range sh.verdicts {
		if v := sh.enforced[i]; v.Scanner != "" {
			sh.verdicts[i] = v
		}
	}
	r.Verdicts = sh.verdicts
}
