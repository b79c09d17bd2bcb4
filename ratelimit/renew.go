package ratelimit

import (
	"context"
	"slices"
	"time"
)

// renew makes the rules in force those of the account, when others have come in
// since the last call. A budget whose windows count as before goes on with its
// new numbers; any other is past, and those of the new rules begin without what
// this transaction has been charged so far: Recheck adds it.
func (a *Account) renew() {
	rules := a.limiter.rules.Load()
	if rules == a.rules {
		return
	}
	a.rules, a.changed = rules, true
	for i := range a.budgets {
		a.budgets[i].past = true
	}
	a.concern = a.concern[:0]
	a.findConcerns()
}

// revive finds the budget of earlier rules that goes on under r; -1 when there is
// none.
func (a *Account) revive(r *rule, key []byte, windows []Window) int {
	if !a.changed {
		return -1
	}
	share, shadow := r.share(a.facts.Stream), r.shadow(&a.facts)
	for i := range a.budgets {
		st := &a.budgets[i]
		if !st.past || st.Limit != r.name || st.Share != share || st.Shadow != shadow ||
			string(st.Key) != string(key) || !slices.EqualFunc(st.Windows, windows, sameCounts) {
			continue
		}
		st.rule, st.Windows, st.OnFailure, st.past = r, windows, r.cfg.OnStoreFailure, false
		return i
	}
	return -1
}

// sameCounts reports whether two windows find the same charges.
func sameCounts(a, b Window) bool {
	return a.Unit == b.Unit && a.Length == b.Length && (a.Reserve == nil) == (b.Reserve == nil)
}

// NewRules reports whether the rules in force are other than those under which all charges
// were made or last checked; only then Recheck has anything to do.
func (a *Account) NewRules() bool { return a.changed || a.limiter.rules.Load() != a.rules }

// Recheck judges what has been charged by the rules in force now. rs are the recipients
// that are to get the message, and is their indexes for Refund. While the rules are those
// under which all of them were charged it is OK at once. After a reload it is refused where
// a number that was lowered is exceeded, whoever used it up; what counts now and did not
// before is charged, in one step. A refusal gives nothing back.
func (a *Account) Recheck(ctx context.Context, rs []Recipient, is []int) Decision {
	a.renew()
	if !a.changed {
		return Decision{OK: true}
	}
	missing := a.missing(rs, is, func(*rule) bool { return true })
	if v := a.over(ctx); !v.OK {
		return v
	}
	if v := a.chargeMissing(ctx, rs, is, missing); !v.OK {
		return v
	}
	a.changed = false
	return Decision{OK: true}
}

// missing lists, for each of rs, the budgets in force of some rules that have not been
// charged for it. It opens all that count one of rs.
func (a *Account) missing(rs []Recipient, is []int, of func(*rule) bool) [][]int {
	missing := make([][]int, len(rs))
	for i := range rs {
		for c := range a.concern {
			if r := a.concern[c].rule; !of(r) || !r.counted(&rs[i]) {
				continue
			}
			if b := a.budget(c, &rs[i]); b >= 0 && !a.has(is[i], b) {
				missing[i] = append(missing[i], b)
			}
		}
	}
	return missing
}

// has reports whether a recipient was charged to a budget.
func (a *Account) has(i, budget int) bool {
	return slices.ContainsFunc(a.rcpts[i].charges, func(c charge) bool { return c.budget == budget })
}

// over peeks at the budgets that have been charged: OK unless one of them holds
// more than its present number.
func (a *Account) over(ctx context.Context) Decision {
	a.startBatch()
	for i := range a.budgets {
		if st := &a.budgets[i]; !st.past && st.rcpts > 0 {
			a.ref(i)
		}
	}
	a.batch.Peek = true
	a.batch.Requests = append(a.batch.Requests, Request{Refs: a.refs})
	said, err := a.take(ctx)
	if err != nil || said.Requests[0].Down {
		return a.verdict(0, &said, err)
	}
	for _, b := range a.order {
		st := &a.budgets[b]
		for j := range st.last {
			if r := &st.last[j]; !st.Shadow && r.Used > r.Max {
				st.results[j].Refused = true
				return st.tooMuch(j)
			}
		}
	}
	return Decision{OK: true}
}

// tooMuch is the verdict when window j holds more than its number.
func (st *account) tooMuch(j int) Decision {
	r, w := &st.last[j], &st.Windows[j]
	v := st.refusal(w)
	v.Max, v.Never = r.Max, r.Max <= 0
	v.RetryAfter = max(time.Second, (r.Free + time.Second - 1).Truncate(time.Second))
	if r.Free < 0 {
		v.RetryAfter = w.Length
	}
	return v
}

// chargeMissing takes what each of rs has not paid yet.
func (a *Account) chargeMissing(ctx context.Context, rs []Recipient, is []int, missing [][]int) Decision {
	a.startBatch()
	var which []int // of is, for each request
	for i, budgets := range missing {
		if len(budgets) == 0 {
			continue
		}
		from := len(a.refs)
		for _, b := range budgets {
			a.ref(b)
		}
		q := Request{Recipients: 1, Refs: a.refs[from:len(a.refs):len(a.refs)]}
		a.name(&q, rs[i].Address)
		a.batch.Requests = append(a.batch.Requests, q)
		which = append(which, is[i])
	}
	said, err := a.take(ctx)
	refused := Decision{OK: true}
	for i := range a.batch.Requests {
		if err != nil || !said.Requests[i].OK {
			if v := a.verdict(i, &said, err); !v.OK && refused.OK {
				refused = v
			}
			continue
		}
		r := &a.rcpts[which[i]]
		from := len(a.kept)
		a.keepCharges(i, &said.Requests[i])
		r.charges = append(slices.Clip(r.charges), a.kept[from:]...)
		r.distinct = a.batch.Requests[i].Distinct
	}
	return refused
}
