package main

import (
	"fmt"
	"net/url"
	"strings"

	"postern/cmd/relay/cli"
	"postern/cmd/relay/control"
	"postern/internal/admin"
)

// runHealth says in one line whether a running relay answers. Its exit status is
// 0 while the relay answers and 1 when it does not; with -ready it is 1, too,
// while the relay takes no mail.
func runHealth(io cli.IO, args []string) int {
	v := control.NewVerb(io, "health")
	ready := v.Flags.Bool("ready", false, "also exit with 1 while the relay takes no mail, as /readyz says")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	var s admin.Status
	if err := v.Get("/status", url.Values{}, &s); err != nil {
		return v.Fail(err)
	}
	if status := v.Print(s.Readiness, func(w control.Writer) { fmt.Fprintln(w, healthWords(&s)) }); status != cli.OK {
		return status
	}
	if *ready && !s.Ready {
		return cli.Fault
	}
	return cli.OK
}

func healthWords(s *admin.Status) string {
	if s.Ready {
		return "the relay answers and takes mail"
	}
	var reasons []string
	for _, r := range s.Reasons {
		reasons = append(reasons, r.Text)
	}
	return "the relay answers and takes no mail: " + strings.Join(reasons, "; ")
}
