package fair_test

import (
	"fmt"

	"postern/outlier/fair"
)

// A map with room for four mailboxes remembers how many messages each has sent. One
// client comes with a hundred names; the two mailboxes of the other one stay.
func Example() {
	fewer := func(a, b int) bool { return a < b }
	sent := fair.New[string](4, fewer, nil)
	sent.Put("office", "anna", 12)
	sent.Put("office", "ben", 3)
	for i := range 100 {
		sent.Put("webhost", fmt.Sprintf("site%d", i), i)
	}
	_, ben := sent.Get("office", "ben")
	_, first := sent.Get("webhost", "site0")
	fmt.Println("mailboxes remembered:", sent.Len())
	fmt.Println("ben is one of them:", ben)
	fmt.Println("site0 is one of them:", first)
	// Output:
	// mailboxes remembered: 4
	// ben is one of them: true
	// site0 is one of them: false
}
