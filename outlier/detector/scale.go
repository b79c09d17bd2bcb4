package detector

import "postern/outlier/detector/arithmetic"

// The numbers below were found by measuring on recorded mail with attacks and
// honest changes added, see bench/outlier.
const (
	leakTime      = 6.8 * daySeconds // seconds in which a leaky sum falls to 1/e
	maxGrowthDays = 30               // silence beyond it allows no further growth
	// In its first weeks a sender is still being got to know, and all of them in
	// those of a client: records may grow faster. That of recipients as such, who
	// may all be known, says less than that of new ones.
	youngDays         = 17
	clientYoungDays   = 60
	clientYoungGrowth = 1.5
	// easeDays is how long a sender's score is eased, less from day to day, and
	// newScale holds.
	easeDays = 60
	// In the first earlyDays of a client earlyScale holds, and volume alone is not a mere
	// alarm, unless such a share of the recipients of a day was refused.
	earlyDays  = arithmetic.EarlyDays
	earlyShare = 0.04
	// bentBy is the part that counts of evidence beyond scale.bend.
	bentBy = arithmetic.BentBy
	// aloneNames is above the number of names in use within an hour of a client
	// with one sender: the window tells it to half an hour.
	aloneNames = 1.5
	aloneTimes = arithmetic.AloneTimes
)

var youngGrowth = [kinds]float64{1.5, 1, 0.5}

var senderScale = scale{
	least:   table{{2.07, 13.1, 242}, {3.88, 2.63, 6.01}, {0.293, 0.904, 0.708}},
	width:   table{{34.9, 166, 76.5}, {17.3, 18.8, 44}, {31.3, 2.45, 11.8}},
	slope:   table{{2.5, 2.99, 1}, {3, 3, 1}, {0.184, 1.12, 0.207}},
	most:    [kinds]float32{5.87, 7.89, 0.7},
	apart:   true,
	ease:    1.6,
	lasting: true,
	grant:   0.03,
	regular: true,
}

// newScale judges senders and users in their first easeDays. They may well
// write to all their colleagues for the first time: that alone needs several
// times as many.
var newScale = func() scale {
	s := senderScale
	s.bend[sent] = 0.6
	return s
}()

// earlyScale judges them in the first earlyDays of their client, when everybody is a
// stranger once: in a day that adds up and says little, and a burst shows within the
// hour.
var earlyScale = func() scale {
	s := newScale
	for w, times := range [windows]float32{hour: 0.7, day: 6, leaky: 6} {
		s.width[fresh][w] *= times
		s.slope[fresh][w] *= times
		s.width[refused][w] /= 2
		s.slope[refused][w] /= 2
	}
	return s
}()

// aloneScale judges the only sender of a client. No others stand beside it in
// whose mail an attack would show, and there are few of its kind to cry wolf, so
// that refusals count for aloneTimes as much, by themselves enough for an alert.
var aloneScale = func() scale {
	s := senderScale
	for w := range windows {
		s.width[refused][w] /= aloneTimes
		s.slope[refused][w] /= aloneTimes
	}
	s.most[refused] = 1.2
	return s
}()

var clientScale = scale{
	least: table{{20, 60, 100}, {10, 20, 40}, {2, 4, 8}},
	width: table{{400, 800, 1600}, {60, 90, 140}, {12, 18, 30}},
	slope: table{{2, 2, 2}, {1, 1, 1}, {1, 1, 1}},
	// Refusals alone are not an alarm of a client: many honest senders share them.
	most:    [kinds]float32{9, 9, 0.9},
	apart:   true,
	regular: true,
}

// Of sender names the kinds are: how far the scores of senders have risen
// together, names never seen before, names in use.
var clientNamesScale = scale{
	least: table{{0.5, 1, 2}, {3, 5, 10}, {1e9, 1e9, 1e9}},
	width: table{{2, 3, 5}, {30, 40, 60}, {1, 1, 1}},
	slope: table{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
	most:  [kinds]float32{9, 9, 9},
}

var userNamesScale = clientNamesScale

// scaleOf gives the scale of a scope, for what does not depend on who it is.
func scaleOf(sc scope) *scale {
	switch sc {
	case ofClient:
		return &clientScale
	case ofUserNames:
		return &userNamesScale
	case ofClientNames, ofUserAlarms, ofClientAlarms:
		return &clientNamesScale
	}
	return &senderScale
}

// scale gives the scale that an entry is judged by.
func (d *Detector) scale(e *entry) *scale {
	switch {
	case !e.scope.isSender() && e.scope != ofUser:
		return scaleOf(e.scope)
	case e.scope.isSender() && !d.isEarly(e) && e.age() >= easeDays && d.alone(e):
		return &aloneScale
	}
	return d.scaleOfUser(e)
}

// scaleOfUser gives the scale of a user, and of a sender that is not alone.
func (d *Detector) scaleOfUser(e *entry) *scale {
	switch {
	case d.isEarly(e):
		return &earlyScale
	case e.age() < easeDays:
		return &newScale
	}
	return &senderScale
}

// isEarly reports whether the client of an entry is in its first days.
func (d *Detector) isEarly(e *entry) bool {
	return int(int64(e.last)/daySeconds)-int(d.byNum[e.client].born) < earlyDays
}

// alone reports whether no second sender of the client was ever in use within
// the hour, as far as the record knows.
func (d *Detector) alone(e *entry) bool {
	c := d.byNum[e.client]
	return c.names.is(ofClientNames.hash(c.hash)) && c.names.record[refused][hour] < aloneNames
}
