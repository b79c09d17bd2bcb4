package reputation

import "sync"

// intake is where transactions wait to be counted. Those that come while some
// are counted go into another batch, so that the room for both is used again.
type intake struct {
	came chan struct{} // there is a first one

	mu      sync.Mutex
	batch   batch
	other   batch // nil while it is counted
	dropped int   // found no room
}

// batch holds transactions, and the recipients of all of them.
type batch struct {
	transactions []Transaction
	recipients   []Recipient
}

const (
	// queueSize is how many transactions a batch holds.
	queueSize = 8192
	// roomKept is the room for recipients that is kept for the next batch.
	roomKept = queueSize
)

// add takes a copy of t with a copy of its recipients, where there is room. They
// are not in t, so that the caller may have them on his stack.
func (q *intake) add(t *Transaction, to []Recipient) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := &q.batch
	if len(b.transactions) == queueSize {
		q.dropped++
		return
	}
	first := len(b.recipients)
	b.recipients = append(b.recipients, to...)
	b.transactions = append(b.transactions, *t)
	b.transactions[len(b.transactions)-1].Recipients = b.recipients[first:]
	if len(b.transactions) == 1 {
		select {
		case q.came <- struct{}{}:
		default:
		}
	}
}

// take gives what waits; done must follow where there is any.
func (q *intake) take() batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batch.transactions) == 0 {
		return batch{}
	}
	b := q.batch
	q.batch, q.other = q.other, batch{}
	return b
}

// done gives the room of a batch back.
func (q *intake) done(b batch) {
	clear(b.transactions)
	clear(b.recipients)
	b.transactions, b.recipients = b.transactions[:0], b.recipients[:0]
	if cap(b.recipients) > roomKept {
		b.recipients = nil
	}
	q.mu.Lock()
	q.other = b
	q.mu.Unlock()
}

// lost is how many found no room since it was last asked.
func (q *intake) lost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.dropped
	q.dropped = 0
	return n
}
