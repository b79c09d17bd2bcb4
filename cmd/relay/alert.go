package main

import (
	"fmt"
	"net/url"

	"postern/internal/admin"
	"postern/internal/phrase"
)

func runAlert(io stdio, args []string) int {
	return subcommands(io, "alert", args, map[string]func(stdio, []string) int{"list": listAlerts, "test": testAlert}, "list", "test")
}

// listAlerts shows what holds now, and how the channels do.
func listAlerts(io stdio, args []string) int {
	v := newControlVerb(io, "alert list")
	if _, status, ok := v.parse(args, 0); !ok {
		return status
	}
	var s admin.AlertStatus
	if err := v.get("/alerts", url.Values{}, &s); err != nil {
		return v.fail(err)
	}
	return v.print(s, func(w writer) {
		for _, a := range s.Conditions {
			fmt.Fprintf(w, "%s\t%s\t%s%s\n", phrase.Time(a.Since), a.Severity, a.Summary, phrase.Prefixed(": ", a.Reason))
		}
		for _, c := range s.Channels {
			fmt.Fprintf(w, "channel %s\t%d wait\tlast success %s%s\n", c.Name, c.Queued, phrase.Time(c.Success), phrase.Prefixed(", FAILS: ", c.Err))
		}
	})
}

// testAlert has the running relay send a test notice, and says whether it was taken.
func testAlert(io stdio, args []string) int {
	v := newControlVerb(io, "alert test")
	words, status, ok := v.parse(args, 1)
	switch {
	case !ok:
		return status
	case len(words) == 0:
		return v.misuse("name the channel, as in [alert.NAME]")
	}
	if err := v.act("/alerts/test", admin.AlertOrder{Channel: words[0]}, nil); err != nil {
		return v.fail(err)
	}
	return v.print(admin.AlertOrder{Channel: words[0]}, func(w writer) { fmt.Fprintf(w, "the receiver of %s has taken a test notice\n", words[0]) })
}
