package control

import (
	"fmt"

	"postern/cmd/relay/cli"
	"postern/internal/admin"
	"postern/internal/text"
)

// tlsPolicies are what a domain can ask for.
var tlsPolicies = map[string]string{"dane": "DANE", "sts": "MTA-STS", "none": "none"}

// TLS shows how TLS with receivers went.
func TLS(io cli.IO, args []string) int {
	v := NewVerb(io, "tls")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	list, _, err := all[admin.TLSUse](v, "/tls", nil, 0)
	if err != nil {
		return v.Fail(err)
	}
	return v.Print(list, func(w Writer) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no upstream has mx = true")
			return
		}
		fmt.Fprintln(w, "UPSTREAM\tPOLICY\tRESULT\tSESSIONS")
		for _, u := range list {
			for _, c := range u.Counts {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", u.Upstream, tlsPolicies[c.Policy], c.Result, c.Sessions)
			}
		}
		for _, u := range list {
			if u.Reported+u.Lost > 0 {
				fmt.Fprintf(w, "%s: %s handed to the collector of reports, %d could not be\n", u.Upstream, text.Count(int64(u.Reported), "session was", "sessions were"), u.Lost)
			}
		}
	})
}
