// Package contributors knows who used most of a budget that several senders share.
//
// When a limit per client is used up, an operator asks by whom. To keep a count for
// each sender of each budget would be unbounded, for senders choose their names. So of
// each budget the 16 largest are kept, by the space-saving count of Metwally et al.: a
// newcomer takes the place and the count of the smallest, so that whoever is large is
// never missed, and is at most overstated.
package contributors

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// Table holds the largest senders of every budget that several share: at most 16 of a
// budget, of a bounded number of budgets. It is this node's view, for people; no decision
// rests on it. It is safe for concurrent use.
type Table struct {
	seed   maphash.Seed
	shards [16]topShard
}

const (
	topSize    = 16
	topBudgets = 64 // in each shard
	topShown   = 3
)

// budget names one.
type budget struct{ limit, key string }

type topShard struct {
	mu    sync.Mutex
	lists map[budget]*topList
}

// topList counts in two halves of the budget's longest window: between half of
// it and all of it is remembered.
type topList struct {
	start     time.Time // of now
	half      time.Duration
	now, last topCount
}

// topCount is the space-saving count: exact for up to topSize senders.
type topCount struct {
	total   int64
	senders []topSender
}

type topSender struct {
	name string
	n    int64
}

// New makes an empty table.
func New() *Table {
	c := &Table{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].lists = map[budget]*topList{}
	}
	return c
}

func (c *Table) shard(key []byte) *topShard {
	return &c.shards[maphash.Bytes(c.seed, key)%uint64(len(c.shards))]
}

// Add counts n (below zero: gives back) for a sender of a budget, whose longest window
// is window long.
func (c *Table) Add(limit string, key []byte, sender string, n int64, window time.Duration, now time.Time) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.lists[budget{limit, string(key)}]
	if list == nil {
		if n < 0 {
			return
		}
		s.makeRoom()
		list = &topList{start: now, half: window / 2}
		s.lists[budget{limit, string(key)}] = list
	}
	list.turn(now)
	list.now.add(sender, n)
}

// makeRoom drops the list that was begun the longest ago.
func (s *topShard) makeRoom() {
	if len(s.lists) < topBudgets {
		return
	}
	var oldest budget
	var at time.Time
	for name, list := range s.lists {
		if at.IsZero() || list.start.Before(at) {
			oldest, at = name, list.start
		}
	}
	delete(s.lists, oldest)
}

func (list *topList) turn(now time.Time) {
	age := now.Sub(list.start)
	if age < list.half {
		return
	}
	list.last, list.now = list.now, topCount{senders: list.last.senders[:0]}
	if age >= 2*list.half {
		list.last = topCount{senders: list.last.senders[:0]}
	}
	list.start = now
}

func (t *topCount) add(sender string, n int64) {
	t.total = max(0, t.total+n)
	for i := range t.senders {
		if t.senders[i].name == sender {
			t.senders[i].n = max(0, t.senders[i].n+n)
			return
		}
	}
	if n < 0 {
		return
	}
	if len(t.senders) < topSize {
		t.senders = append(t.senders, topSender{sender, n})
		return
	}
	least := 0
	for i := range t.senders {
		if t.senders[i].n < t.senders[least].n {
			least = i
		}
	}
	t.senders[least] = topSender{sender, t.senders[least].n + n}
}

// Forget drops what is known about a budget.
func (c *Table) Forget(limit, key string) {
	s := c.shard([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lists, budget{limit, key})
}

// unseen is the name of the part of a budget that was not charged by this
// process since it started.
const unseen = "not seen here"

// Names lists the three largest senders with their share of used, which is all
// that the budget holds: "a@x.example 62%". What was charged by other nodes, or
// before this process started, is a last entry, "not seen here 30%".
func (c *Table) Names(limit string, key []byte, used int64, now time.Time) []string {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.lists[budget{limit, string(key)}]
	if list == nil {
		return nil
	}
	list.turn(now)
	seen := list.now.total + list.last.total
	if seen == 0 {
		return nil
	}
	all := max(seen, used)
	var names []string
	for _, t := range list.largest() {
		names = append(names, t.name+" "+share(t.n, all))
	}
	if missing := all - seen; missing*100 >= all {
		names = append(names, unseen+" "+share(missing, all))
	}
	return names
}

// share is n of all in percent.
func share(n, all int64) string {
	if n*100 < all {
		return "<1%"
	}
	return fmt.Sprintf("%d%%", min(100, n*100/all))
}

// largest are the three largest senders of both halves.
func (list *topList) largest() []topSender {
	all := slices.Clone(list.now.senders)
	for _, old := range list.last.senders {
		i := slices.IndexFunc(all, func(t topSender) bool { return t.name == old.name })
		if i < 0 {
			all = append(all, old)
		} else {
			all[i].n += old.n
		}
	}
	all = slices.DeleteFunc(all, func(t topSender) bool { return t.n <= 0 })
	slices.SortFunc(all, func(a, b topSender) int { return cmp.Compare(b.n, a.n) })
	return all[:min(topShown, len(all))]
}
