package outlier

import "math"

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
	leaky // decays by a constant share, with leakTime
	windows
)

var windowSeconds = [2]int64{hour: 3600, day: 86400}

// amount is what one message adds, by kind.
type amount [kinds]float32

// meter is what is remembered of one sender, user or client: what it did of
// late, and its record, that is the most it ever did in each window, slowly
// forgotten. All times are seconds since 1970.
type meter struct {
	last int64 // time of the latest addition
	// ring holds each rolling window as three halves: the present one, the one
	// before and the one before that, of which a part has passed.
	ring [2][3]amount
	leak amount // leaky sums
	// peak is the record; it may rise to base times the growth allowed since
	// baseDay.
	peak, base [kinds][windows]float32
	baseDay    int32
	born       int32 // day of the first addition
	messages   uint32
}

// roll brings the windows to now.
func (m *meter) roll(now int64) {
	if now <= m.last {
		return
	}
	for w := range m.ring {
		half := windowSeconds[w] / 2
		steps := now/half - m.last/half
		r := &m.ring[w]
		switch {
		case steps == 0:
		case steps == 1:
			r[2], r[1], r[0] = r[1], r[0], amount{}
		case steps == 2:
			r[2], r[1], r[0] = r[0], amount{}, amount{}
		default:
			*r = [3]amount{}
		}
	}
	decay := float32(math.Exp(-float64(now-m.last) / leakTime))
	for k := range m.leak {
		m.leak[k] *= decay
	}
	m.last = now
}

// add counts a message at now, which is not before the last.
func (m *meter) add(now int64, a amount) {
	m.roll(now)
	for k, n := range a {
		m.ring[hour][0][k] += n
		m.ring[day][0][k] += n
		m.leak[k] += n
	}
	m.messages++
}

// sum is what is in window w of kind k at the time of the last roll.
func (m *meter) sum(k, w int) float32 {
	if w == leaky {
		return m.leak[k]
	}
	half := windowSeconds[w] / 2
	r := &m.ring[w]
	return r[0][k] + r[1][k] + r[2][k]*(1-float32(m.last%half)/float32(half))
}

// learn takes the present windows into the record, as far as growth allows.
func (m *meter) learn(t *tuning) {
	today := int32(m.last / 86400)
	if days := today - m.baseDay; days > 0 {
		forget := float32(math.Exp2(-float64(days) / t.halfLifeDays))
		for k := range m.peak {
			for w := range m.peak[k] {
				m.peak[k][w] *= forget
				m.base[k][w] = m.peak[k][w] * grown(t, days)
			}
		}
		m.baseDay = today
	}
	for k := range m.peak {
		for w := range m.peak[k] {
			limit := max(m.base[k][w], t.least[k][w]*grown(t, 1))
			m.peak[k][w] = max(m.peak[k][w], min(m.sum(k, w), limit))
		}
	}
}

func grown(t *tuning, days int32) float32 {
	return float32(math.Pow(1+t.growth, float64(min(days, t.maxGrowthDays))))
}
