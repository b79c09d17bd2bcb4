package links_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"postern/scan/links"
)

// A message links to a page of a host that stands in a file.
func Example() {
	dir, err := os.MkdirTemp("", "links")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "bad-hosts")
	os.WriteFile(file, []byte(".phish.example\n"), 0o600)

	var cfg links.Config
	cfg.SetDefaults()
	cfg.Files = []string{file}
	lists, err := links.New(links.Options{Config: cfg})
	if err != nil {
		fmt.Println(err)
		return
	}
	lists.Start()
	defer lists.Stop(nil)

	finder := lists.Find()
	finder.Text(true, "utf-8", []byte(`<p><a href="https://login.phish.example/bank">Your bank</a></p>`))
	result := lists.Ask(context.Background(), finder).Wait()
	for _, l := range result.Listed {
		fmt.Println(l.Host, "refuses its message:", result.Enforce)
	}
	// Output:
	// login.phish.example refuses its message: false
}
