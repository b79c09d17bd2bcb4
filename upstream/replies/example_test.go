package replies_test

import (
	"fmt"

	"postern/upstream/replies"
)

// A reply in, what it means out. A reply that no rule knows is other, with a guess.
func ExampleClassify() {
	for _, reply := range []string{
		"550 5.1.1 <a@example.org>: Recipient address rejected: User unknown",
		"421 4.7.0 Too many connections from your IP, try again in 600 seconds",
		"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example.net",
	} {
		fmt.Println(replies.Classify("", reply).Class)
	}
	// Output:
	// no-such-user
	// rate-limited-by-receiver
	// listed-ip
}
