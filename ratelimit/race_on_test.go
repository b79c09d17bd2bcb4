//go:build race

package ratelimit

// raceEnabled: the race detector makes everything about ten times slower.
const raceEnabled = true
