package simulate

import (
	"container/heap"
	"time"
)

// A journal has transactions in the order in which they ended; they took their
// quota when they began. queue brings them into that order, as far as its
// bounds allow.
type queue struct {
	heap   byTime
	newest int64 // End of the latest that has come
	rcpts  int
}

const (
	// longest is how long a transaction may last and still come in its place.
	longest = int64(10 * time.Minute)
	// maxQueued and maxQueuedRecipients bound the memory of a queue.
	maxQueued           = 50_000
	maxQueuedRecipients = 500_000
)

func (q *queue) push(t *Transaction) {
	heap.Push(&q.heap, t)
	q.newest = max(q.newest, t.End)
	q.rcpts += len(t.To)
}

// pop is the next transaction whose place is certain, or that there is no room
// for; all makes every place certain.
func (q *queue) pop(all bool) *Transaction {
	if len(q.heap) == 0 {
		return nil
	}
	certain := all || q.heap[0].Time < q.newest-longest
	if !certain && len(q.heap) <= maxQueued && q.rcpts <= maxQueuedRecipients {
		return nil
	}
	t := heap.Pop(&q.heap).(*Transaction)
	q.rcpts -= len(t.To)
	return t
}

type byTime []*Transaction

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].Time < h[j].Time }
func (h byTime) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(x any)        { *h = append(*h, x.(*Transaction)) }
func (h *byTime) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}
