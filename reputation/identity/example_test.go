package identity_test

import (
	"fmt"

	"postern/reputation/identity"
)

// The registered domain is what an organisation has a name under; below it stands
// what it chose itself.
func ExampleRegisteredDomain() {
	host, domain := identity.RegisteredDomain("mx1.mail.example.co.uk")
	fmt.Println(host, domain)
	// Output:
	// mx1.mail example.co.uk
}
