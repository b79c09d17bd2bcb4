package control

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/reputation"
)

func Suppressions(io cli.IO, args []string) int {
	return cli.Subcommands(io, "suppressions", args, map[string]func(cli.IO, []string) int{
		"list": listSuppressions, "add": addSuppression, "remove": removeSuppression,
	}, "list", "add", "remove")
}

func listSuppressions(io cli.IO, args []string) int {
	v := NewVerb(io, "suppressions list")
	stream := v.Flags.String("stream", "", "only those of a `stream`")
	recipient := ""
	v.Flags.Func("recipient", "only this `address`", func(s string) error {
		a, err := config.ParseAddress(s)
		recipient = string(a.RecipientID())
		return err
	})
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	which := url.Values{"stream": {*stream}, "recipient": {recipient}}
	return printAll(v, "/suppressions", which, 0, "STREAM\tRECIPIENT\tUNTIL\tREASON", func(w Writer, s *reputation.Suppression) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Stream, s.Recipient, phrase.Time(s.Until), s.Reason)
	})
}

func addSuppression(io cli.IO, args []string) int {
	v := NewVerb(io, "suppressions add")
	o := api.Suppress{Stream: reputation.AllStreams}
	v.Flags.StringVar(&o.Stream, "stream", o.Stream, "for mail of this `stream`; * is all")
	v.Flags.StringVar(&o.Reason, "reason", "", "`text` for the list")
	v.Flags.Func("for", "`duration`, such as 7d; default: as configured", cli.DurationFlag((*time.Duration)(&o.For)))
	return suppressionAct(v, args, "/suppressions", &o)
}

func removeSuppression(io cli.IO, args []string) int {
	v := NewVerb(io, "suppressions remove")
	var o api.Suppress
	v.Flags.StringVar(&o.Stream, "stream", "", "for mail of this `stream` only")
	return suppressionAct(v, args, "/suppressions/remove", &o)
}

func suppressionAct(v *Verb, args []string, path string, o *api.Suppress) int {
	words, status, ok := v.Parse(args, 1)
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
	o.Act = because(o.Reason)
	if err := v.do(path, o, nil); err != nil {
		return v.Fail(err)
	}
	return cli.OK
}

// Writer is io.Writer where a parameter is called io.
type Writer = io.Writer
