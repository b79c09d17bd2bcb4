package ratelimit

import "time"

// Result is what a store decided about a Batch. It belongs to the caller of Take.
type Result struct {
	Budgets  []BudgetResult  // one for each budget of the batch, in its order
	Requests []RequestResult // one for each request, in its order
}

// BudgetResult is a budget after the batch.
type BudgetResult struct {
	// Paid says that the transaction has paid a message here: that it had before,
	// or that a request of the batch did.
	Paid    bool
	Windows []WindowResult // one for each window of the budget
}

// WindowResult is a window after the batch. The examples are of 500 messages in an
// hour, of which 399 were charged before; the batch charges one more.
type WindowResult struct {
	// Max is the number, and what live temporary overrides add: 500, or 5500 under
	// an override of +5000; MaxNumber at most. For a share without a reserve it is
	// less what is reserved: 400 where 100 are kept for another stream.
	Max int64
	// Used is Max less the room that is left for the budget's share: 400. It is
	// over Max when the number was lowered: 400 of 300.
	Used int64
	// Refused says that at least one request of the batch had no room here: with 499
	// used, the second of two messages.
	Refused bool
	// Near says that a charge of this batch brought Used to 80 % of Max, and that
	// none had done so within the last Length: true for the 400th message, false for
	// the 401st.
	Near bool
	// Free is the time until one more of the unit fits here: 20 minutes when 500 are
	// used, the first of them 40 minutes ago; 0 when one fits now, -1 when none ever
	// will (0/1h). Only a peek fills it in.
	Free time.Duration
}

// RequestResult is the answer to one request. RetryAfter and what follows are only
// meaningful when OK is false.
type RequestResult struct {
	OK bool
	// Down says that the store was away and a limit chose FailDefer. Only a
	// Failover sets it; Budget then names that limit.
	Down bool
	// RetryAfter is the time until the request fits everywhere if nobody else
	// takes the room: the longest wait of all windows without room, rounded up
	// to the store's resolution. 20 minutes where one window has room in 5 seconds
	// and another in 20 minutes. For a request that can never fit it is the Length
	// of that window.
	RetryAfter time.Duration
	// Budget and Window are the indexes of the window with that wait: 1 and 0 for
	// the first window of the second budget. Of several it is the first. One that
	// can never be met comes before all.
	Budget, Window int
	// Never says that the request is greater than what the window ever has for its
	// share: 2 MiB under 1MiB/1h, or anything under 0/1h.
	Never bool
	// Charges has one element for each of the request's Refs.
	Charges []Charge
}

// Charge is what a request was charged to one budget.
type Charge struct {
	// Made says that there was a charge: false for a request that is not OK, and for
	// a Shadow budget without room.
	Made bool
	// Message says that this charge included the message: of three recipients, true
	// for the first that was charged.
	Message bool
	// At stamps the charge, for Return. Redis puts the millisecond there, embedded
	// its own time; nobody else reads it.
	At int64
}

// NewResult has room for all that is decided about b: every request is OK and none
// is charged, no window is filled in, and messages are paid where b says so.
func NewResult(b *Batch) Result {
	windows, refs := 0, 0
	for i := range b.Budgets {
		windows += len(b.Budgets[i].Windows)
	}
	for i := range b.Requests {
		refs += len(b.Requests[i].Refs)
	}
	r := Result{Budgets: make([]BudgetResult, len(b.Budgets)), Requests: make([]RequestResult, len(b.Requests))}
	all, charges := make([]WindowResult, windows), make([]Charge, refs)
	for i := range b.Budgets {
		n := len(b.Budgets[i].Windows)
		r.Budgets[i] = BudgetResult{Paid: b.Budgets[i].Paid, Windows: all[:n:n]}
		all = all[n:]
	}
	for i := range b.Requests {
		n := len(b.Requests[i].Refs)
		r.Requests[i] = RequestResult{OK: true, Charges: charges[:n:n]}
		charges = charges[n:]
	}
	return r
}
