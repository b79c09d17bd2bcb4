package profile_test

import (
	"fmt"

	"postern/upstream/profile"
)

// The host of an upstream says which provider it is, and what that wants.
func ExampleOfHost() {
	p := profile.OfHost("email-smtp.eu-west-1.amazonaws.com")
	fmt.Println(p.Name, p.MaxRecipients)
	fmt.Println(profile.OfHost("smtp.example.org") == nil)
	// Output:
	// ses 50
	// true
}
