package control

import (
	"fmt"
	"net/url"

	"postern/cmd/relay/cli"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/phrase"
)

func Alert(io cli.IO, args []string) int {
	return cli.Subcommands(io, "alert", args, map[string]func(cli.IO, []string) int{"list": listAlerts, "test": testAlert}, "list", "test")
}

// listAlerts shows what holds now, and how the channels do.
func listAlerts(io cli.IO, args []string) int {
	v := NewVerb(io, "alert list")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	var s admin.AlertStatus
	if err := v.Get("/alerts", url.Values{}, &s); err != nil {
		return v.Fail(err)
	}
	return v.Print(s, func(w Writer) {
		if len(s.Conditions) == 0 {
			fmt.Fprintln(w, "no alerts are open")
		}
		if len(s.Channels) == 0 {
			fmt.Fprintln(w, "no channel is configured: write a table [alert.NAME], docs/alerts.md")
		}
		for _, a := range s.Conditions {
			fmt.Fprintf(w, "%s\t%s\t%s%s\n", phrase.Time(a.Since), a.Severity, a.Summary, phrase.Prefixed(": ", a.Reason))
		}
		for _, c := range s.Channels {
			fmt.Fprintf(w, "channel %s\t%d wait\tlast success %s%s\n", c.Name, c.Queued, phrase.Time(c.Success), phrase.Prefixed(", FAILS: ", c.Err))
		}
	})
}

// testAlert has the running relay send a test notice, and says whether it was taken.
func testAlert(io cli.IO, args []string) int {
	v := NewVerb(io, "alert test")
	words, status, ok := v.Parse(args, 1)
	switch {
	case !ok:
		return status
	case len(words) == 0:
		return v.misuse("name the channel, as in [alert.NAME]")
	}
	if err := v.do("/alerts/test", api.TestAlert{Act: because(""), Channel: words[0]}, nil); err != nil {
		return v.Fail(err)
	}
	return v.Print(admin.AlertOrder{Channel: words[0]}, func(w Writer) { fmt.Fprintf(w, "the receiver of %s has taken a test notice\n", words[0]) })
}
