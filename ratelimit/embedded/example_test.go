package embedded_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
)

// Counts outlive a restart in a file.
func ExampleStore_Save() {
	dir, err := os.MkdirTemp("", "limits")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path, ctx := filepath.Join(dir, "limits.snapshot"), context.Background()
	hour := []ratelimit.Window{{Unit: ratelimit.Messages, Max: 1, Length: time.Hour}}
	take := func(s *embedded.Store) bool {
		b := ratelimit.Batch{
			Budgets:  []ratelimit.Budget{{Limit: "sender", Key: []byte("sender=news@example.org"), Windows: hour}},
			Requests: []ratelimit.Request{{Recipients: 1, Refs: []int{0}}},
		}
		result, err := s.Take(ctx, &b)
		return err == nil && result.Requests[0].OK
	}
	before := embedded.New(embedded.Config{Memory: 16 << 20}, nil)
	fmt.Println("the first message:", take(before))
	if err := before.Save(path); err != nil {
		fmt.Println(err)
	}
	after := embedded.New(embedded.Config{Memory: 16 << 20}, nil)
	if err := after.Load(path); err != nil {
		fmt.Println(err)
	}
	fmt.Println("a second one after a restart:", take(after))
	// Output:
	// the first message: true
	// a second one after a restart: false
}
