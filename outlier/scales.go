package outlier

// The numbers below were found by measuring on recorded mail with attacks and
// honest changes added, see bench/outlier.
const (
	leakTime      = 7.6 * daySeconds // seconds in which a leaky sum falls to 1/e
	maxGrowthDays = 30               // silence beyond it allows no further growth
	// In its first weeks a sender is still being got to know, and all of them in
	// those of a client.
	youngDays         = 20
	youngGrowth       = 0.5
	clientYoungDays   = 56
	clientYoungGrowth = 1.5
)

var senderScale = scale{
	least: table{{1.93, 8.56, 242}, {2.33, 2.46, 4.89}, {0.309, 0.904, 0.656}},
	width: table{{33.4, 72.2, 69.6}, {17, 17.1, 17.6}, {9.8, 2.82, 17.3}},
	slope: table{{3, 2.84, 1.7}, {3, 3, 3}, {0.331, 0.809, 0.232}},
	most:  [kinds]float32{5.87, 7.89, 0.451},
	apart: true,
}

var clientScale = scale{
	least: table{{20, 60, 100}, {10, 20, 40}, {2, 4, 8}},
	width: table{{400, 800, 1600}, {60, 90, 140}, {12, 18, 30}},
	slope: table{{2, 2, 2}, {1, 1, 1}, {1, 1, 1}},
	most:  [kinds]float32{9, 9, 9},
	apart: true,
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

func scaleOf(sc scope) *scale {
	switch sc {
	case ofClient:
		return &clientScale
	case ofUserNames:
		return &userNamesScale
	case ofClientNames:
		return &clientNamesScale
	}
	return &senderScale
}
