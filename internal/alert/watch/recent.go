package watch

import (
	"postern/internal/alert"
	"postern/mail"
)

// kept is how many events are remembered: a suspension is told within the event that led
// to it, or a moment later.
const kept = 256

// recent is a ring of the last events.
type recent struct {
	ring [kept]seen
	next int
}

// seen is what an alert tells of a transaction.
type seen struct {
	id, client, user, stream, from, address, messageID string
	to                                                 []string // ten at most
	count                                              int
}

func (r *recent) add(e *mail.Event) {
	s := &r.ring[r.next]
	to := s.to[:0] // its room is used again
	for i := range e.To[:min(len(e.To), 10)] {
		to = append(to, e.To[i].Address)
	}
	*s = seen{e.ID, e.Client, e.Party(), e.Stream, e.From, e.ClientIP, e.MessageID, to, len(e.To)}
	r.next = (r.next + 1) % kept
}

// Last fills in the last transaction of a client, user and sender, "" standing for any:
// the names as events have them.
func (w *Watch) Last(client, user, sender string, about *alert.About) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range kept {
		s := &w.recent.ring[(w.recent.next-1-i+2*kept)%kept]
		if s.id == "" {
			return
		}
		if client != "" && s.client != client || user != "" && s.user != user || sender != "" && string(mail.IdentityOf(s.from)) != sender {
			continue
		}
		about.Transaction, about.Address, about.MessageID, about.Stream = s.id, s.address, s.messageID, s.stream
		about.Client, about.User = s.client, s.user
		about.Envelope = &alert.Envelope{From: s.from, To: append([]string{}, s.to...), ToCount: s.count}
		return
	}
}
