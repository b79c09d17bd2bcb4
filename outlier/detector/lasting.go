package detector

import (
	"math"

	"postern/outlier/detector/compact"
)

// The record of a window grows by a tenth a day at most, so that nobody trains it in a
// hurry, and that is why so much is needed beyond it: an honest sender may have had ten
// such days that it has not learned. So of recipients never seen before a second record
// is kept, the lasting one, which takes each day as it was and is hardly ever forgotten.
// Honest senders seldom beat it by much, and a burst does with its tenth message. It
// stands beside the other evidence and not in its place, since whoever grows by a fifth
// a day never beats it by much.

const (
	// lastingDays and lastingMessages are from when on the rule holds.
	lastingDays     = 60
	lastingMessages = 30
	// lastingHalfLife is in days.
	lastingHalfLife = 365
)

// lastingScale says from how many recipients on a window is an alarm by itself: times
// times as many as the record, or least, when both are taken pad higher.
var lastingScale = [2]struct{ least, pad, times float32 }{
	hour: {2, 2, 2.9},
	day:  {4, 4, 3.7},
}

// lasting is the highest that the recipients never seen before of one sender ever were
// in an hour and in a day, less those refused.
type lasting [2]float32

// turn takes the most of a day that is over into the record, so many days later.
func (l *lasting) turn(today *table, days int) {
	left := float32(math.Exp2(-float64(days) / lastingHalfLife))
	for w := range l {
		l[w] = max(l[w], today[fresh][w]) * left
	}
}

// raise takes another one into the record.
func (l *lasting) raise(o *lasting) {
	for w := range l {
		l[w] = max(l[w], o[w])
	}
}

// encode appends the record, to an eighth of a recipient.
func (l *lasting) encode(w *compact.Writer) {
	for _, n := range l {
		w.U16(compact.Packed(8 * n))
	}
}

func (l *lasting) decode(r *compact.Reader) {
	for i := range l {
		l[i] = compact.Unpacked(r.U16()) / 8
	}
}

// byLasting is the score of a sender or user by its lasting record, and the window that
// gave it; 0 of others. spare names windows that are not evidence; nil: none.
func (f *Finding) byLasting(sums *table, spare *spared) (score float32, window int) {
	if !f.lasting {
		return 0, 0
	}
	for w := range f.e.lasting {
		s := &lastingScale[w]
		if sums[fresh][w] <= s.least || spare != nil && spare[fresh][w] {
			continue
		}
		if ratio := (sums[fresh][w] + s.pad) / (f.lastingUsual(w) + s.pad); ratio > 1 {
			if v := float32(math.Log(float64(ratio)) / math.Log(float64(s.times))); v > score {
				score, window = v, w
			}
		}
	}
	return score, window
}

// lastingUsual is the record that byLasting holds a window against.
func (f *Finding) lastingUsual(w int) float32 {
	r := max(f.e.lasting[w], lastingScale[w].least)
	if f.floor != nil {
		r = max(r, f.floor[fresh][w])
	}
	return r
}

// hasLasting reports whether the lasting record of an entry says something: it has been
// kept for long enough.
func (d *Detector) hasLasting(e *entry, s *scale) bool {
	if !s.lasting || e.messages < lastingMessages || d.lastingSince == 0 {
		return false
	}
	return int(int64(e.last)/daySeconds)-int(max(e.born, d.lastingSince)) >= lastingDays
}
