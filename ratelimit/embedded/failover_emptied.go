package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"postern/ratelimit"
)

// A shared store that comes back empty would give every key its number anew. To
// notice at once, even where no call has failed, each node keeps a mark in it, as a temporary override of a limit that does not
// exist. When a mark that was seen there is gone, the node adds its part of
// what it knows of every key: of n nodes each knows an nth of what it was last told,
// and together that is about what was lost where all of them use a key.

// markLimit is a name that no [limit.NAME] has.
const markLimit = "store:mark"

const (
	markFor   = 48 * time.Hour
	markEvery = 10 * time.Minute
)

var errEmptied = errors.New("the store has lost its counts; what this node knows of them is added again")

// mark is what is known of this node's mark.
type mark struct {
	key  string
	made time.Time
	seen bool // it was read back
}

func newMark() mark {
	var node [8]byte
	rand.Read(node[:]) // never fails since Go 1.24
	return mark{key: "node=" + hex.EncodeToString(node[:])}
}

// withoutMarks are the temporary overrides but for the marks of nodes.
func withoutMarks(allowances []ratelimit.Allowance) []ratelimit.Allowance {
	return slices.DeleteFunc(slices.Clone(allowances), func(r ratelimit.Allowance) bool { return r.Limit == markLimit })
}

func (m *mark) in(allowances []ratelimit.Allowance) bool {
	return slices.ContainsFunc(allowances, func(r ratelimit.Allowance) bool { return r.Limit == markLimit && r.Key == m.key })
}

// emptied asks a store of which a key looks as if it had lost its counts. When
// it has, or does not say, decisions are made here from now on.
func (f *Failover) emptied(ctx context.Context) bool {
	f.marking.Lock()
	defer f.marking.Unlock()
	if f.down.Load() {
		return true // another session has seen it
	}
	var allowances []ratelimit.Allowance
	err := f.ask(ctx, func(ctx context.Context) (err error) {
		allowances, err = f.shared.Allowances(ctx)
		return err
	})
	if err != nil {
		f.failed(err)
		return true
	}
	return f.checkMark(allowances)
}

// checkMark looks for the mark among the temporary overrides of the store, and has it given
// back what it lost.
func (f *Failover) checkMark(allowances []ratelimit.Allowance) (emptied bool) {
	there := f.mark.in(allowances)
	emptied = f.mark.seen && !there
	f.mark.seen = there
	if emptied {
		f.local.oweKnown()
		f.failed(errEmptied)
		f.tell(errEmptied)
	}
	return emptied
}

// renewMark puts the mark in place and reads it back: one that the store's
// clock ends at once does not show anything.
func (f *Failover) renewMark(ctx context.Context) error {
	m, now := &f.mark, time.Now()
	if m.seen && now.Sub(m.made) < markEvery {
		return nil
	}
	err := f.shared.SetAllowance(ctx, ratelimit.Allowance{
		Limit: markLimit, Key: m.key, Unit: ratelimit.Messages, Add: 1, Made: now, Until: now.Add(markFor), Reason: "a node uses this store",
	})
	if err != nil {
		return err
	}
	allowances, err := f.shared.Allowances(ctx)
	if err != nil {
		return err
	}
	m.made, m.seen = now, m.in(allowances)
	return nil
}

// oweKnown makes what was known of the shared store a charge of this node, to
// be added to it again.
func (e *Store) oweKnown() {
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
			if l.id().distinct() {
				sh.see(r, own, o.distinct, o.at, now, false, o.level)
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
