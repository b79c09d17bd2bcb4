package redisstore_test

import (
	"context"
	"fmt"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/redisstore"
)

// Two nodes with this store together let 500 messages an hour pass.
func ExampleNew() {
	var cfg redisstore.Config
	cfg.SetDefaults()
	cfg.Addresses = []string{"127.0.0.1:6379"}
	client, err := redisstore.NewClient(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	store := redisstore.New(client, cfg)
	defer store.Close()
	result, err := store.Take(context.Background(), &ratelimit.Batch{
		Budgets: []ratelimit.Budget{{
			Limit: "sender", Key: []byte("sender=news@example.org"),
			Windows: []ratelimit.Window{{Unit: ratelimit.Messages, Max: 500, Length: time.Hour}},
		}},
		Requests: []ratelimit.Request{{Recipients: 1, Refs: []int{0}}},
	})
	switch {
	case err != nil:
		fmt.Println("outcome unknown:", err)
	case result.Requests[0].OK:
		fmt.Println("charged")
	default:
		fmt.Println("retry after", result.Requests[0].RetryAfter)
	}
}

// While nobody answers, it is not known whether there is room, and the mail has to wait.
func ExampleStore_Take_fault() {
	var cfg redisstore.Config
	cfg.SetDefaults()
	cfg.Addresses = []string{"127.0.0.1:1"} // no Redis
	client, err := redisstore.NewClient(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	store := redisstore.New(client, cfg)
	defer store.Close()
	hour := []ratelimit.Window{{Unit: ratelimit.Messages, Max: 500, Length: time.Hour}}
	_, err = store.Take(context.Background(), &ratelimit.Batch{
		Budgets:  []ratelimit.Budget{{Limit: "sender", Key: []byte("sender=news@example.org"), Windows: hour}},
		Requests: []ratelimit.Request{{Recipients: 1, Refs: []int{0}}},
	})
	if err != nil {
		fmt.Println("451 4.3.0 try again later")
	}
	// Output:
	// 451 4.3.0 try again later
}
