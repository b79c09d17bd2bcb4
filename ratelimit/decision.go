package ratelimit

import "time"

// Decision is the answer to one request. Without OK, StoreDown and Never it means
// 450 4.7.1, and what follows says which window refused. The examples are of the
// 501st message of news@example.org in an hour, under 500/1h per sender, 846.2
// seconds before the first of the 500 is an hour old.
type Decision struct {
	OK    bool
	Limit string // name of the limit; for logs
	Per   string // what it counts on, in words: "sender", "client and recipient domain"
	Key   string // "sender=news@example.org"; for logs
	Unit  Unit
	// Strangers: Unit is recipients, and those that are known do not count.
	Strangers bool
	Max       int64         // 500; with temporary overrides, less what is reserved for others
	Window    time.Duration // 1h
	// RetryAfter is the wait after which the same request fits, if nobody else
	// takes the room, rounded up to whole seconds: 847s.
	RetryAfter time.Duration
	// Never says that it can never fit. For bytes that is 552 5.3.4. Other units have
	// this only under a limit of 0, which may be set to stop mail for a while; the
	// answer is then 450 without a time.
	Never bool
	// StoreDown says that the store does not answer and that the limit says "defer":
	// 451 4.3.2.
	StoreDown bool
}

// verdict is the decision about request i of the batch.
func (a *Account) verdict(i int, r *Result, err error) Decision {
	if err != nil {
		return a.undecided(&a.batch.Requests[i])
	}
	q := &r.Requests[i]
	if q.OK {
		return Decision{OK: true}
	}
	st := &a.budgets[a.order[q.Budget]]
	if q.Down {
		return Decision{Limit: st.Limit, Per: st.perWords(), Key: string(st.Key), StoreDown: true}
	}
	v := st.refusal(&st.Windows[q.Window])
	v.Max = st.last[q.Window].Max
	v.RetryAfter = (q.RetryAfter + time.Second - 1).Truncate(time.Second)
	v.Never = q.Never
	return v
}

// undecided is the verdict when the store failed: the mail passes only if every
// limit it touches says "admit" or is a shadow.
func (a *Account) undecided(q *Request) Decision {
	for _, ref := range q.Refs {
		st := &a.budgets[a.order[ref]]
		if !st.Shadow && st.OnFailure != FailAdmit {
			return Decision{Limit: st.Limit, Per: st.perWords(), Key: string(st.Key), StoreDown: true}
		}
	}
	return Decision{OK: true}
}

func (st *account) refusal(w *Window) Decision {
	return Decision{
		Limit: st.Limit, Per: st.perWords(), Key: string(st.Key),
		Unit: w.Unit, Max: w.Max, Window: w.Length, Strangers: st.rule.cfg.Only.Strangers != "",
	}
}
