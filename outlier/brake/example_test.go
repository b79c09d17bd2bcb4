package brake_test

import (
	"fmt"
	"time"

	"postern/outlier/brake"
)

// Two messages to people whom anna has never written to are on their way at one
// moment; once she is braked, five such recipients an hour are left to her.
func Example() {
	book := brake.NewBook[string]()
	book.Go("message-1", "anna", 40)
	fmt.Println("beside message 2:", book.Others("message-2", "anna"))
	book.End("message-1")

	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	fmt.Println("the first one waits", book.Wait(now, "anna", 1))
	now = now.Add(time.Hour)
	for range brake.PerHour {
		if book.Wait(now, "anna", 1) == 0 {
			book.Take("anna", 1)
		}
	}
	fmt.Println("the one after five waits", book.Wait(now, "anna", 1))
	// Output:
	// beside message 2: 40
	// the first one waits 12m0s
	// the one after five waits 12m0s
}
