package tally

import (
	"math"
	"slices"
	"time"
)

// Range is what is usual: a tenth of the hours before had fewer than Low, a tenth more
// than High.
type Range struct{ Low, Middle, High float64 }

const (
	week = 7 * 24
	// fewest is how many hours of the past say what is usual.
	fewest = 3
)

// Usual is what is usual in an hour by what was in the same hour of the same weekday
// before, or where that is known less than three times in the same hour of any day. ok is
// false where too little is known. of says what is looked at; hours are those of a Stream,
// begin is the index of the first that is known as a whole.
func Usual(hours []Count, begin, at int, of func(Count) int) (r Range, ok bool) {
	var before []float64
	for _, step := range [...]int{week, 24} {
		before = before[:0]
		for i := at - step; i >= max(begin, 0); i -= step {
			if i < len(hours) {
				before = append(before, float64(of(hours[i])))
			}
		}
		if len(before) >= fewest {
			slices.Sort(before)
			return Range{share(before, 0.1), share(before, 0.5), share(before, 0.9)}, true
		}
	}
	return r, false
}

// share is the number that a share of sorted ones lies below.
func share(sorted []float64, part float64) float64 {
	at := part * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Outside says how a number lies outside of a range: 1 far above, -1 far below, 0 else.
// What chance makes of small numbers is not far.
func (r Range) Outside(n float64) int {
	margin := func(x float64) float64 { return 4*math.Sqrt(x) + 8 }
	switch {
	case n > 1.5*r.High && n > r.High+margin(r.High):
		return 1
	case n < r.Low/2 && n < r.Low-margin(r.Low):
		return -1
	}
	return 0
}

// BeginIndex is the index in Stream.Hours of the first hour that is known as a whole.
func (r *Report) BeginIndex() int { return max(0, int(r.Begin-r.First())) }

// LastHour is what is usual in the last 60 minutes, which lie in two hours of the clock.
func (r *Report) LastHour(hours []Count, of func(Count) int) (Range, bool) {
	now := Kept - 1
	share := float64(r.Now.Sub(HourOf(r.Now).Time())) / float64(time.Hour)
	a, okA := Usual(hours, r.BeginIndex(), now-1, of)
	b, okB := Usual(hours, r.BeginIndex(), now, of)
	mix := func(x, y float64) float64 { return (1-share)*x + share*y }
	return Range{mix(a.Low, b.Low), mix(a.Middle, b.Middle), mix(a.High, b.High)}, okA && okB
}
