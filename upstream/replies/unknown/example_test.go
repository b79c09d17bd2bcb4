package unknown_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/upstream/replies/unknown"
)

// Replies that differ in what is the recipient's own are one group.
func Example() {
	dir, err := os.MkdirTemp("", "unknown")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, unknown.FileName)
	store, err := unknown.Open(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"anna", "bob"} {
		store.Add(&unknown.Reply{
			Time: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC), Stage: "rcpt", Domain: "dest.example",
			Text: "550 5.0.0 <" + name + "@dest.example> quux frobnicated", Hide: []string{name, name + "@dest.example"},
		})
	}
	if err := store.Save(); err != nil {
		fmt.Println(err)
		return
	}
	groups, err := unknown.Read(file)
	for _, g := range groups {
		fmt.Println(g.Count, g.Stage, g.Domains, err)
	}
	// Output:
	// 2 rcpt [dest.example] <nil>
}
