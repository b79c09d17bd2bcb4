package main

import (
	"fmt"
	"net/url"
	"strings"

	"postern/internal/admin"
)

// runHealth says in one line whether a running relay answers. Its exit status is
// 0 while the relay answers and 1 when it does not; with -ready it is 1, too,
// while the relay takes no mail.
func runHealth(io stdio, args []string) int {
	v := newControlVerb(io, "health")
	ready := v.flags.Bool("ready", false, "exit with 1 while the relay takes no mail, too: what /readyz says")
	if _, status, ok := v.parse(args, 0); !ok {
		return status
	}
	var s admin.Status
	if err := v.get("/status", url.Values{}, &s); err != nil {
		return v.fail(err)
	}
	if status := v.print(s.Readiness, func(w writer) { fmt.Fprintln(w, healthWords(&s)) }); status != exitOK {
		return status
	}
	if *ready && !s.Ready {
		return exitFault
	}
	return exitOK
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
