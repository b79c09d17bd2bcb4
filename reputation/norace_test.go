//go:build !race

package reputation

const (
	flood = 1_000_000
	seeds = 10
)
