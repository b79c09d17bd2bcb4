package ratelimit

import (
	"context"
	"slices"
	"time"

	"postern/mail"
)

// Account is the quota of one mail transaction: what it asks for, what it was
// charged, and how that is given back. It belongs to one goroutine at a time.
type Account struct {
	limiter *Limiter
	rules   *Limits
	facts   Facts
	concern []concern
	budgets []account
	rcpts   []charged
	err     error
	// changed: other rules have come into force, and what was charged before has
	// not been checked against them, see Recheck.
	changed bool
	// headed: the header has told the submitter, or that there is none.
	headed bool

	now time.Time // of this call, for contributors; zero before the first use

	batch   Batch
	order   []int    // of each budget in batch: its index in budgets
	refs    []int    // arena of Request.Refs
	kept    []charge // arena of charged.charges
	keys    []byte
	results []WindowResult
	parts   []part
	returns []Return
	checks  []WindowCheck
}

// concern is a rule that applies to this transaction.
type concern struct {
	rule   *rule
	sender mail.Identity // as the rule knows it
	budget int           // index into budgets, -1 before the first use; unused when rule.perRecipient
}

// account is one budget and what the transaction has of it.
type account struct {
	Budget
	rule      *rule
	place     place // of the recipients
	past      bool  // of rules that are no longer in force: it is only given back
	shared    bool  // several senders may use it
	batch     int   // index into Batch.Budgets, -1 outside
	asked     bool  // results are filled in
	rcpts     int   // charged and not given back
	messageAt int64
	bytes     int64 // charged
	bytesAt   int64
	last      []WindowResult // what the last batch said of the windows
	results   []WindowResult // what all batches said, joined
}

// charged is what one recipient was charged.
type charged struct {
	charges  []charge
	distinct uint64
	back     bool // given back
}

// charge is one that the store made; budget is an index into Account.budgets.
type charge struct {
	budget int
	at     int64
}

// WindowCheck is what one window that the transaction was checked against said, for the
// event.
type WindowCheck struct {
	Limit, Key string
	Unit       Unit
	Window     time.Duration
	Max        int64
	Used       int64 // after the charge; before it when refused
	Refused    bool
	Shadow     bool
	Near       bool // this charge brought it to 80 %, the first to do so in Window
	// Top names the largest senders in a budget that several share, as
	// "news@example.org 62%"; three at most, only where Refused or Near. They
	// are those that this node saw.
	Top []string
}

// Begin opens the account of a transaction under the rules in force.
func (l *Limiter) Begin(f Facts) *Account {
	a := l.pool.Get().(*Account)
	a.limiter, a.rules, a.facts = l, l.rules.Load(), f
	a.findConcerns()
	return a
}

// BeginWhole is Begin for a transaction whose header is known, such as one of the past: all
// limits apply at once, also those per submitter.
func (l *Limiter) BeginWhole(f Facts) *Account {
	a := l.Begin(f)
	a.headed, a.concern = true, a.concern[:0]
	a.findConcerns()
	return a
}

// findConcerns lists the rules that apply to the transaction.
func (a *Account) findConcerns() {
	for _, r := range a.rules.of(a.facts.Client) {
		sender := r.sender(a.facts.Sender)
		if (a.headed || !r.late(&a.facts)) && r.concerns(&a.facts, sender) {
			a.concern = append(a.concern, concern{r, sender, -1})
		}
	}
}

// End releases the account; it must not be used afterwards. What was charged
// stays charged.
func (a *Account) End() {
	clear(a.budgets)
	clear(a.concern)
	clear(a.parts)
	clear(a.returns)
	clear(a.checks)
	clear(a.batch.Budgets)
	l := a.limiter
	*a = Account{
		concern: a.concern[:0], budgets: a.budgets[:0], rcpts: a.rcpts[:0],
		batch: Batch{Budgets: a.batch.Budgets[:0], Requests: a.batch.Requests[:0]},
		order: a.order[:0], refs: a.refs[:0], kept: a.kept[:0], keys: a.keys[:0],
		results: a.results[:0], parts: a.parts[:0], returns: a.returns[:0], checks: a.checks[:0],
	}
	if cap(a.rcpts) <= 1000 { // a giant is left to the collector
		l.pool.Put(a)
	}
}

// Err is the last fault of the store that the account met, in a charge or a refund; nil
// when there was none.
func (a *Account) Err() error { return a.err }

// NeedsStrangers reports whether a limit counts strangers: then NewToClient and NewToSender
// of each Recipient have to be filled in.
func (a *Account) NeedsStrangers() bool {
	a.renew()
	return a.mayCount(func(r *rule) bool { return r.cfg.Only.Strangers != "" })
}

// NeedsProvider reports whether a limit counts the recipients at a domain by their
// group of receivers: then Recipient.Provider has to be filled in.
func (a *Account) NeedsProvider(domain string) bool {
	a.renew()
	return a.mayCount(func(r *rule) bool { return r.perProvider && r.counts(domain) })
}

// mayCount reports whether such a rule applies to the transaction, or may once the
// header has come.
func (a *Account) mayCount(is func(*rule) bool) bool {
	f := &a.facts
	return slices.ContainsFunc(a.rules.of(f.Client), func(r *rule) bool {
		return is(r) && (!a.headed && r.late(f) || r.concerns(f, r.sender(f.Sender)))
	})
}

// Recipients appends one verdict for each of rs to out, in order, by the rules in
// force now. Each recipient takes all that it costs or nothing; the first that a
// budget counts takes the message there too. It is one call of the store.
func (a *Account) Recipients(ctx context.Context, rs []Recipient, out []Decision) []Decision {
	a.renew()
	a.startBatch()
	for i := range rs {
		a.addRequest(&rs[i])
	}
	r, err := a.take(ctx)
	for i := range a.batch.Requests {
		if err == nil && r.Requests[i].OK {
			a.keep(i, &r.Requests[i])
		} else {
			a.rcpts = append(a.rcpts, charged{})
		}
		out = append(out, a.verdict(i, &r, err))
	}
	return out
}

// Declared judges the SIZE parameter of MAIL (RFC 1870): nil unless so many bytes can never
// fit, whoever the recipients are. It charges nothing and does not ask the store.
func (a *Account) Declared(bytes int64) *Decision {
	for i := range a.concern {
		c := &a.concern[i]
		if c.rule.shadow(&a.facts) || c.rule.at != nil || c.rule.notAt != nil || c.rule.perRecipient() {
			continue
		}
		b := a.budget(i, &Recipient{})
		if b < 0 {
			continue
		}
		st := &a.budgets[b]
		for j := range st.Windows {
			w := &st.Windows[j]
			if w.Unit != Bytes {
				continue
			}
			most := w.most(st.Share) + a.limiter.raised(st.Limit, st.Key, w)
			if bytes > most || most == 0 {
				st.results[j] = WindowResult{Max: most, Refused: true}
				v := st.refusal(w)
				v.Max, v.RetryAfter, v.Never = most, w.Length, true
				return &v
			}
		}
	}
	return nil
}

// most is what a share of the window can ever have.
func (w *Window) most(share string) int64 {
	n := w.Max
	for _, r := range w.Reserve {
		if r.Share != share {
			n -= r.Min
		}
	}
	return n
}

// CountsBytes reports whether Body has anything to charge: a budget that counts
// one of the recipients has a window of bytes.
func (a *Account) CountsBytes() bool {
	for i := range a.budgets {
		if a.budgets[i].takesBytes() {
			return true
		}
	}
	return false
}

// takesBytes reports whether the budget counts a recipient and octets.
func (st *account) takesBytes() bool { return !st.past && st.rcpts > 0 && st.counts(Bytes) }

// Body charges the octets of the message to every budget that counts one of
// its recipients; call it once, after the data and after Recheck.
func (a *Account) Body(ctx context.Context, bytes int64) Decision {
	a.startBatch()
	from := len(a.refs)
	for i := range a.budgets {
		if a.budgets[i].takesBytes() {
			a.ref(i)
		}
	}
	a.batch.Requests = append(a.batch.Requests, Request{Bytes: bytes, Refs: a.refs[from:]})
	r, err := a.take(ctx)
	if err == nil && r.Requests[0].OK {
		a.keepBody(bytes, &r.Requests[0])
	}
	return a.verdict(0, &r, err)
}

// counts reports whether the budget has a window of the unit.
func (b *Budget) counts(u Unit) bool {
	for i := range b.Windows {
		if b.Windows[i].Unit == u {
			return true
		}
	}
	return false
}

func (a *Account) startBatch() {
	clear(a.batch.Budgets)
	for i := range a.budgets {
		a.budgets[i].batch = -1
	}
	a.batch = Batch{Budgets: a.batch.Budgets[:0], Requests: a.batch.Requests[:0]}
	a.order, a.refs, a.now = a.order[:0], a.refs[:0], time.Time{}
}

// addRequest adds the request of one recipient to the batch.
func (a *Account) addRequest(r *Recipient) {
	from, distinct := len(a.refs), false
	for i := range a.concern {
		if !a.concern[i].rule.counted(r) {
			continue
		}
		if b := a.budget(i, r); b >= 0 {
			a.ref(b)
			distinct = distinct || a.budgets[b].counts(DistinctRecipients)
		}
	}
	q := Request{Recipients: 1, Refs: a.refs[from:]}
	if distinct {
		a.name(&q, r.Address)
	}
	a.batch.Requests = append(a.batch.Requests, q)
}

// name says whom a request is for: the hash under the secret in force, and what
// the recipient may have been counted under before.
func (a *Account) name(q *Request, address mail.RecipientID) {
	h := a.limiter.secret.Hashes(string(address), a.moment())
	q.Distinct, q.Former, q.Plain = h.Distinct, h.Former, h.Plain
}

// ref makes the request being built touch a budget.
func (a *Account) ref(budget int) {
	st := &a.budgets[budget]
	if st.batch < 0 {
		st.batch = len(a.batch.Budgets)
		a.batch.Budgets = append(a.batch.Budgets, st.Budget)
		a.order = append(a.order, budget)
	}
	a.refs = append(a.refs, st.batch)
}

// take asks the store, and joins what each window said to earlier batches.
func (a *Account) take(ctx context.Context) (Result, error) {
	if len(a.batch.Budgets) == 0 {
		return NewResult(&a.batch), nil
	}
	a.batch.ID = a.limiter.attempt()
	r, err := a.limiter.store.Take(ctx, &a.batch)
	if err != nil {
		a.err = err
		return r, err
	}
	for i, b := range a.order {
		st, said := &a.budgets[b], &r.Budgets[i]
		st.Paid, st.asked, st.last = said.Paid, true, said.Windows
		for j := range st.results {
			st.results[j].join(&said.Windows[j])
		}
	}
	return r, nil
}

func (w *WindowResult) join(next *WindowResult) {
	w.Max, w.Used = next.Max, next.Used
	w.Refused = w.Refused || next.Refused
	w.Near = w.Near || next.Near
}

// keep notes what request i of the batch, of a recipient, was charged.
func (a *Account) keep(i int, said *RequestResult) {
	from := len(a.kept)
	a.keepCharges(i, said)
	a.rcpts = append(a.rcpts, charged{charges: a.kept[from:len(a.kept):len(a.kept)], distinct: a.batch.Requests[i].Distinct})
}

// keepCharges appends what request i was charged to a.kept.
func (a *Account) keepCharges(i int, said *RequestResult) {
	for j, c := range said.Charges {
		if !c.Made {
			continue
		}
		budget := a.order[a.batch.Requests[i].Refs[j]]
		st := &a.budgets[budget]
		st.rcpts++
		if c.Message {
			st.messageAt = c.At
		}
		a.kept = append(a.kept, charge{budget, c.At})
		a.contribute(st, 1, c.Message, 0)
	}
}

func (a *Account) keepBody(bytes int64, said *RequestResult) {
	for j, c := range said.Charges {
		if c.Made {
			st := &a.budgets[a.order[a.batch.Requests[0].Refs[j]]]
			st.bytes, st.bytesAt = bytes, c.At
			a.contribute(st, 0, false, bytes)
		}
	}
}

// contribute notes who used a shared budget, in the unit of its first window.
func (a *Account) contribute(st *account, rcpts int64, message bool, bytes int64) {
	if !st.shared {
		return
	}
	n := rcpts
	switch unit := st.Windows[0].Unit; {
	case unit == Messages && !message:
		n = 0
	case unit == Bytes:
		n = bytes
	}
	if n != 0 {
		a.limiter.top.Add(st.Limit, st.Key, a.facts.value(PerSender), n, counted(st.Windows).Length, a.moment())
	}
}

// moment is the time of this call: the clock is read once for all that it
// notes.
func (a *Account) moment() time.Time {
	if a.now.IsZero() {
		a.now = a.limiter.now()
	}
	return a.now
}

// counted is the window whose senders are known: the longest in the unit of the
// first.
func counted(windows []Window) *Window { return &windows[countedAt(windows)] }

func countedAt(windows []Window) (at int) {
	for i := range windows {
		if windows[i].Unit == windows[0].Unit && windows[i].Length > windows[at].Length {
			at = i
		}
	}
	return at
}

// Refund gives back what the recipients is were charged, counted from 0 over all
// calls of Recipients, in one call of the store. The message and its bytes go back where no charged recipient
// is left. Calling it again, or for a recipient that was refused, does nothing.
func (a *Account) Refund(ctx context.Context, is ...int) {
	a.now = time.Time{}
	for _, i := range is {
		a.collect(i)
	}
	a.giveBack(ctx)
}

// RefundMessage gives back the message and its octets and keeps the recipients,
// for a message that we refuse once the upstream has been asked about them.
func (a *Account) RefundMessage(ctx context.Context) {
	a.now = time.Time{}
	for i := range a.budgets {
		st := &a.budgets[i]
		if st.Paid && st.Windows[0].Unit == Messages {
			a.contribute(st, -1, true, 0)
		}
		a.collectMessage(st)
	}
	a.giveBack(ctx)
}

// RefundAll gives back everything.
func (a *Account) RefundAll(ctx context.Context) {
	a.now = time.Time{}
	for i := range a.rcpts {
		a.collect(i)
	}
	a.giveBack(ctx)
}

// collect adds to a.returns what recipient i gives back.
func (a *Account) collect(i int) {
	if i < 0 || i >= len(a.rcpts) || a.rcpts[i].back {
		return
	}
	r := &a.rcpts[i]
	r.back = true
	for _, c := range r.charges {
		st := &a.budgets[c.budget]
		a.returns = append(a.returns, Return{Budget: st.Budget, At: c.at, Recipients: 1, Distinct: r.distinct})
		st.rcpts--
		last := st.rcpts == 0
		a.contribute(st, -1, last && st.Paid, 0)
		if last {
			a.collectMessage(st)
		}
	}
}

// collectMessage adds to a.returns the message and its octets.
func (a *Account) collectMessage(st *account) {
	if st.Paid {
		a.returns = append(a.returns, Return{Budget: st.Budget, At: st.messageAt, Messages: 1})
		st.Paid = false
	}
	if st.bytes > 0 {
		a.returns = append(a.returns, Return{Budget: st.Budget, At: st.bytesAt, Bytes: st.bytes})
		a.contribute(st, 0, false, -st.bytes)
		st.bytes = 0
	}
}

func (a *Account) giveBack(ctx context.Context) {
	if len(a.returns) == 0 {
		return
	}
	// A client that hangs up, or a stop of the relay, takes nothing away from
	// what is owed.
	if err := a.limiter.store.Refund(context.WithoutCancel(ctx), a.limiter.attempt(), a.returns); err != nil {
		a.err = err
	}
	clear(a.returns)
	a.returns = a.returns[:0]
}

// Checks lists every window that the transaction was checked against, in the order of
// the limits. The list is good until End.
func (a *Account) Checks() []WindowCheck {
	a.checks = a.checks[:0]
	for i := range a.budgets {
		st := &a.budgets[i]
		key := string(st.Key)
		for j := range st.results {
			r, w := &st.results[j], &st.Windows[j]
			if !st.asked && !r.Refused {
				continue // opened by Declared
			}
			check := WindowCheck{
				Limit: st.Limit, Key: key, Unit: w.Unit, Window: w.Length, Max: r.Max,
				Used: r.Used, Refused: r.Refused, Shadow: st.Shadow, Near: r.Near,
			}
			if st.shared && (r.Refused || r.Near) {
				check.Top = a.limiter.top.Names(st.Limit, st.Key, st.results[countedAt(st.Windows)].Used, a.limiter.now())
			}
			a.checks = append(a.checks, check)
		}
	}
	return a.checks
}
