package outlier

import (
	"time"

	"postern/mail"
	"postern/outlier/detector"
	"postern/outlier/store"
)

// Past is what limits on strangers need to know of a submitter.
type Past struct {
	// Since is the day on which its client was first seen, here or in a journal that was
	// read; zero: it never was.
	Since time.Time
	// Age is how many days ago the user first sent with the sender; 0 for a sender that was
	// never seen.
	Age int
	// OfOthers: without a user, and the client knows the sender from mail of submitters,
	// whom nobody knows yet, or of users. Then its age is not known.
	OfOthers bool
}

// Past says what is known of the past of a client and of one of its senders.
func (w *Watch) Past(client, user string, from mail.Identity) (p Past) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	p.Since = w.pastOf(client)
	sender := senderName(from)
	p.Age = w.detector.Age(now.Unix(), detector.Submitter(user, sender))
	p.OfOthers = user == "" && sender != "" && w.detector.OfOthers(client, sender)
	return p
}

// Stranger reports whether nobody of a client has written to a recipient before, and
// whether the sender has not. toSender means something only with Config.Pairs.
func (w *Watch) Stranger(client string, from mail.Identity, to mail.RecipientID) (toClient, toSender bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.detector.Hash(string(to))
	return !w.detector.Knows(client, h), !w.detector.SenderKnows(client, senderName(from), h)
}

// tellForgotten says once a day that known recipients had to be forgotten to make room
// for others, to whom they are strangers again.
func (w *Watch) tellForgotten() {
	w.mu.Lock()
	now, n, places := w.clock.read(), w.detector.Known().Forgotten(), w.detector.Places()
	more := n - w.forgotten.n
	due := more > 0 && !now.Before(w.forgotten.next)
	if due {
		w.forgotten.n, w.forgotten.next = n, now.Add(24*time.Hour)
	}
	w.mu.Unlock()
	if due {
		w.log.Warn("outlier known recipients forgotten for want of room: they count as never seen before; raise max_known", "forgotten", more, "places", places)
	}
}

// forgotten is what tellForgotten has told.
type forgotten struct {
	n    int64
	next time.Time
}

// WatchedSince returns since when each client has been watched, from what a Watch wrote to
// Options.Dir; nil where it wrote nothing.
func WatchedSince(dir string) (map[string]time.Time, error) { return store.Clients(dir) }
