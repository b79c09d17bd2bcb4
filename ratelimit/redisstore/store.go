package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/ratelimit"
)

// Store is the store that all nodes share: a server, a master under Sentinels,
// or a Cluster. Each decision is one call of a script, so that nothing comes
// between, and goes by the server's clock alone. Calls of different sessions
// share a connection and go out together.
//
// In a Cluster the budgets of one batch may lie on several servers. They are
// then charged at the same time, and given back where another refused; so there
// is a moment in which a window looks fuller than it is, and none in which it
// looks emptier.
//
// Errors mean that the outcome is unknown; see Undo.
type Store struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil: a single server, or Sentinels
	prefix  string
	timeout time.Duration
	lanes   int
	name    string // of this node
	scripts scripts
	single  *pipe

	mu    sync.Mutex
	nodes map[string]*pipe // of a Cluster, by address

	running  sync.WaitGroup
	lastBeat atomic.Int64

	// clock, in tests, is the last argument of every script.
	clock func() any
}

// New makes the store over a client that NewClient made. The client
// may serve others as well; it is the caller's to close, after the store.
func New(client redis.UniversalClient, cfg Config) *Store {
	return newStore(client, cfg, newScripts(func(text string) string { return text }))
}

func newStore(client redis.UniversalClient, cfg Config, s scripts) *Store {
	var name [8]byte
	rand.Read(name[:]) // never fails since Go 1.24
	r := &Store{
		client: client, prefix: cfg.Prefix, timeout: cfg.Timeout, lanes: min(maxLanes, cfg.Connections),
		name: hex.EncodeToString(name[:]), scripts: s, nodes: map[string]*pipe{},
	}
	switch c := client.(type) {
	case *redis.ClusterClient:
		r.cluster = c
	case *redis.Client:
		r.single = r.newPipe(c)
	}
	return r
}

// maxLanes is how many writes are under way at a time. Few make for large ones.
const maxLanes = 2

// Close waits for the calls that are under way; no method may be called afterwards.
func (r *Store) Close() { r.running.Wait() }

// Take decides b: in one call, or in a Cluster in one per slot.
func (r *Store) Take(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if !b.Peek {
		r.beat(ctx)
	}
	result := ratelimit.NewResult(b)
	switch {
	case len(b.Budgets) == 0:
		return result, nil
	case r.cluster != nil && !oneSlot(b.Budgets):
		return result, r.takeSlots(ctx, b, &result)
	}
	return result, r.take(ctx, b, 0, nil, &result)
}

// take asks for one batch, all of one slot; skip leaves requests out.
func (r *Store) take(ctx context.Context, b *ratelimit.Batch, round int, skip []bool, result *ratelimit.Result) error {
	if err := checkSize(b); err != nil {
		return err
	}
	var peek any = "0"
	if b.Peek {
		peek = "1"
	}
	o := outlookOf(b, skip)
	v, err := r.run(ctx, &r.scripts.take, r.batchKeys(b),
		encodeBatch(b, o.totals, skip), fieldOf(b.ID, round), peek, o.mark, o.last, o.hash)
	if err != nil {
		return err
	}
	text, _ := v.(string)
	return decodeBatch(b, text, &o, skip, result)
}

// Undo takes back what b charged.
func (r *Store) Undo(ctx context.Context, b *ratelimit.Batch) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	if len(b.Budgets) == 0 {
		return nil
	}
	if r.cluster == nil || oneSlot(b.Budgets) {
		return r.undo(ctx, b)
	}
	return together(splitBatch(b), func(p *slotPart) error { return r.undo(ctx, &p.batch) })
}

func (r *Store) undo(ctx context.Context, b *ratelimit.Batch) error {
	args := []any{encodeBatch(b, make([]total, len(b.Budgets)), nil), ""}
	for round := range maxRounds {
		args = append(args, fieldOf(b.ID, round))
	}
	_, err := r.run(ctx, &r.scripts.undo, r.batchKeys(b), args...)
	return err
}

// Refund gives charges back.
func (r *Store) Refund(ctx context.Context, id ratelimit.Attempt, returns []ratelimit.Return) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	groups := bySlot(len(returns), r.cluster != nil, func(i int) []byte { return returns[i].Budget.Slot() })
	return together(cutGroups(groups, maxReturns), func(g *slotGroup) error {
		keys := keyList{}
		blob := appendCount(nil, len(g.members))
		for _, i := range g.members {
			b := &returns[i].Budget
			blob = appendReturn(blob, keys.index(r.budgetKey(b.Limit, b.Key)), &returns[i])
		}
		_, err := r.run(ctx, &r.scripts.refund, append(keys.list, r.markKey(g.slot, id)), blob, fieldOf(id, g.part))
		return err
	})
}

// maxReturns and maxRecords are how many go into one call: the server does
// nothing else meanwhile.
const (
	maxReturns = 500
	maxRecords = 100
)

// Record adds charges that were made elsewhere.
func (r *Store) Record(ctx context.Context, id ratelimit.Attempt, records []ratelimit.Record) error {
	groups := bySlot(len(records), r.cluster != nil, func(i int) []byte { return slotOf([]byte(records[i].Key)) })
	for _, g := range cutGroups(groups, maxRecords) {
		keys := keyList{}
		blob := appendCount(nil, len(g.members))
		for _, i := range g.members {
			rec := &records[i]
			blob = appendRecord(blob, keys.index(r.budgetKey(rec.Limit, []byte(rec.Key))), rec)
		}
		if err := r.recordSome(ctx, append(keys.list, r.markKey(g.slot, id)), blob, fieldOf(id, g.part)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Store) recordSome(ctx context.Context, keys []string, blob []byte, field string) error {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	_, err := r.run(ctx, &r.scripts.record, keys, blob, field)
	return err
}
