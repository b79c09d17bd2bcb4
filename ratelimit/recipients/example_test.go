package recipients_test

import (
	"fmt"
	"time"

	"postern/ratelimit/recipients"
)

// A recipient has the same hash at each time, and another one under another secret.
func Example() {
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	ours, theirs := recipients.NewSecret(clock), recipients.NewSecret(clock)
	a := ours.Hashes("anna@dest.example", now)
	fmt.Println(a.Distinct == ours.Hashes("anna@dest.example", now.Add(time.Hour)).Distinct)
	fmt.Println(a.Distinct == theirs.Hashes("anna@dest.example", now).Distinct)
	// Output:
	// true
	// false
}
