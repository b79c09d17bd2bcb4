package contributors_test

import (
	"fmt"
	"time"

	"postern/ratelimit/contributors"
)

// Two senders share the 500 messages an hour of their client; 100 were charged by
// another node.
func ExampleTable_Names() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	t := contributors.New()
	t.Add("client", []byte("client=shop"), "news@example.org", 300, time.Hour, now)
	t.Add("client", []byte("client=shop"), "orders@example.org", 100, time.Hour, now)
	fmt.Println(t.Names("client", []byte("client=shop"), 500, now))
	// Output:
	// [news@example.org 60% orders@example.org 20% not seen here 20%]
}
