// Package spellings is a table of sender addresses, each in the spellings in which
// a client may write it, for the tests of everything that must take them for one:
// policy, limits, the watch and the whole relay.
package spellings

import (
	_ "embed" // the table
	"strings"
)

//go:embed spellings.txt
var table string

// Blocks returns the spellings of each address, with its identity first.
func Blocks() (blocks [][]string) {
	for block := range strings.SplitSeq(table, "\n\n") {
		var lines []string
		for line := range strings.Lines(block) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			blocks = append(blocks, lines)
		}
	}
	return blocks
}
