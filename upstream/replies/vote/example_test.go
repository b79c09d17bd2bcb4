package vote_test

import (
	"fmt"

	"postern/upstream/replies/vote"
)

// No rule knows this reply, but its words have one meaning.
func Example() {
	e := vote.BuiltIn().Weigh(&vote.Reply{Stage: "rcpt", Code: "550", Status: "5.1.1", Text: "sorry, there is no such mailbox here"})
	fmt.Println(e.Class, e.Sure >= vote.SureEnough)
	// Output:
	// no-such-user true
}
