package ownfield_test

import (
	"fmt"
	"strings"

	"postern/relay/ownfield"
)

// A host refuses the second DKIM-Signature of a message. The relay has put it there,
// so that its client hears 451, not 5xx.
func ExampleBlamed() {
	m := ownfield.Message{
		Added: []string{"DKIM-Signature"},
		Count: func(string) int { return 0 },
		Wrote: func(text string) bool { return strings.Contains("subject of a client", text) },
	}
	fmt.Println(ownfield.Blamed("554 5.6.0 duplicate header 'DKIM-Signature'", m))
	fmt.Println(ownfield.Blamed("550 5.1.1 no such user", m) == "")
	// Output:
	// DKIM-Signature
	// true
}
