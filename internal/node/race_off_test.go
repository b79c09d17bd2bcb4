//go:build !race

package node

// slower is how many times the race detector slows a page down, about.
const slower = 1
