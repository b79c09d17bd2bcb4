package control

import (
	"fmt"

	"postern/cmd/relay/cli"
	"postern/internal/api"
)

// Console prints a link that logs a browser in to the console, once.
func Console(io cli.IO, args []string) int {
	v := NewVerb(io, "console")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	var link struct {
		URL string `json:"url"`
	}
	if err := v.do("/console/links", api.OpenConsole{Act: because("to look at the console")}, &link); err != nil {
		return v.Fail(err)
	}
	return v.Print(link, func(w Writer) {
		fmt.Fprintf(w, "%s\n\nIt logs in once, within a minute. From another machine: ssh -L, see docs/console.md.\n", link.URL)
	})
}
