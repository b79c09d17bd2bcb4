//go:build race

package reputation

// flood is smaller where each access to memory is checked.
const flood = 80_000
