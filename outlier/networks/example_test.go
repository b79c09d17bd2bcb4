package networks_test

import (
	"fmt"
	"net/netip"

	"postern/outlier/networks"
)

// Anna has used one network for a month when somebody with her password comes from
// another one.
func Example() {
	const day = 24 * 3600
	memory := networks.New(1000)
	office := netip.MustParseAddr("192.0.2.7")
	for d := range int64(30) {
		memory.Seen("mta", "anna", office, "laptop.example", d*day)
	}
	usual := memory.Seen("mta", "anna", office, "laptop.example", 30*day)
	strange := memory.Seen("mta", "anna", netip.MustParseAddr("203.0.113.9"), "laptop.example", 30*day)
	fmt.Println(usual.Network, usual.New, usual.Evidence)
	fmt.Println(strange.Network, strange.New, strange.Evidence)
	// Output:
	// 192.0.2.0/24 false 0
	// 203.0.113.0/24 true 1
}
