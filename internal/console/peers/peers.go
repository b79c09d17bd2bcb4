// Package peers asks the other nodes of a relay what only each of them knows: how its
// upstreams do, what is listed, and which messages its journal holds. All are asked at
// once, and one that is silent is named, never waited for.
package peers

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/api/client"
	"postern/mail"
	"postern/reputation"
)

const (
	// Wait is how long an answer is waited for.
	Wait = 2 * time.Second
	// late bounds each request for a state, for which nobody waits longer than Wait.
	late = 10 * time.Second
	// maxListed is how many listings, and groups of receivers, are read of one.
	maxListed = 1000
	// freshFor is how long a state is told again without asking.
	freshFor = 4 * time.Second
)

// errSilent is the error of a peer that has not answered within Wait.
var errSilent = errors.New("does not answer within 2 s")

// NodeState is what a peer says of itself.
type NodeState struct {
	Status    admin.Status
	Listings  []reputation.Listing // that are open
	Providers []api.Provider       // groups of receivers; none of a peer that is too old to tell
}

// Answer is what one peer said.
type Answer[T any] struct {
	Name  string
	Value T
	Err   error
}

// Peers are those of a configuration. They are safe for concurrent use.
type Peers struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]*peer
}

// peer is one of them.
type peer struct {
	access.Peer
	ask  *client.Client // for its state, which may come late
	soon *client.Client // for what somebody waits for
	err  error          // why it cannot be asked

	mu     sync.Mutex
	at     time.Time
	state  Answer[NodeState]
	asking chan struct{} // closed when the answer is there; nil: nobody asks
}

// New has no peers yet.
func New(now func() time.Time) *Peers { return &Peers{now: now, all: map[string]*peer{}} }

// Use takes the peers of a configuration, and reads their files anew; those that are as
// before keep what they said.
func (ps *Peers) Use(cfg map[string]access.Peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	next := map[string]*peer{}
	for name, c := range cfg {
		p := &peer{Peer: c}
		if p.ask, p.err = client.At(c.Server, c.TokenFile, c.CA); p.err == nil {
			doubted := p.ask.Doubting()
			p.ask, p.soon = doubted.Within(late), doubted.Within(Wait)
		}
		if old := ps.all[name]; old != nil && old.Peer == c {
			old.mu.Lock()
			p.state.Value = old.state.Value // told beside an error, should it be silent now
			old.mu.Unlock()
		}
		next[name] = p
	}
	ps.all = next
}

// each asks all peers at once; the answers are in the order of their names.
func each[T any](ps *Peers, ask func(p *peer) Answer[T]) []Answer[T] {
	ps.mu.Lock()
	all := maps.Clone(ps.all)
	ps.mu.Unlock()
	names := slices.Sorted(maps.Keys(all))
	answers := make([]Answer[T], len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		wait.Go(func() {
			answers[i] = ask(all[name])
			answers[i].Name = name
		})
	}
	wait.Wait()
	return answers
}

// within is what f returns, if it does so within Wait.
func within[T any](f func() (T, error)) (a Answer[T]) {
	done := make(chan Answer[T], 1)
	go func() {
		v, err := f()
		done <- Answer[T]{Value: v, Err: err}
	}()
	timer := time.NewTimer(Wait)
	defer timer.Stop()
	select {
	case a = <-done:
	case <-timer.C:
		a.Err = errSilent
	}
	return a
}

// States are what all peers say of themselves, some seconds old at most; of one that is
// silent its last word is told with the error.
func (ps *Peers) States() []Answer[NodeState] {
	return each(ps, func(p *peer) Answer[NodeState] { return p.stateNow(ps.now()) })
}

func (p *peer) stateNow(now time.Time) Answer[NodeState] {
	if p.err != nil {
		return Answer[NodeState]{Err: p.err}
	}
	p.mu.Lock()
	if p.asking == nil && now.Sub(p.at).Abs() > freshFor {
		p.asking = make(chan struct{})
		go p.look(p.asking, now)
	}
	asking := p.asking
	p.mu.Unlock()
	silent := false
	if asking != nil {
		timer := time.NewTimer(Wait)
		select {
		case <-asking:
		case <-timer.C:
			silent = true
		}
		timer.Stop()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := p.state
	if silent {
		answer.Err = errSilent
	}
	return answer
}

// look asks for the state. One request is under way at a time.
func (p *peer) look(done chan struct{}, now time.Time) {
	var s NodeState
	err := p.ask.Get("/status", nil, &s.Status)
	if err == nil {
		s.Listings, _, err = client.All[reputation.Listing](p.ask, "/listings", url.Values{"open": {"true"}}, maxListed)
	}
	var old client.Misuse // it has no such route
	if err == nil {
		s.Providers, _, err = client.All[api.Provider](p.ask, "/providers", nil, maxListed)
	}
	if errors.As(err, &old) {
		err = nil
	}
	s.bound()
	p.mu.Lock()
	if err == nil {
		p.state = Answer[NodeState]{Value: s}
	} else {
		p.state.Err = err
	}
	p.at, p.asking = now, nil
	p.mu.Unlock()
	close(done)
}

// bound leaves of a state what a page can show: a peer in other hands may say any number of
// things.
func (s *NodeState) bound() {
	s.Status.Reasons, s.Status.Degraded = first(s.Status.Reasons), first(s.Status.Degraded)
	s.Status.Upstreams = first(s.Status.Upstreams)
	s.Listings = first(s.Listings)
}

// maxTold is how many things of a kind are told of one peer.
const maxTold = 100

func first[T any](all []T) []T { return all[:min(len(all), maxTold)] }

// Events searches the journals of all peers for the same.
func (ps *Peers) Events(q api.EventsQuery) []Answer[api.EventsPage] {
	return each(ps, func(p *peer) Answer[api.EventsPage] {
		if p.err != nil {
			return Answer[api.EventsPage]{Err: p.err}
		}
		return within(func() (page api.EventsPage, err error) {
			err = p.soon.Get("/events", valuesOf(q), &page)
			return page, err
		})
	})
}

// Event is one message of a peer's journal.
func (ps *Peers) Event(name, id string) (e mail.Event, err error) {
	ps.mu.Lock()
	p := ps.all[name]
	ps.mu.Unlock()
	switch {
	case p == nil:
		return e, fmt.Errorf("there is no peer %q", name)
	case p.err != nil:
		return e, p.err
	}
	a := within(func() (e mail.Event, err error) {
		err = p.soon.Get("/events/"+url.PathEscape(id), nil, &e)
		return e, err
	})
	return a.Value, a.Err
}

// valuesOf writes a query as the API reads it.
func valuesOf(q api.EventsQuery) url.Values {
	v := url.Values{"from": {q.From}, "to": {q.To}, "message_id": {q.MessageID}, "queue_id": {q.QueueID}, "code": {q.Code}, "class": {string(q.Class)}, "client": {q.Client}, "limit": {fmt.Sprint(q.Limit)}}
	for key, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(key, t.Format(time.RFC3339Nano))
		}
	}
	return v
}
