package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// Store holds the counts of all budgets. There are two: embedded.Store, in process,
// and redisstore.Store; embedded.Failover joins both. All methods may be called
// concurrently.
//
// # What a store promises
//
// The state of a window belongs to (Limit, Key, Unit, Length, Share) and to
// nothing else: it never depends on Max, so that another number after a reload
// finds the same counts, up or down. State that a reload no longer mentions
// stays until its window has passed.
//
// The cap is hard and rolling: at no instant have the charges of the last
// Length together more than Max. A charge may be counted for longer than
// Length, by at most Length/64, and never for less; while a window holds at
// most 64 charges, each of them counts exactly, to the millisecond (a charge is
// gone when its age is Length). Time is the store's own clock: monotonic in
// process, the server's TIME in Redis. State that lies in the future of a clock
// set back counts as of now.
//
// DistinctRecipients counts different Distinct values with a live charge; a
// repeated one costs nothing and lives from its last charge. It is exact up to
// 1024 in a window, and may be an estimate with a standard error of 5 % above,
// whoever chooses the recipients and whatever they learn from the answers; see
// distinct.go. What is live under the Former or Plain hash of a recipient
// becomes live under Distinct, and is not counted twice; but of more than 1024
// plain ones all count until their window has passed.
//
// State lives at least as long as it counts and goes away by itself soon after.
type Store interface {
	// Take decides the requests of b in order and charges those that fit, in
	// one step that no other Take can come between. It leaves b as it is. A store
	// that can lose a reply charges the same Attempt once, however often it
	// arrives; this holds for Refund and Record too.
	// The error is non-nil only when the store failed; the Result is then
	// meaningless and the charges may or may not have been made (see Undo).
	Take(ctx context.Context, b *Batch) (Result, error)

	// Refund gives charges back to exactly the place they were charged to, none
	// below zero; what has passed out of its window meanwhile is ignored.
	Refund(ctx context.Context, id Attempt, returns []Return) error

	// Undo takes back what Take(b) charged, if it did: for a Take that failed,
	// so that its outcome is unknown. Doing so twice changes nothing. A store may
	// forget attempts after a minute, and then leaves the charges as they are.
	Undo(ctx context.Context, b *Batch) error

	// Record adds charges that were made elsewhere while this store was away,
	// without asking for room.
	Record(ctx context.Context, id Attempt, records []Record) error

	// Scan calls f with the limit and key of every budget that has state, in no
	// order, until f returns false; only those of one limit unless limit is "".
	// Budgets that come or go meanwhile may be missed.
	Scan(ctx context.Context, limit string, f func(limit, key string) bool) error

	// Reset forgets the counts of one budget, not its temporary overrides.
	Reset(ctx context.Context, limit, key string) error

	// SetAllowance keeps r until r.Until and adds it to Max in every Take and Peek
	// from now on; it replaces one of the same limit, key, unit and window. One
	// whose Add is 0 is removed.
	SetAllowance(ctx context.Context, r Allowance) error

	// SwapAllowance is SetAllowance if the Reason of the override in force is old ("":
	// there is none), in one step for all nodes. Otherwise ok is false and nothing is
	// changed. ok is also true where r itself is in force already.
	SwapAllowance(ctx context.Context, r Allowance, old string) (ok bool, err error)

	// Allowances returns the temporary overrides that have not ended, in no order.
	Allowances(ctx context.Context) ([]Allowance, error)

	// Nodes is the number of nodes, this one included, that used the store in
	// the last minute.
	Nodes(ctx context.Context) (int, error)

	// Agree answers with the secret (64 hexadecimal digits) of all who use the
	// store: the one that was given to it first, which is own where it has none,
	// or has lost it, or has what bad says. A store of one process answers own.
	Agree(ctx context.Context, own, bad string) (string, error)

	// Waits reports whether calls may wait for another process, such as a server, so that
	// they need a timeout.
	Waits() bool

	// Ping reports whether the store can decide at present.
	Ping(ctx context.Context) error
}

// ErrFull is returned by Take when the store can remember no further key
// without forgetting one that is near its limit.
var ErrFull = errors.New("no memory left for another key that counts")

// Window is one number of a limit: at most Max in any Length. It is immutable
// and shared by all budgets with the same numbers.
type Window struct {
	Unit   Unit
	Length time.Duration // whole seconds, MinWindow to MaxPeriod
	Max    int64         // 0 refuses always; at most MaxNumber
	// Reserve divides Max: room that only the named shares may use. Nil for most.
	Reserve []Reserve
}

// Reserve keeps Min of a window's Max for one share. With u(s) used by share s,
// "" being all who have no reserve, and with Open = Max - sum of Min:
//
//	taken = u("") + sum over s of max(0, u(s)-Min(s))
//
// a charge n of share "" fits when taken+n <= Open and the sum of all u plus n
// is at most Max. A charge n of share s fits when the sum of all u plus n is at
// most Max and max(0, u(s)+n-Min(s)) - max(0, u(s)-Min(s)) is at most
// max(0, Open-taken); so within its Min it always fits. A temporary override adds to Max and
// Open, not to Min. All shares that have state in the window are summed, also
// those that no longer have a reserve: these count as "".
type Reserve struct {
	Share string
	Min   int64
}

// Budget is what one limit allows one key: the unit of state.
type Budget struct {
	// Limit is the name of the limit.
	Limit string
	// Key is the text of the key, such as "client=shop recipient_domain=x.example";
	// CanonicalKey is its one form. Never empty, at most about 1 KiB, and without a
	// space or control octet inside a value. It belongs to the caller and
	// may change after the call: a store that keeps it copies it.
	Key []byte
	// Share is the stream that this mail's charges count in where Windows have
	// a Reserve; "" when the stream has none.
	Share   string
	Windows []Window
	// Shadow: never refuses; see Batch.
	Shadow bool
	// OnFailure is for Failover.
	OnFailure OnFailure
	// Spare: where memory is short, this is forgotten first, however full.
	Spare bool
	// Paid: the transaction has paid a message here, so that further requests
	// charge none.
	Paid bool
}

// Slot is the part of the key that decides where a Cluster keeps the budget:
// budgets of one client have the same slot.
func (b *Budget) Slot() []byte {
	if i := bytes.IndexByte(b.Key, ' '); i >= 0 {
		return b.Key[:i]
	}
	return b.Key
}

// Batch is what one call of Take decides. All slices belong to the caller, are
// reused, and must not be kept.
//
// A request touches the budgets that its Refs name; each budget is touched by
// one at least, and occurs once. In each it costs
// r.Recipients in windows of Recipients, r.Bytes in windows of Bytes, 1 in
// windows of DistinctRecipients where r.Distinct is not 0 and not yet live, and
// 1 in windows of Messages when r.Recipients is over 0 and no message has been
// paid there, by the transaction before or by an earlier request. What costs 0
// fits always.
//
// A request is OK when it fits every window of every budget it touches that is
// not Shadow; it is then charged to all of those. Otherwise it costs nothing at
// all. A Shadow budget is charged by a request that is OK and that fits all
// windows of that budget itself: its counts are those it would have if it were
// enforced, and it has no influence on anything else.
type Batch struct {
	ID       Attempt
	Budgets  []Budget
	Requests []Request
	// Peek: decide each request against the counts as they are, charge nothing.
	Peek bool
}

// Request is one recipient, or the body of a message.
type Request struct {
	Recipients int64  // 1 for a recipient, 0 for a body
	Bytes      int64  // of a body
	Distinct   uint64 // keyed hash of the recipient; 0 for a body, or where nothing counts them
	// Former is the hash under the secret before, Plain the one without any that
	// earlier releases counted: who is live under one of them costs nothing. 0:
	// is not looked up.
	Former, Plain uint64
	Refs          []int // indexes of Batch.Budgets, each at most once
}

// Return is a charge to give back. Budget is as it was in the Batch that made
// the charge, At is the Charge's; amounts of 0 are left alone. A Distinct value is
// forgotten only if that charge was the first and only one of its window.
type Return struct {
	Budget     Budget
	At         int64
	Messages   int64
	Recipients int64
	Bytes      int64
	Distinct   uint64
}

// Record is a charge that was made Age ago while the store was away.
type Record struct {
	Limit    string
	Key      string
	Share    string
	Unit     Unit
	Length   time.Duration
	Age      time.Duration // less than Length
	N        int64         // of Unit; 1 for DistinctRecipients
	Distinct uint64        // only for DistinctRecipients
	// Level says that Distinct was kept as one of 2^Level recipients, the others not.
	Level uint8
	// Plain: Distinct is a hash without a secret, of an earlier release.
	Plain bool
}

// Allowance is a temporary override: it adds Add to the number of one budget until Until.
type Allowance struct {
	Limit  string        `json:"limit"`
	Key    string        `json:"key"`
	Unit   Unit          `json:"unit"`
	Window time.Duration `json:"window"` // nanoseconds; 0: every window of the unit
	Add    int64         `json:"add"`    // at most MaxNumber
	Made   time.Time     `json:"made,omitzero"`
	Until  time.Time     `json:"until"`
	Reason string        `json:"reason"`
}

// Attempt names one call that changes counts, over all nodes and restarts.
type Attempt struct {
	Node uint64 // drawn at random by the process
	Seq  uint64 // counts its attempts
}
