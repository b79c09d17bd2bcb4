package dnsbl_test

import (
	"fmt"
	"net/netip"

	"postern/reputation/dnsbl"
)

// A zone is asked for the kinds of targets that it lists, and for no other.
func ExampleZone_Asks() {
	zone, err := dnsbl.NewZone("bl.example.net", dnsbl.ZoneConfig{Of: []dnsbl.Kind{dnsbl.Addresses}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range []dnsbl.Target{dnsbl.AddressTarget(netip.MustParseAddr("192.0.2.1")), dnsbl.DomainTarget("Example.ORG.")} {
		fmt.Println(t.Name, zone.Asks(t.Kind))
	}
	// Output:
	// 192.0.2.1 true
	// example.org false
}
