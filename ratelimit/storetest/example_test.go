package storetest_test

import (
	"context"
	"fmt"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

// A store under test goes by a clock that the test moves, so an hour takes no time.
func Example() {
	clock := storetest.NewClock()
	store := embedded.New(embedded.Config{Memory: 16 << 20}, clock.Now)
	hourly := storetest.BudgetOf("sender", "sender=news@example.org", storetest.Win(ratelimit.Messages, 1, time.Hour))
	take := func() bool {
		batch := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, hourly)
		result, err := store.Take(context.Background(), batch)
		return err == nil && result.Requests[0].OK
	}
	fmt.Println("the first message:", take())
	fmt.Println("the second one:", take())
	clock.Add(time.Hour)
	fmt.Println("an hour later:", take())
	// Output:
	// the first message: true
	// the second one: false
	// an hour later: true
}
