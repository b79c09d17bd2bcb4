package ratelimit

import "time"

// Verdict is the answer to one request. OK false without Down or Never means
// 450 4.7.1: what follows says which window refused.
type Verdict struct {
	OK     bool
	Limit  string // the limit's name; for logs
	Per    string // what it counts on, in words: "sender", "client and recipient domain"
	Key    string // "sender=news@example.org"; for logs
	Unit   Unit
	Max    int64 // with raises; less what is reserved for others
	Window time.Duration
	// RetryAfter is the wait after which the same request fits, if nobody else
	// takes the room; rounded up to whole seconds.
	RetryAfter time.Duration
	// Never: it can never fit. For bytes that is 552 5.3.4; other units have
	// this only under a limit of 0, which may be set to stop mail for a while,
	// and then 450 without a time is the answer.
	Never bool
	// StoreDown: the counts cannot be had and the limit says "defer"; 451 4.3.2.
	StoreDown bool
}

func (a *Account) verdict(q *Request, err error) Verdict {
	if err != nil {
		return a.undecided(q)
	}
	if q.OK {
		return Verdict{OK: true}
	}
	st := &a.budgets[a.order[q.Budget]]
	if q.Down {
		return Verdict{Limit: st.Limit, Per: st.perWords(), Key: string(st.Key), StoreDown: true}
	}
	v := st.refusal(&st.Windows[q.Window])
	v.Max = st.Results[q.Window].Max
	v.RetryAfter = (q.RetryAfter + time.Second - 1).Truncate(time.Second)
	v.Never = q.Never
	return v
}

// undecided is the verdict when the store failed: the mail passes only if every
// limit it touches says "admit" or is a shadow.
func (a *Account) undecided(q *Request) Verdict {
	for _, ref := range q.Refs {
		st := &a.budgets[a.order[ref.Budget]]
		if !st.Shadow && st.OnFailure != FailAdmit {
			return Verdict{Limit: st.Limit, Per: st.perWords(), Key: string(st.Key), StoreDown: true}
		}
	}
	return Verdict{OK: true}
}

func (st *account) refusal(w *Window) Verdict {
	return Verdict{
		Limit: st.Limit, Per: st.perWords(), Key: string(st.Key),
		Unit: w.Unit, Max: w.Max, Window: w.Length,
	}
}
