package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/mail"
	"postern/relay"
	"postern/reputation"
	"postern/upstream"
)

// judges are what decides about single recipients from memory: mailboxes that
// do not exist, receivers that want less, domains without mail.
type judges struct {
	suppressions *reputation.Suppressions // nil: none are kept
	held         *reputation.Held
	// resolver answers questions about recipients' domains; a reload may put
	// another in its place.
	resolver atomic.Pointer[reputation.Resolver]
	// read says what an upstream's verdict on a recipient means.
	read func(*mail.RecipientEvent) reputation.Recipient
}

// saveEvery is how often changed state goes to its file.
const saveEvery = 10 * time.Second

// openJudges reads their state and has it saved while the node runs.
func (n *node) openJudges(file *config.File) (*judges, error) {
	j := &judges{held: reputation.NewHeld(time.Now)}
	if err := j.setResolver(file); err != nil {
		return nil, err
	}
	n.opened.add(func(context.Context) { j.resolver.Load().Close() })
	if file.Reputation.SuppressFor <= 0 {
		return j, nil
	}
	j.suppressions = reputation.NewSuppressions(file.Reputation.SuppressFor, 0, time.Now)
	path := filepath.Join(file.StateDir, "suppressions.json")
	if err := j.suppressions.Load(path); err != nil {
		n.log.Error("suppressions begin anew", "err", err)
	}
	n.run(func(ctx context.Context) {
		n.every(ctx, saveEvery, func() { n.stateWritten("suppressions", j.suppressions.Save(path)) })
	})
	return j, nil
}

// setResolver makes the resolver that a configuration asks for. The one before
// is closed: what is asked of it then is a fault of DNS, and tried again.
func (j *judges) setResolver(file *config.File) error {
	r, err := reputation.NewResolver(reputation.ResolverOptions{
		Servers: file.Reputation.Resolvers, Timeout: file.Reputation.Timeout,
	})
	if err != nil {
		return err
	}
	if old := j.resolver.Swap(r); old != nil {
		old.Close()
	}
	return nil
}

// reload takes over new resolvers and a new time for suppressions.
func (j *judges) reload(old, file *config.File) error {
	if !slices.Equal(old.Reputation.Resolvers, file.Reputation.Resolvers) || old.Reputation.Timeout != file.Reputation.Timeout {
		if err := j.setResolver(file); err != nil {
			return err
		}
	}
	if j.suppressions != nil && file.Reputation.SuppressFor > 0 {
		j.suppressions.SetKeep(file.Reputation.SuppressFor)
	}
	return nil
}

// every calls f at intervals until ctx ends, and once more then.
func (n *node) every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			f()
			return
		case <-tick.C:
			f()
		}
	}
}

// hooks are what sessions ask.
func (j *judges) hooks() relay.Hooks {
	h := relay.Hooks{Held: j.held.Left}
	if j.suppressions != nil {
		h.Suppressed = j.suppressions.Suppressed
	}
	h.Domain = func(ctx context.Context, domain string) *relay.DomainProblem {
		switch reputation.NewChecker(j.resolver.Load()).Look(ctx, domain) {
		case reputation.NullMX:
			return &relay.DomainProblem{NullMX: true}
		case reputation.NoDomain:
			return &relay.DomainProblem{}
		}
		return nil
	}
	return h
}

// Observe learns from what the upstream said about each recipient.
func (j *judges) Observe(e *mail.Event) {
	for i := range e.To {
		if e.To[i].Rule != "upstream" {
			continue
		}
		if e.To[i].Code/100 == 2 {
			j.held.Relayed(e.Stream, domainOf(e.To[i].Address))
			continue
		}
		switch r := j.read(&e.To[i]); {
		case r.Class == string(upstream.NoSuchUser) && r.Code/100 == 5 && j.suppressions != nil && namesOne(e, r.Reply):
			j.suppressions.Add(e.Stream, r.Address, r.Reply, 0)
		case r.Class == string(upstream.RateLimited):
			j.held.Refused(e.Stream, r.Domain, r.Wait)
		}
	}
}

// namesOne reports whether a refusal is about one recipient: the reply to a
// message for several does not say which of them does not exist.
func namesOne(e *mail.Event, reply string) bool {
	if e.Stage != "forward" || e.Code/100 != 5 {
		return true // replies to RCPT
	}
	same := 0
	for i := range e.To {
		if r := &e.To[i]; r.Rule == "upstream" && (&mail.Reply{Code: r.Code, Status: r.Status, Text: r.Reply}).String() == reply {
			same++
		}
	}
	return same == 1
}

// domainOf is the domain of an address's key.
func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }
