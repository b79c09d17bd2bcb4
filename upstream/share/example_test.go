package share_test

import (
	"fmt"
	"time"

	"postern/upstream/share"
)

// Of four connections a client has three, once another one uses them, too.
func Example() {
	s, now := share.New(4), time.Now()
	s.Wants("shop", now)
	s.Took("shop", 3)
	fmt.Println("alone:", s.May("shop", 1, now))
	s.Wants("office", now)
	fmt.Println("beside another:", s.May("shop", 1, now), s.May("office", 1, now))
	// Output:
	// alone: true
	// beside another: false true
}
