package detector

import "math"

// scale says how the counts of one scope are judged.
type scale struct {
	// least is the record that everybody is granted.
	least table
	// width and slope say how far beyond the record a full alarm lies: width
	// plus slope times the record.
	width, slope table
	// bend is the evidence of a kind beyond which only bentBy of it counts; 0:
	// all counts. most is what a kind can give.
	bend, most [kinds]float32
	// grant is the share of what was sent that may be refused, whatever the record.
	grant float32
	// apart: what was refused does not raise the record of what was sent.
	apart bool
	// ease divides the score of who is new, see meter.ease; 0: of nobody.
	ease float32
	// lasting: the lasting record holds, see Finding.byLasting.
	lasting bool
	// regular: what comes regularly is not evidence, see runs.
	regular bool
}

// tuning holds the operator's numbers.
type tuning struct {
	growth      float64 // of a record in a day
	halfLife    float64 // of a record, in days
	sensitivity float32
}

func newTuning(s *Settings) tuning {
	return tuning{growth: s.Growth, halfLife: s.HalfLife.Hours() / 24, sensitivity: float32(s.Sensitivity)}
}

// newcomer is the sensitivity of the rule on newcomers. Fewer false alarms are not to be
// had by making it wait: it hardly moves with the sensitivity of all.
func (t *tuning) newcomer() float32 { return float32(math.Pow(float64(t.sensitivity), 1.0/6)) }

// forget is what remains of a record after so many days.
func (t *tuning) forget(days int) float32 {
	return float32(math.Exp2(-float64(days) / t.halfLife))
}

// grown are the factors by which records may grow within so many days. Both
// ages are in days: a sender that is new, and all senders of a client that is
// new, are still being got to know.
func (t *tuning) grown(days, age, clientAge int) (by [kinds]float32) {
	usual := math.Pow(1+t.growth, float64(min(days, maxGrowthDays)))
	for k := range kinds {
		g := usual
		if age <= youngDays {
			g = max(g, 1+youngGrowth[k])
		}
		if clientAge <= clientYoungDays {
			g = max(g, 1+clientYoungGrowth)
		}
		by[k] = float32(g)
	}
	return by
}

// evidence is one kind's part of a score.
type evidence struct {
	value  float32
	window int
}

// judge fills in the evidence of each kind: that of the window which is furthest
// beyond its record. Of sent and fresh those windows are left out that spare
// names; nil: none.
func (m *meter) judge(sums, floor *table, s *scale, spare *spared, e *[kinds]evidence) {
	for k := range kinds {
		var worst evidence
		for w := range windows {
			if sums[k][w] <= s.least[k][w] || spare != nil && k < refused && spare[k][w] {
				continue // as most do
			}
			if v := m.beyond(k, w, sums, floor, s); v > worst.value {
				worst = evidence{v, w}
			}
		}
		if worst.value > 0 {
			worst.value = s.limit(k, worst.value)
		}
		e[k] = worst
	}
}

// beyond is how far a window is beyond its record, in widths; negative when it is
// not.
func (m *meter) beyond(k, w int, sums, floor *table, s *scale) float32 {
	r := m.usual(k, w, floor, s)
	if k == refused {
		r = max(r, s.grant*sums[sent][w])
	}
	return (sums[k][w] - r) / (s.width[k][w] + s.slope[k][w]*r)
}

// limit bends and cuts off the evidence of a kind.
func (s *scale) limit(k int, v float32) float32 {
	if b := s.bend[k]; b > 0 && v > b {
		v = b + (v-b)*bentBy
	}
	return min(v, s.most[k])
}

// usual is the record that a window is judged against. floor is what an
// operator expects; nil: nothing.
func (m *meter) usual(k, w int, floor *table, s *scale) float32 {
	r := m.record[k][w]
	if r < s.least[k][w] {
		r = s.least[k][w]
	}
	if floor != nil {
		r = max(r, floor[k][w])
	}
	return r
}

// score adds the evidence up; 1 is the first alarm.
func (t *tuning) score(m *meter, e *[kinds]evidence, s *scale) float32 {
	sum := (e[sent].value + e[fresh].value + e[refused].value) * t.sensitivity
	if sum == 0 {
		return 0
	}
	return sum / m.ease(s)
}

// ease is what the score is divided by: s.ease on the first day, 1 from easeDays
// on, and falling evenly between.
func (m *meter) ease(s *scale) float32 {
	if s.ease == 0 {
		return 1
	}
	return max(1, s.ease-(s.ease-1)*float32(m.age())/easeDays)
}

// age is in days.
func (m *meter) age() int { return int(int64(m.last)/daySeconds) - int(m.born) }
