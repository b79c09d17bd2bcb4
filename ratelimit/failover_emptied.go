package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A shared store that comes back empty would give every key its number anew. To
// notice, each node keeps a mark in it, as a raise of a limit that does not
// exist. When a mark that was seen there is gone, the node adds its part of
// what it knows of every key: of n nodes each knows an nth, and together that
// is what was lost, as far as it was ever told.

// markLimit is a name that no [limit.NAME] has.
const markLimit = "store:mark"

const (
	markFor   = 48 * time.Hour
	markEvery = 10 * time.Minute
)

var errEmptied = errors.New("the store has lost its counts; what this node knows of them is added again")

// mark is what Run knows of this node's mark.
type mark struct {
	key  string
	made time.Time
	seen bool // it was read back
}

func newMark(node uint64) mark { return mark{key: fmt.Sprintf("node=%x", node)} }

// withoutMarks takes the marks of all nodes out of a list of raises.
func withoutMarks(raises []Raise) []Raise {
	return slices.DeleteFunc(raises, func(r Raise) bool { return r.Limit == markLimit })
}

// checkMark reports whether the store that gave these raises has been emptied
// since the last time. It renews the mark.
func (f *Failover) checkMark(ctx context.Context, m *mark, raises []Raise) (emptied bool) {
	there := slices.ContainsFunc(raises, func(r Raise) bool { return r.Limit == markLimit && r.Key == m.key })
	emptied = m.seen && !there
	m.seen = there
	now := time.Now()
	if there && now.Sub(m.made) < markEvery {
		return emptied
	}
	err := f.shared.SetRaise(ctx, Raise{
		Limit: markLimit, Key: m.key, Unit: Messages, Add: 1, Made: now, Until: now.Add(markFor), Reason: "a node uses this store",
	})
	if err == nil {
		m.made = now
	}
	return emptied
}

// oweKnown makes what was known of the shared store a charge of this node, to
// be added to it again.
func (e *Embedded) oweKnown() {
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		now := e.clock.read()
		for j := range sh.next {
			if r := sh.record(j); r.live() && !r.pinned() && sh.clean(r, now) {
				sh.oweKnown(j, r, now)
			}
		}
		sh.mu.Unlock()
	}
}

func (sh *shard) oweKnown(i uint32, r record, now int64) {
	for {
		at := sh.knownWindow(r)
		if at < 0 {
			return
		}
		l := log(slices.Clone(sh.body(r)[at:]))
		l = l[:l.size()]
		sh.remove(r, at, len(l))
		own := l.id() &^ shareMask
		for _, o := range l.appendOwed(nil, owed{id: l.id()}, now) {
			if l.id().unit() == DistinctRecipients {
				sh.see(r, own, o.distinct, o.at, false)
			} else {
				sh.put(r, own, o.at, o.n)
			}
		}
		sh.owe(i, r)
		sh.changed = true
	}
}

// knownWindow is the offset of a window with what is known, -1 for none.
func (sh *shard) knownWindow(r record) int {
	body := sh.body(r)
	for at := r.keyLen(); at < len(body); at += log(body[at:]).size() {
		if log(body[at:]).id().share() == knownID {
			return at
		}
	}
	return -1
}
