//go:build !race

package config

// slower is how many times the race detector slows loading down, about.
const slower = 1
