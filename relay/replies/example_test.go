package replies_test

import (
	"fmt"
	"time"

	"postern/relay/replies"
)

// What a client reads when its sender has used up a limit.
func ExampleLimit() {
	fmt.Println(replies.Limit("<news@example.org>", "sender", "messages", 500, "1h", 847*time.Second))
	// Output:
	// 450 4.7.1 <news@example.org>: sender limit of 500 messages in 1h reached, retry in 847 seconds
}
