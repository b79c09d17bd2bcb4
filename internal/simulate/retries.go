package simulate

import (
	"hash/maphash"
	"time"
)

// retries knows mail that a limit refused then and that passes now: what its
// client sent again later would not have come, and must not count twice. Mail
// is told by client, sender and recipient alone, for a size that was declared
// is not the one that came. Where two messages share these, each passes once,
// and only when is not certain.
type retries struct {
	seed  maphash.Seed
	since map[uint64]int64
}

const (
	// retryWithin is how long after an attempt the next one comes at the latest.
	retryWithin = int64(6 * time.Hour)
	maxRetries  = 500_000
)

func newRetries() *retries {
	return &retries{seed: maphash.MakeSeed(), since: map[uint64]int64{}}
}

func (r *retries) key(t *Transaction, to string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, s := range [...]string{t.Client, t.From, to} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// expect notes that an attempt which was refused then has passed now.
func (r *retries) expect(t *Transaction, to string) {
	if len(r.since) >= maxRetries {
		r.forget(t.Time - retryWithin)
	}
	if len(r.since) < maxRetries {
		r.since[r.key(t, to)] = t.Time
	}
}

// is reports whether an attempt repeats one that has passed now; last says that
// it is one that passed then, so that none follows.
func (r *retries) is(t *Transaction, to string, last bool) bool {
	if len(r.since) == 0 {
		return false
	}
	key := r.key(t, to)
	at, ok := r.since[key]
	switch {
	case !ok:
		return false
	case t.Time-at > retryWithin:
		delete(r.since, key)
		return false
	case last:
		delete(r.since, key)
	default:
		r.since[key] = t.Time
	}
	return true
}

func (r *retries) forget(before int64) {
	for key, at := range r.since {
		if at < before {
			delete(r.since, key)
		}
	}
}
