package detector

import (
	"math"

	"postern/outlier/detector/compact"
)

// Kinds of what is counted.
const (
	sent    = iota // recipients that the upstream was asked to take
	fresh          // recipients never seen before by this client
	refused        // recipients refused for reasons that the sender can help
	kinds
)

// Windows in which each kind is counted.
const (
	hour = iota
	day
	leaky // a sum that leaks away by a constant share, see leakTime
	windows
)

const daySeconds = 86400

// halves are the numbers of the half windows that a time falls into. It stands
// apart so that the divisors are constants, which spares the division.
func halves(at int64) [2]int64 {
	return [...]int64{hour: at / (3600 / 2), day: at / (daySeconds / 2)}
}

// left are the parts of the present half windows that are to come at a time.
func left(at int64) [2]float32 {
	const h, d = 3600 / 2, daySeconds / 2
	return [...]float32{hour: 1 - float32(at%h)/h, day: 1 - float32(at%d)/d}
}

// amount is what one message adds, by kind.
type amount [kinds]float32

// table holds a number for each kind and window.
type table [kinds][windows]float32

// meter is what is remembered of one sender, user or client: what it did of
// late, and its record, which is the most it ever did in each window, slowly
// forgotten. Times are seconds since 1970.
type meter struct {
	last uint32 // time of the latest addition
	// ring holds each rolling window as three halves: the present one, the one
	// before, and the one before that, of which a part still counts.
	ring [2][3][kinds]float32
	leak amount // leaky sums
	// record is what earlier days have left, today the most of this one: it goes
	// into the record at the first addition of a later day.
	record, today table
	lasting       lasting
	day           uint16 // of today
	born          uint16 // day of the first addition
	messages      uint32
	away          float32 // recipients turned away, aborted or shadowed: a sum that leaks within an hour
	history       [historyDays]uint8
	alarmed       uint8 // half day in which it last counted as a name under alarm, see countsAsAlarm
	flags
}

// flags are what is known of an entry, in one octet.
type flags uint8

const (
	isRegular  flags = 1 << iota // it has runs, see meters.regular
	isForeign                    // somebody else had the name of this sender before this user
	isOld                        // kept by a release that knew no users of senders
	isNewcomer                   // its name was new to a client that was known, see newcomer
	isSolo                       // a sender that stands for its user, too, see solo.go

	keptFlags = isRegular | isForeign | isOld | isNewcomer // in files and in Redis
)

func (f flags) has(bit flags) bool { return f&bit != 0 }

func (f *flags) put(bit flags, on bool) {
	*f &^= bit
	if on {
		*f |= bit
	}
}

const historyDays = 14

func newMeter(now int64) meter {
	d := uint16(now / daySeconds)
	return meter{last: uint32(now), day: d, born: d}
}

// roll brings the windows to now; a time before the last addition is taken for
// that of the last addition.
func (m *meter) roll(now int64) {
	last := int64(m.last)
	if now <= last {
		return
	}
	is, was := halves(now), halves(last)
	for w := range m.ring {
		r := &m.ring[w]
		switch is[w] - was[w] {
		case 0:
		case 1:
			r[2], r[1], r[0] = r[1], r[0], [kinds]float32{}
		case 2:
			r[2], r[1], r[0] = r[0], [kinds]float32{}, [kinds]float32{}
		default:
			*r = [3][kinds]float32{}
		}
	}
	decay := decayOver(now-last, leakTime)
	for k := range m.leak {
		m.leak[k] *= decay
	}
	if m.away > 0 {
		m.away *= decayOver(now-last, 3600)
	}
	m.last = uint32(now)
}

// decayOver is exp(-seconds/time), by its first terms where that is exact
// enough.
func decayOver(seconds int64, time float64) float32 {
	x := float64(seconds) / time
	if x < 1e-3 {
		return float32(1 - x + x*x/2)
	}
	return float32(math.Exp(-x))
}

// add counts a message of a time that is not after that of the last roll; one
// that comes late goes where it belongs.
func (m *meter) add(at int64, a *amount) {
	m.messages++
	var ago [2]int64
	var days int64
	share := float32(1)
	if last := int64(m.last); at < last {
		is, was := halves(last), halves(at)
		ago = [...]int64{is[hour] - was[hour], is[day] - was[day]}
		days = last/daySeconds - at/daySeconds
		share = decayOver(last-at, leakTime)
	}
	for w := range m.ring {
		if ago[w] >= int64(len(m.ring[w])) {
			continue
		}
		r := &m.ring[w][ago[w]]
		for k, n := range a {
			// Counts are whole: a score that rises by less than a half is not a rise.
			r[k] = float32(math.Floor(float64(r[k]+n) + 0.5))
		}
	}
	for k, n := range a {
		m.leak[k] += n * share
	}
	if days < historyDays {
		m.history[days] = compact.AddHistory(m.history[days], a[sent], m.messages)
	}
}

// sums fills in the windows at the time of the last roll.
func (m *meter) sums(s *table) {
	part := left(int64(m.last))
	for w := range m.ring {
		r := &m.ring[w]
		for k := range kinds {
			s[k][w] = r[0][k] + r[1][k] + r[2][k]*part[w]
		}
	}
	for k := range kinds {
		s[k][leaky] = m.leak[k]
	}
}

// turn takes the maximum of the last day into the record when a new day has
// begun. client is the day on which its client was first seen.
func (m *meter) turn(t *tuning, s *scale, client uint16) {
	now := uint16(int64(m.last) / daySeconds)
	days := int(now) - int(m.day)
	if days <= 0 {
		return
	}
	m.lasting.turn(&m.today, days)
	forget, grown := t.forget(days), t.grown(days, int(now)-int(m.born), int(now)-int(client))
	for k := range kinds {
		for w := range windows {
			r := m.record[k][w]
			r = max(r, min(m.today[k][w], max(r, s.least[k][w])*grown[k]))
			m.record[k][w] = r * forget
			m.today[k][w] = 0
		}
	}
	m.day = now
	m.shiftHistory(days)
}

// learn takes the sums into the maximum of today; with apart, only what was not
// refused of those sent and fresh.
func (m *meter) learn(s *table, apart bool) {
	for k := range kinds {
		for w := range windows {
			n := s[k][w]
			if apart && k != refused {
				n -= s[refused][w]
			}
			if n > 0 && n > m.today[k][w] {
				m.today[k][w] = n
			}
		}
	}
}

// approve takes the present windows and the maximum of today into the record,
// without regard to growth: an operator has called them legitimate.
func (m *meter) approve() {
	var s table
	m.sums(&s)
	m.learn(&s, false)
	for k := range kinds {
		for w := range windows {
			m.record[k][w] = max(m.record[k][w], m.today[k][w])
		}
	}
	m.lasting.turn(&m.today, 0)
}

// forgive empties the windows and leaves the record, so that only what comes
// now is held against it.
func (m *meter) forgive() {
	m.ring, m.leak = [2][3][kinds]float32{}, amount{}
}

// shiftHistory begins a new day of the history.
func (m *meter) shiftHistory(days int) {
	if days >= historyDays {
		m.history = [historyDays]uint8{}
		return
	}
	copy(m.history[days:], m.history[:historyDays-days])
	clear(m.history[:days])
}
