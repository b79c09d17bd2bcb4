package policy_test

import (
	"fmt"
	"net/netip"

	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
)

// A client is known by its network here, and owns the senders of one domain.
func Example() {
	var shop policy.ClientConfig
	shop.SetDefaults()
	shop.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	shop.Senders = []string{"@shop.example"}
	shop.Stream = "main"

	parse := func(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }
	tell := func(path, text string) { fmt.Println(path+":", text) }
	rules := policy.Compile(policy.Config{
		Clients: map[string]policy.ClientConfig{"shop": shop},
		Streams: map[string]policy.StreamConfig{"main": {}},
	}, parse, tell, tell)

	client, refusal := rules.Client(&mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.17:4711")})
	fmt.Println(client.Name(), refusal)

	for _, s := range []string{"orders@shop.example", "ceo@bank.example"} {
		from, _ := parse(s)
		fmt.Println(s, "->", rules.Sender(client, from))
	}
	// Output:
	// shop <nil>
	// orders@shop.example -> <nil>
	// ceo@bank.example -> 553 5.7.1 <ceo@bank.example>: sender not owned by this client
}
