package provider_test

import (
	"fmt"

	"postern/mx/provider"
)

// Whose mail a domain gives to whom shows in the names of its MX hosts.
func ExampleGroups_Of() {
	groups, err := provider.New(map[string]provider.Config{
		"hoster": {MX: []string{"*.mx.hoster.example"}, Connections: 5},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, hosts := range [][]string{{"in1.mx.hoster.example", "in2.mx.hoster.example"}, {"mail.example.org"}} {
		fmt.Println(hosts[0], "belongs to", provider.NameOf(groups.Of(hosts)))
	}
	fmt.Println("connections:", groups.OfHost("in1.mx.hoster.example").Connections)
	// Output:
	// in1.mx.hoster.example belongs to hoster
	// mail.example.org belongs to other
	// connections: 5
}
