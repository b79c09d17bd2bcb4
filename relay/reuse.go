package relay

import (
	"sync"
	"time"

	"postern/mail"
	"postern/ratelimit"
)

// transactions that have ended are used again for others, since what they hold
// is of much the same size each time.
var transactions = sync.Pool{New: func() any {
	t := new(transaction)
	t.ev.To = []mail.RecipientEvent{} // never nil: journals say "to":[]
	t.in.emit, t.in.headerEnds = t.in.take, t.headerEnds
	return t
}}

// begin returns a transaction of s that starts now.
func (s *session) begin() *transaction {
	t := transactions.Get().(*transaction)
	t.s, t.snap, t.began, t.stage = s, s.snap, time.Now(), stageMail
	ev := &t.ev
	ev.Time, ev.ID, ev.Listener, ev.ClientIP = t.began, newID(t.began), s.lis.name, s.clientIP()
	ev.Helo, ev.User, ev.TLS = s.peer.Helo, s.peer.User, s.peer.TLS.Version
	return t
}

// maxKept is how many recipients and header fields a transaction may have had
// that is used again; a larger one is left to the collector.
const maxKept = 100

// reuse gives t back, after which nobody may touch it. It has ended, its event
// has been observed and its message is closed.
func (t *transaction) reuse() {
	large := max(cap(t.ev.To), cap(t.ev.Limits), cap(t.message.header), cap(t.pieces)) > maxKept || cap(t.in.header) > maxHead
	if !large {
		t.empty()
		transactions.Put(t)
	}
}

// empty forgets all of t but the room that it has.
func (t *transaction) empty() {
	ev, in, to, fields := &t.ev, &t.in, t.env.To, t.message.header
	clear(ev.To)
	clear(ev.Authors)
	clear(ev.Limits)
	clear(t.looks)
	clear(t.pieces)
	clear(to)
	clear(fields)
	facts := &t.message.facts
	facts.Forget()
	*t = transaction{
		in:       intake{header: in.header[:0], emit: in.emit, headerEnds: in.headerEnds, body: spool{chunks: in.body.chunks[:0]}},
		ev:       mail.Event{To: ev.To[:0], Authors: ev.Authors[:0], Limits: ev.Limits[:0]},
		env:      mail.Envelope{To: to[:0]},
		message:  message{header: fields[:0], facts: *facts},
		accepted: t.accepted[:0],
		looks:    t.looks[:0],
		pieces:   t.pieces[:0],
		room:     t.room.empty(),
		outward:  t.outward.Empty(),
	}
}

// room is what a group of RCPT needs while it is carried out, kept for the next.
type room struct {
	batch    []attempt
	which    []int // of batch
	open     []ratelimit.Recipient
	verdicts []ratelimit.Verdict
	rcpts    []mail.Recipient
	replies  []mail.Reply
}

// empty forgets all of r but the room.
func (r *room) empty() room {
	clear(r.batch[:cap(r.batch)])
	clear(r.open[:cap(r.open)])
	clear(r.verdicts[:cap(r.verdicts)])
	clear(r.rcpts[:cap(r.rcpts)])
	clear(r.replies[:cap(r.replies)])
	return room{r.batch[:0], r.which[:0], r.open[:0], r.verdicts[:0], r.rcpts[:0], r.replies[:0]}
}
