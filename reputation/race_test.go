//go:build race

package reputation

// What is smaller where each access to memory is checked.
const (
	flood = 80_000
	seeds = 3 // of made-up traffic
)
