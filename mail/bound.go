package mail

import "postern/internal/text"

// Bounds of what others have written in one event, in octets.
const (
	maxReplyWords = 1000     // of one reply
	maxAllReplies = 16 << 10 // of all replies to recipients
	fewReplyWords = 200      // of one, behind maxAllReplies
	maxErrWords   = 2000     // of a fault
)

// Bound cuts what others have written in an event. A receiver chooses its reply to each
// of a hundred recipients, up to 8 KiB, and log and journal keep what is there for all:
// with 800 KB a message it would turn them over within some thousand messages.
func (e *Event) Bound() {
	e.Reply, e.Err = text.Clip(e.Reply, maxReplyWords), text.Clip(e.Err, maxErrWords)
	all := 0
	for i := range e.To {
		r := &e.To[i]
		most := maxReplyWords
		if all > maxAllReplies {
			most = fewReplyWords
		}
		r.Reply = text.Clip(r.Reply, most)
		all += len(r.Reply)
	}
}
