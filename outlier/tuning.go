package outlier

const leakTime = 5 * 86400.0 // seconds in which a leaky sum falls to 1/e

// tuning holds the numbers of the detector: the operator's, and those that were
// found by measuring (see bench/outlier).
type tuning struct {
	growth        float64 // of a record in a day
	maxGrowthDays int32   // idle days beyond these allow no further growth
	halfLifeDays  float64 // of a record
	sensitivity   float32
	// least is the record that everybody is granted.
	least [kinds][windows]float32
	// scale is how many recipients beyond the record, and beyond slope times
	// the record, are a full alarm by one kind alone.
	scale [kinds][windows]float32
	slope [kinds][windows]float32
}

func newTuning(c *Config) tuning {
	return tuning{
		growth: c.Growth, maxGrowthDays: 30, halfLifeDays: c.HalfLife.Hours() / 24, sensitivity: float32(c.Sensitivity),
		least: [kinds][windows]float32{{4, 8, 16}, {2, 3, 4}, {1, 1, 1}},
		scale: [kinds][windows]float32{{60, 120, 240}, {20, 24, 40}, {8, 8, 12}},
		slope: [kinds][windows]float32{{2, 2, 1.5}, {1, 1, 1}, {1, 1, 1}},
	}
}

// score is the evidence of all kinds together; 1 is the first alarm.
func (m *meter) score(t *tuning) float32 {
	var sum float32
	for k := range kinds {
		sum += m.evidence(t, k)
	}
	return sum * t.sensitivity
}

// evidence is what the window of kind k that is furthest beyond its record says.
func (m *meter) evidence(t *tuning, k int) float32 {
	var most float32
	for w := range windows {
		record := max(m.peak[k][w], t.least[k][w])
		most = max(most, (m.sum(k, w)-record)/(t.scale[k][w]+t.slope[k][w]*record))
	}
	return most
}
