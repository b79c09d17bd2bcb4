package direct_test

import (
	"fmt"
	"net/netip"

	"postern/upstream/direct"
)

// A domain is always written to from the same one of our addresses: a greylist that
// saw another one at each try would begin anew.
func ExampleSource() {
	ours := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}
	to := netip.MustParseAddr("198.51.100.7")
	first, ok := direct.Source(ours, "example.org", to)
	again, _ := direct.Source(ours, "example.org", to)
	fmt.Println(ok, first.Is4(), first == again)
	// Output:
	// true true true
}
