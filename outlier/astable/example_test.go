package astable_test

import (
	"fmt"
	"net/netip"
	"strings"

	"postern/outlier/astable"
)

// Two lines from two sources, of which the second names a part of the first network.
func Example() {
	table, err := astable.Read(strings.NewReader("198.51.100.0/24 64500\n198.51.100.128 198.51.100.191 64511 # a customer\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, addr := range []string{"198.51.100.7", "198.51.100.130", "203.0.113.1"} {
		fmt.Println(addr, table.Of(netip.MustParseAddr(addr)))
	}
	// Output:
	// 198.51.100.7 64500
	// 198.51.100.130 64511
	// 203.0.113.1 0
}
