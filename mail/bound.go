package mail

import "postern/internal/text"

// Bounds of what others have written in one event, in octets.
const (
	maxReplyWords = 1000     // of one reply
	maxAllReplies = 16 << 10 // of all replies to recipients
	fewReplyWords = 200      // of one, behind maxAllReplies
	maxErrWords   = 2000     // of a fault
)

// Bound cuts the texts in an event that others have written: Reply to 1000 octets, Err to
// 2000, and the replies to recipients to 1000 octets each, or 200 once they have more than
// 16 KiB together. A receiver could otherwise write 8 KiB for each of a hundred recipients,
// and so push all other events out of log and journal within some thousand messages.
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
