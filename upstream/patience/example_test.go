package patience_test

import (
	"fmt"
	"time"

	"postern/upstream/patience"
)

// A receiver that has let one transaction wait has three of a client at most from then on.
func Example() {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	book := patience.New(func() time.Time { return now })
	for range 3 {
		v := book.Begin("shop")
		v.To("slow.example")
		v.Wait()
	}
	fmt.Println("at first:", book.Begin("shop").To("other.example"))
	now = now.Add(30 * time.Second)
	fmt.Println("30 s later:", book.Begin("shop").To("slow.example"), book.Begin("shop").To("other.example"))
	// Output:
	// at first: true
	// 30 s later: false true
}
