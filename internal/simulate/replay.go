package simulate

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
)

// Options are what a replay tries.
type Options struct {
	Limits map[string]ratelimit.RuleConfig
	Env    ratelimit.Env
	Store  embedded.Config
	// Facts says what limits see of a transaction. Nil: what they saw then.
	Facts func(*Transaction) ratelimit.Facts
	// Check, where it is not nil, gets every window that a transaction was checked
	// against, after its charges.
	Check func(*Transaction, *ratelimit.WindowCheck)
}

// Replay holds transactions against limits.
type Replay struct {
	opt     Options
	rules   *ratelimit.Limits
	limiter *ratelimit.Limiter // nil before the first transaction
	now     int64
	queue   queue
	refunds refunds
	retries *retries
	tally   *tally

	// Of one transaction.
	open     []ratelimit.Recipient
	about    []int // of each open one: its index in the transaction
	verdicts []ratelimit.Decision
	back     []int
	shadows  []string
}

// New makes a replay; the error is that of ratelimit.Compile.
func New(opt Options) (*Replay, error) {
	rules, err := ratelimit.Compile(opt.Limits, opt.Env)
	if err != nil {
		return nil, err
	}
	if opt.Facts == nil {
		opt.Facts = factsThen
	}
	return &Replay{opt: opt, rules: rules, retries: newRetries(), tally: newTally(opt.Limits)}, nil
}

func factsThen(t *Transaction) ratelimit.Facts {
	return ratelimit.Facts{
		Client: t.Client, User: t.User, Submitter: t.Submitter, SubmitterIP: t.SubmitterIP, ClientIP: t.ClientIP, Sender: mail.Identity(t.From), SenderDomain: t.SenderDomain(),
		Stream: t.Stream, Upstream: t.Upstream,
	}
}

// Add takes the next transaction of the journal, which belongs to the replay
// from then on.
func (r *Replay) Add(t *Transaction) error {
	t.fold(r.opt.Env.Parse)
	y := r.tally
	y.Transactions++
	if at := moment(t.Time); y.From.IsZero() || at.Before(y.From) {
		y.From = at
	}
	if at := moment(t.End); at.After(y.To) {
		y.To = at
	}
	if !reaches(t) {
		return nil
	}
	r.queue.push(t)
	r.drain(false)
	return nil
}

// Report ends the replay.
func (r *Replay) Report() *Report {
	r.drain(true)
	return r.tally.report()
}

func (r *Replay) drain(all bool) {
	for {
		t := r.queue.pop(all)
		if t == nil {
			return
		}
		r.judge(t)
	}
}

// unreached are the rules that refuse a recipient before any limit is asked.
var unreached = map[string]bool{
	"syntax": true, "max_recipients": true, "postmaster": true, "recipients": true,
	"suppression": true, "backoff": true, "held": true /* of earlier releases */, "check_recipient_domain": true,
	"outlier brake sender": true, "outlier brake user": true,
}

// reaches reports whether limits had anything to say about a transaction.
func reaches(t *Transaction) bool {
	if t.Client == "" || t.Stage == "connect" || t.Stage == "auth" {
		return false
	}
	if t.Stage == "mail" {
		return byLimit(t.Rule) != ""
	}
	return true
}

// judge holds one transaction against the limits.
func (r *Replay) judge(t *Transaction) {
	r.clock(t.Time)
	r.gather(t)
	if len(r.open) == 0 {
		return
	}
	y := r.tally
	y.Replayed++
	y.Recipients += int64(len(r.open))
	account := r.limiter.BeginWhole(r.opt.Facts(t))
	passed := r.charge(account, t)
	if passed > 0 && carried(t) {
		r.body(account, t)
	}
	r.count(t)
	r.note(account, t)
	r.end(account, t)
}

// clock lets time pass to the moment when a transaction began, and what is owed
// be given back.
func (r *Replay) clock(at int64) {
	if r.limiter == nil {
		r.now = at
		now := func() time.Time { return time.Unix(0, r.now) }
		r.limiter = ratelimit.NewLimiter(embedded.New(r.opt.Store, now), r.rules, now)
	}
	for len(r.refunds) > 0 && r.refunds[0].at <= at {
		owed := heap.Pop(&r.refunds).(refund)
		r.now = max(r.now, owed.at)
		owed.account.Refund(context.Background(), owed.recipients...)
		owed.account.End()
	}
	if at < r.now {
		r.tally.Late++
	}
	r.now = max(r.now, at)
}

// gather lists the recipients that reach the limits.
func (r *Replay) gather(t *Transaction) {
	r.open, r.about = r.open[:0], r.about[:0]
	if t.Stage == "mail" && len(t.To) == 0 {
		// Refused at MAIL, by the size that was declared: to whom is not known.
		t.To = append(t.To, Recipient{Outcome: t.Outcome, Rule: t.Rule})
	}
	for i := range t.To {
		to := &t.To[i]
		if unreached[to.Rule] {
			continue
		}
		then := byLimit(to.Rule)
		if then != "" {
			r.tally.RefusedThen++
			r.tally.was(then).Refused++
		}
		if r.retries.is(t, to.Address, then == "") {
			r.tally.Retries++
			continue
		}
		r.open = append(r.open, ratelimit.Recipient{Address: mail.RecipientID(to.Address), Domain: domainOf(to.Address), Provider: to.Provider})
		r.about = append(r.about, i)
	}
}

// charge takes quota as a relay does: nothing for a message that its declared
// size forbids, else what each recipient costs. It returns how many pass.
func (r *Replay) charge(account *ratelimit.Account, t *Transaction) (passed int) {
	r.verdicts = r.verdicts[:0]
	if v := account.Declared(t.Size); v != nil {
		for range r.open {
			r.verdicts = append(r.verdicts, *v)
		}
		return 0
	}
	r.verdicts = account.Recipients(context.Background(), r.open, r.verdicts)
	for i := range r.verdicts {
		if r.verdicts[i].OK {
			passed++
		}
	}
	return passed
}

// carried reports whether the octets of a message count: it came in whole and
// nothing refused it before, or nothing but limits refused its recipients.
func carried(t *Transaction) bool {
	switch t.Stage {
	case "sign", "forward":
		return true
	}
	return byLimit(t.Rule) != ""
}

// body charges the octets; a refusal is one of all recipients, and gives the
// message back, except where it is for good.
func (r *Replay) body(account *ratelimit.Account, t *Transaction) {
	v := account.Body(context.Background(), t.Size)
	if v.OK {
		return
	}
	for i := range r.verdicts {
		if r.verdicts[i].OK {
			r.verdicts[i] = v
		}
	}
	if !v.Never {
		account.RefundMessage(context.Background())
	}
}

// count holds what was said now against what was said then.
func (r *Replay) count(t *Transaction) {
	for i := range r.verdicts {
		v, to := &r.verdicts[i], &t.To[r.about[i]]
		then := byLimit(to.Rule)
		switch {
		case v.StoreDown:
			r.tally.Undecided++
		case !v.OK:
			r.tally.refused(t, v, then)
		case then != "":
			r.tally.passed(t, then)
			r.retries.expect(t, to.Address)
		}
	}
}

// note keeps the highest uses, and what shadow limits say.
func (r *Replay) note(account *ratelimit.Account, t *Transaction) {
	r.shadows = r.shadows[:0]
	checks := account.Checks()
	for i := range checks {
		l := &checks[i]
		r.tally.check(t, l)
		if r.opt.Check != nil {
			r.opt.Check(t, l)
		}
		if l.Shadow && l.Refused && !slices.Contains(r.shadows, l.Limit) {
			r.shadows = append(r.shadows, l.Limit)
			r.tally.shadowed(t, l)
		}
	}
}

// end releases the account, once what ended in a 4yz has been given back.
func (r *Replay) end(account *ratelimit.Account, t *Transaction) {
	r.back = r.back[:0]
	for i := range r.verdicts {
		to := &t.To[r.about[i]]
		if r.verdicts[i].OK && deferred(t, to) {
			r.back = append(r.back, i)
		}
	}
	if len(r.back) == 0 {
		account.End()
		return
	}
	heap.Push(&r.refunds, refund{at: t.End, account: account, recipients: slices.Clone(r.back)})
}

// deferred reports whether a recipient ended in a 4yz that was no limit's. Of
// one that a limit refused the journal does not know how it would have ended:
// as the message did, if that came to its end.
func deferred(t *Transaction, to *Recipient) bool {
	if byLimit(to.Rule) == "" {
		return to.Outcome == mail.Deferred
	}
	return t.Outcome == mail.Deferred && (t.Stage == "sign" || t.Stage == "forward") && byLimit(t.Rule) == ""
}

// refund is what is to be given back at a time.
type refund struct {
	at         int64
	account    *ratelimit.Account
	recipients []int
}

type refunds []refund

func (h refunds) Len() int           { return len(h) }
func (h refunds) Less(i, j int) bool { return h[i].at < h[j].at }
func (h refunds) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *refunds) Push(x any)        { *h = append(*h, x.(refund)) }
func (h *refunds) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	*h = (*h)[:last]
	return r
}
