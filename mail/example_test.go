package mail_test

import (
	"fmt"

	"postern/mail"
)

// One sender has many spellings, and one identity by which it is counted.
func ExampleIdentityOf() {
	for _, s := range []string{"News@example.org", "NEWS@example.org", `"news"@example.org`} {
		fmt.Println(mail.IdentityOf(s))
	}
	// Output:
	// news@example.org
	// news@example.org
	// news@example.org
}

// A reply of several lines repeats its code on each (RFC 5321 s. 4.2.1).
func ExampleReply() {
	r := mail.Reply{Code: 450, Status: "4.7.1", Text: "sender over its limit\nretry in 840 seconds"}
	fmt.Printf("%q\n", r.AppendTo(nil))
	fmt.Println(r.Temporary(), mail.OutcomeOf(&r))
	// Output:
	// "450-4.7.1 sender over its limit\r\n450 4.7.1 retry in 840 seconds\r\n"
	// true deferred
}
