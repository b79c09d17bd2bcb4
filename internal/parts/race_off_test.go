//go:build !race

package parts

// slower is how many times the race detector slows a walk down, about.
const slower = 1
