package main

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/internal/text"
	"postern/reputation"
)

func runSuppressions(io stdio, args []string) int {
	return subcommands(io, "suppressions", args, map[string]func(stdio, []string) int{
		"list": listSuppressions, "add": addSuppression, "remove": removeSuppression,
	}, "list", "add", "remove")
}

func listSuppressions(io stdio, args []string) int {
	v := newControlVerb(io, "suppressions list")
	stream := v.flags.String("stream", "", "only those of a `stream`")
	recipient := ""
	v.flags.Func("recipient", "only this `address`", func(s string) error {
		a, err := config.ParseAddress(s)
		recipient = string(a.RecipientID())
		return err
	})
	if _, status, ok := v.parse(args, 0); !ok {
		return status
	}
	var list []reputation.Suppression
	if err := v.get("/suppressions", url.Values{"stream": {*stream}, "recipient": {recipient}}, &list); err != nil {
		return v.fail(err)
	}
	return v.print(list, func(w writer) {
		fmt.Fprintln(w, "STREAM\tRECIPIENT\tUNTIL\tREASON")
		for _, s := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Stream, s.Recipient, phrase.Time(s.Until), s.Reason)
		}
	})
}

func addSuppression(io stdio, args []string) int {
	v := newControlVerb(io, "suppressions add")
	o := admin.SuppressionOrder{Stream: reputation.AllStreams}
	v.flags.StringVar(&o.Stream, "stream", o.Stream, "for mail of this `stream`; * is all")
	v.flags.StringVar(&o.Reason, "reason", "", "`text` for the list")
	v.flags.Func("for", "how `long`, such as 7d; otherwise as configured", durationFlag(&o.For))
	return suppressionAct(v, args, "/suppressions/add", &o)
}

func removeSuppression(io stdio, args []string) int {
	v := newControlVerb(io, "suppressions remove")
	var o admin.SuppressionOrder
	v.flags.StringVar(&o.Stream, "stream", "", "for mail of this `stream` only")
	return suppressionAct(v, args, "/suppressions/remove", &o)
}

func suppressionAct(v *controlVerb, args []string, path string, o *admin.SuppressionOrder) int {
	words, status, ok := v.parse(args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		return v.misuse("name the recipient, as bob@dest.example")
	}
	address, err := config.ParseAddress(words[0])
	if err != nil {
		return v.misuse("%q is not an address: %v", words[0], err)
	}
	o.Recipient = string(address.RecipientID())
	if err := v.act(path, o, nil); err != nil {
		return v.fail(err)
	}
	return exitOK
}

// durationFlag reads a duration as the configuration writes it.
func durationFlag(d *time.Duration) func(string) error {
	return func(s string) (err error) {
		*d, err = text.ParseDuration(s)
		return err
	}
}

// writer is io.Writer where a parameter is called io.
type writer = io.Writer
