//go:build race

package embedded

// raceEnabled: the race detector makes everything about ten times slower.
const raceEnabled = true
