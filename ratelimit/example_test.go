package ratelimit_test

import (
	"context"
	"fmt"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
)

// Two messages in any hour for each sender: the third waits until the first has
// been sent an hour ago, unless the next hop takes one of them back.
func Example() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	rules, err := ratelimit.Compile(map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: ratelimit.Numbers{{N: 2, Window: time.Hour}}},
	}, ratelimit.Env{})
	if err != nil {
		fmt.Println(err)
		return
	}
	store := embedded.New(embedded.Config{Memory: 16 << 20}, clock)
	limiter := ratelimit.NewLimiter(store, rules, clock)

	ctx := context.Background()
	send := func() *ratelimit.Account {
		a := limiter.Begin(ratelimit.Facts{Client: "shop", Sender: "news@example.org", SenderDomain: "example.org"})
		v := a.Recipients(ctx, []ratelimit.Recipient{{Address: "ann@example.com", Domain: "example.com"}}, nil)[0]
		if v.OK {
			fmt.Println(now.Format("15:04"), "may be sent")
		} else {
			fmt.Println(now.Format("15:04"), "over", v.Limit, "of", v.Key, "again in", v.RetryAfter)
		}
		return a
	}
	send().End()
	now = now.Add(20 * time.Minute)
	deferred := send()
	send().End()
	deferred.Refund(ctx, 0) // the next hop said 450
	deferred.End()
	send().End()
	// Output:
	// 12:00 may be sent
	// 12:20 may be sent
	// 12:20 over sender of sender=news@example.org again in 40m0s
	// 12:20 may be sent
}
