package halves_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"postern/relay/halves"
)

// One domain has taken a message and another one has deferred it. The client hears 4yz
// and comes again; then anna is left out.
func Example() {
	dir, err := os.MkdirTemp("", "halves")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	memory := halves.Open(halves.Options{File: filepath.Join(dir, "halves.state")})
	memory.Want(ctx)

	content := sha256.Sum256([]byte("Subject: May\r\n\r\nHello\r\n"))
	begun, err := memory.Begin(ctx, "office", "transaction-1", 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := begun.Keep(ctx, "news@example.org", content, []halves.Part{{To: "anna@one.example", Taken: true}}); err != nil {
		fmt.Println(err)
		return
	}
	known, sure := memory.Lookup(ctx, "office", "news@example.org", []string{"anna@one.example", "bob@two.example"})
	fmt.Println("sure:", sure)
	fmt.Println("anna has it:", known[0][0].Taken && memory.Same(known[0][0], content))
	fmt.Println("known of bob:", len(known[1]))
	// Output:
	// sure: true
	// anna has it: true
	// known of bob: 0
}
