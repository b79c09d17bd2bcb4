package embedded

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/recipients"
)

// Failover is a store that goes on while the shared one behind it is away:
// every limit as its on_store_failure says.
//
//   - "local": this node allows its share of each number, the number divided by
//     the nodes that were last seen, one at least. It starts from what the shared
//     store last said of the key. Nodes that knew less of a key than others may
//     together let more pass than the number.
//   - "defer": what touches the limit is answered with RequestResult.Down.
//   - "admit": all pass, and are counted.
//
// One call that fails sends all decisions here, until the store answers and has
// been given what was charged meanwhile: so the counts stay right even when a
// single reply is lost. That is a matter of milliseconds, and told to nobody,
// unless the store does not come back at once. A charge made here cannot be given
// back any more once it has been added to the shared store.
type Failover struct {
	shared ratelimit.Store
	local  *Store
	notify func(StoreChange)

	// gate: decisions here hold it for reading, the way back for writing. down
	// is set under either, cleared under the latter.
	gate sync.RWMutex
	down atomic.Bool
	wake chan struct{} // to Run

	// asking is held for reading while the shared store is asked. The first
	// decision here waits for those calls: what they charge it must know, and
	// none may charge a store that does not know what is charged here.
	asking sync.RWMutex
	alone  atomic.Bool // they have ended; cleared by the way back

	secret  *recipients.Secret
	marking sync.Mutex // of mark, held while the store is asked for it
	mark    mark

	mu      sync.Mutex
	since   time.Time // of the first failure
	back    time.Time // of the last recovery
	hold    time.Time // no probe before
	backoff time.Duration
	told    bool
	undos   []undo
	refunds []pendingRefund
}

// StoreChange says that the shared store has gone away, or has come back.
type StoreChange struct {
	Down bool
	Err  error         // what was wrong, when Down
	Away time.Duration // how long it was away, when back
	// Added is how many charges were added to the shared store, when back.
	Added int
}

const (
	// decideWithin bounds the wait for the shared store, so that a decision with
	// its fallback stays within 300 ms.
	decideWithin = 250 * time.Millisecond
	maxUndos     = 1000
	maxRefunds   = 20_000
)

// undo is a Take whose outcome is unknown.
type undo struct {
	batch *ratelimit.Batch
	at    time.Time
}

// pendingRefund waits for the shared store.
type pendingRefund struct {
	id      ratelimit.Attempt
	returns []ratelimit.Return
}

// errQueueFull: the shared store is away for so long that what is owed to it
// cannot all be kept; the charges stay.
var errQueueFull = errors.New("too many refunds wait for the store; the charge stays")

// NewFailover puts local beside shared; local may have been loaded from a
// snapshot of an earlier run. notify is called once at each change of state,
// from the goroutine that saw it, and must not wait; nil: nobody is told. Run
// must be running for the shared store to come back.
func NewFailover(shared ratelimit.Store, local *Store, notify func(StoreChange)) *Failover {
	if notify == nil {
		notify = func(StoreChange) {}
	}
	f := &Failover{shared: shared, local: local, notify: notify, secret: recipients.NewSecret(nil), wake: make(chan struct{}, 1), since: time.Now()}
	f.mark = newMark()
	f.down.Store(true) // until Run has asked
	local.trackOwed()
	return f
}

// UseSecret makes the nodes agree on a secret before this one asks the shared
// store for any decision: the store's holds, s becomes it where the store has
// none. While the store is away s stays as it is. Call it before Run.
func (f *Failover) UseSecret(s *recipients.Secret) { f.secret = s }

// Down reports whether decisions are made here.
func (f *Failover) Down() bool { return f.down.Load() }

// Take asks the shared store; when that fails, or is known to be away, it
// decides here.
func (f *Failover) Take(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	for {
		result, asked, decided := f.takeShared(ctx, b)
		if decided {
			return result, nil
		}
		f.gate.RLock()
		if asked || f.down.Load() {
			defer f.gate.RUnlock()
			f.down.Store(true) // where it has come back since it failed us
			f.awaitAsked()
			return f.decide(ctx, b)
		}
		f.gate.RUnlock() // it came back while we waited
	}
}

// awaitAsked waits until no call of Take is under way to a store that is away.
// None begins while it is, and the caller holds the gate.
func (f *Failover) awaitAsked() {
	if f.alone.Load() {
		return
	}
	f.asking.Lock()
	f.alone.Store(true)
	f.asking.Unlock()
}

// takeShared reports whether the shared store was asked, and whether it decided.
func (f *Failover) takeShared(ctx context.Context, b *ratelimit.Batch) (result ratelimit.Result, asked, decided bool) {
	f.asking.RLock()
	defer f.asking.RUnlock()
	if f.down.Load() {
		return result, false, false
	}
	err := f.ask(ctx, func(ctx context.Context) (err error) {
		result, err = f.shared.Take(ctx, b)
		return err
	})
	switch {
	case err == nil && (b.Peek || f.local.learn(b, &result, false)):
		return result, true, true
	case err == nil && !f.emptied(ctx):
		f.local.learn(b, &result, true)
		return result, true, true
	case err != nil:
		f.failed(err)
	}
	f.keepUndo(b)
	return result, true, false
}

// ask makes a call with bounded patience. The session's own end is not a reason to
// leave it half done.
func (f *Failover) ask(ctx context.Context, call func(context.Context) error) error {
	by := time.Now().Add(decideWithin)
	if at, ok := ctx.Deadline(); ok && at.Before(by) {
		by = at
	}
	patient, cancel := context.WithDeadline(context.WithoutCancel(ctx), by)
	defer cancel()
	return call(patient)
}

// failed sends further decisions here, and Run to look. A store that fails again
// soon after it came back is left alone for longer each time.
func (f *Failover) failed(err error) {
	f.mu.Lock()
	now := time.Now()
	if !f.down.Swap(true) {
		f.since = now
		f.backoff *= 2
		if now.Sub(f.back) > steadyAfter {
			f.backoff = 0
		} else if f.backoff == 0 {
			f.backoff = probeEvery / 2
		}
		f.backoff = min(f.backoff, maxBackoff)
		f.hold = now.Add(f.backoff)
	}
	often := f.backoff >= tellAfter
	f.mu.Unlock()
	if often {
		f.tell(err)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// keepUndo keeps a batch whose charges may have been made.
func (f *Failover) keepUndo(b *ratelimit.Batch) {
	if b.Peek {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.undos) < maxUndos {
		f.undos = append(f.undos, undo{cloneBatch(b), time.Now()})
	}
}

// decide decides a batch in process. Stamps of local charges are negative.
func (f *Failover) decide(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	nodes := f.local.nodeCount()
	l := ratelimit.Batch{ID: b.ID, Budgets: slices.Clone(b.Budgets), Peek: b.Peek}
	for i := range l.Budgets {
		scaleBudget(&l.Budgets[i], nodes)
	}
	result := ratelimit.NewResult(b)
	var which []int
	for i := range b.Requests {
		if d := deferring(b, &b.Requests[i]); d >= 0 {
			q := &result.Requests[i]
			q.OK, q.Down, q.Budget = false, true, d
			continue
		}
		l.Requests, which = append(l.Requests, b.Requests[i]), append(which, i)
	}
	local, err := f.local.Take(ctx, &l)
	if err != nil {
		return result, err
	}
	for i := range b.Budgets {
		result.Budgets[i] = local.Budgets[i]
		admitMax(&b.Budgets[i], &result.Budgets[i])
	}
	for i, q := range local.Requests {
		result.Requests[which[i]] = q
		for j := range q.Charges {
			q.Charges[j].At = -q.Charges[j].At
		}
	}
	return result, nil
}

// deferring is the first budget of a request that says "defer", -1 for none.
func deferring(b *ratelimit.Batch, q *ratelimit.Request) int {
	for _, ref := range q.Refs {
		if g := &b.Budgets[ref]; g.OnFailure == ratelimit.FailDefer && !g.Shadow {
			return ref
		}
	}
	return -1
}

// scaleBudget leaves a budget this node's share, or no bound at all.
func scaleBudget(g *ratelimit.Budget, nodes int64) {
	if nodes == 1 && g.OnFailure != ratelimit.FailAdmit {
		return
	}
	g.Windows = slices.Clone(g.Windows)
	for i := range g.Windows {
		w := &g.Windows[i]
		w.Reserve = slices.Clone(w.Reserve)
		if g.OnFailure == ratelimit.FailAdmit {
			w.Max = ratelimit.MaxNumber
			for j := range w.Reserve {
				w.Reserve[j].Min = 0 // the share is counted all the same
			}
			continue
		}
		if w.Max > 0 {
			w.Max = max(1, w.Max/nodes)
		}
		for j := range w.Reserve {
			w.Reserve[j].Min /= nodes
		}
	}
}

// admitMax shows the real number of a limit that admits.
func admitMax(g *ratelimit.Budget, r *ratelimit.BudgetResult) {
	if g.OnFailure != ratelimit.FailAdmit {
		return
	}
	for i := range r.Windows {
		r.Windows[i].Max, r.Windows[i].Near = g.Windows[i].Max, false
	}
}

// cloneBatch copies what Undo needs.
func cloneBatch(b *ratelimit.Batch) *ratelimit.Batch {
	c := &ratelimit.Batch{ID: b.ID, Budgets: slices.Clone(b.Budgets), Requests: slices.Clone(b.Requests)}
	for i := range c.Budgets {
		c.Budgets[i].Key = slices.Clone(c.Budgets[i].Key)
	}
	for i := range c.Requests {
		c.Requests[i].Refs = slices.Clone(c.Requests[i].Refs)
	}
	return c
}

// Refund gives charges back where they were made. What the shared store cannot
// take now is kept for it.
func (f *Failover) Refund(ctx context.Context, id ratelimit.Attempt, returns []ratelimit.Return) error {
	var here, there []ratelimit.Return
	for _, r := range returns {
		if r.At < 0 {
			r.At = -r.At
			here = append(here, r)
		} else {
			there = append(there, r)
		}
	}
	if len(here) > 0 {
		if err := f.local.Refund(ctx, id, here); err != nil {
			return err
		}
	}
	if len(there) == 0 {
		return nil
	}
	if !f.down.Load() {
		err := f.ask(ctx, func(ctx context.Context) error { return f.shared.Refund(ctx, id, there) })
		if err == nil {
			return nil
		}
		f.failed(err)
	}
	return f.keepRefund(id, there)
}

func (f *Failover) keepRefund(id ratelimit.Attempt, returns []ratelimit.Return) error {
	for i := range returns {
		returns[i].Budget.Key = slices.Clone(returns[i].Budget.Key)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.refunds) >= maxRefunds {
		return errQueueFull
	}
	f.refunds = append(f.refunds, pendingRefund{id, slices.Clone(returns)})
	return nil
}

// Undo does nothing: Take sees to it itself.
func (f *Failover) Undo(context.Context, *ratelimit.Batch) error { return nil }

// Record adds charges to the store that decides.
func (f *Failover) Record(ctx context.Context, id ratelimit.Attempt, records []ratelimit.Record) error {
	if f.down.Load() {
		return f.local.Record(ctx, id, records)
	}
	return f.shared.Record(ctx, id, records)
}

// Scan lists the budgets of the store that decides.
func (f *Failover) Scan(ctx context.Context, limit string, each func(limit, key string) bool) error {
	if f.down.Load() {
		return f.local.Scan(ctx, limit, each)
	}
	return f.shared.Scan(ctx, limit, each)
}

// Reset forgets the counts of a budget in both stores.
func (f *Failover) Reset(ctx context.Context, limit, key string) error {
	return errors.Join(f.local.Reset(ctx, limit, key), f.shared.Reset(ctx, limit, key))
}

// SetAllowance asks the shared store, and returns its error where that is away.
func (f *Failover) SetAllowance(ctx context.Context, r ratelimit.Allowance) error {
	if err := f.shared.SetAllowance(ctx, r); err != nil {
		return err
	}
	return f.local.SetAllowance(ctx, shareOf(r, f.local.nodeCount()))
}

// SwapAllowance asks the shared store, and returns its error where that is away.
func (f *Failover) SwapAllowance(ctx context.Context, r ratelimit.Allowance, old string) (ok bool, err error) {
	if ok, err = f.shared.SwapAllowance(ctx, r, old); err != nil || !ok {
		return false, err
	}
	return true, f.local.SetAllowance(ctx, shareOf(r, f.local.nodeCount()))
}

// shareOf is the temporary override as one of several nodes has it.
func shareOf(r ratelimit.Allowance, nodes int64) ratelimit.Allowance {
	if r.Add > 0 {
		r.Add = max(1, r.Add/nodes)
	}
	return r
}

// Allowances lists those of the shared store, or this node's share of those that
// it last knew.
func (f *Failover) Allowances(ctx context.Context) ([]ratelimit.Allowance, error) {
	if f.down.Load() {
		return f.local.Allowances(ctx)
	}
	allowances, err := f.shared.Allowances(ctx)
	if err != nil {
		return nil, err
	}
	allowances = withoutMarks(allowances)
	f.local.setAllowances(allowances)
	return allowances, nil
}

// Nodes is the number that was last seen.
func (f *Failover) Nodes(context.Context) (int, error) { return int(f.local.nodeCount()), nil }

// Waits is true: the server of the shared store is another process.
func (f *Failover) Waits() bool { return true }

// Agree asks the shared store.
func (f *Failover) Agree(ctx context.Context, own, bad string) (string, error) {
	return f.shared.Agree(ctx, own, bad)
}

// Ping asks the shared store.
func (f *Failover) Ping(ctx context.Context) error { return f.shared.Ping(ctx) }
