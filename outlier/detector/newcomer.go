package detector

import "postern/outlier/detector/arithmetic"

// An account that did not exist the day before has no record to be compared with, and
// to write to ten people whom nobody at its client has ever written to is rare for it:
// of recorded newcomers 95 in a hundred write to one to six in two hours. So in its
// first days a sender has a score by strangers alone beside that of all evidence, and
// the larger one counts.
const (
	// newcomerDays is the age in days, the first one being 0, up to which the rule holds.
	newcomerDays = 1
	// newcomerClientDays is for how many days the client must have been known: in those
	// before everybody is a newcomer.
	newcomerClientDays = 14
	// newcomerStrangers within an hour are the first alarm, from newcomerMessages on: one
	// message to many is how an honest newcomer says hello.
	newcomerStrangers = arithmetic.NewcomerStrangers
	newcomerMessages  = 3
	// newcomerMost is what the rule can give: by itself it throttles and does not
	// suspend.
	newcomerMost = arithmetic.NewcomerMost
)

// isNewcomer says of a sender that was never seen before whether the rule holds for it:
// its client is known, and has never seen its name with another user either.
func (d *Detector) isNewcomer(now int64, m *tally) bool {
	return int(now/daySeconds)-int(m.c.born) >= newcomerClientDays && (m.ev.User == "" || !d.known.Has(m.c.hash, d.nameHash(m.ev.Sender)))
}

// newcomer is the score of a sender in its first days by its recipients never seen
// before; 0 of others, and of one from whom an operator expects anything.
func (f *Finding) newcomer(t *tuning, sums *table) float32 {
	if f.user != "" || !f.e.has(isNewcomer) || f.floor != nil || f.e.messages < newcomerMessages || f.e.age() > newcomerDays {
		return 0
	}
	return min(t.newcomer()*sums[fresh][hour]/newcomerStrangers, newcomerMost)
}
