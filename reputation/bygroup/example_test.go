package bygroup_test

import (
	"fmt"
	"time"

	"postern/reputation/bygroup"
)

// What a host of a group says in place of its greeting concerns all of the group's
// domains; what it says to RCPT concerns that recipient's domain, until three unrelated
// domains have said the same.
func Example() {
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	memory := bygroup.New(func() time.Time { return now })
	refusal := bygroup.Refusal{Stream: "news", Client: "shop", Group: "google", Domain: "dest.example", At: "rcpt", Reply: "450 4.2.1 too many messages"}
	memory.Refused(&refusal)
	fmt.Println("after one RCPT the stream waits:", memory.Waits("news"))
	refusal.At = "connect"
	memory.Refused(&refusal)
	fmt.Println("after a greeting it waits:", memory.Waits("news"))
	// Output:
	// after one RCPT the stream waits: false
	// after a greeting it waits: true
}
