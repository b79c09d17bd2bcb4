package control

import (
	"cmp"
	"fmt"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/phrase"
	"postern/internal/syntax"
	"postern/reputation"
)

func Backoff(io cli.IO, args []string) int {
	return cli.Subcommands(io, "backoff", args, map[string]func(cli.IO, []string) int{"list": listBackoff, "end": endBackoff}, "list", "end")
}

func listBackoff(io cli.IO, args []string) int {
	v := NewVerb(io, "backoff list")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	return printAll(v, "/backoffs", nil, 0, "STREAM\tDESTINATION\tWHOSE\tUNTIL\tREPLY", func(w Writer, e *reputation.BackoffEntry) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Stream, cmp.Or(e.Destination(), "all, paused by a listing"), cmp.Or(trimmed(phrase.Whose(e)), "all"),
			phrase.Time(e.Until), cmp.Or(e.Reply, "-"))
	})
}

func trimmed(s string) string { return s[min(len(s), 1):] }

// endBackoff lets mail to a domain, or of a stream, go on.
func endBackoff(io cli.IO, args []string) int {
	v := NewVerb(io, "backoff end")
	words, status, ok := v.Parse(args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		return v.misuse("name a domain of recipients, a provider or a stream, as in relay backoff list")
	}
	o := api.EndBackoff{Act: because(""), Stream: words[0]}
	if domain, err := syntax.LenientDomain(words[0]); err == nil {
		o.Domain = domain
	}
	if err := v.do("/backoffs/end", o, nil); err != nil {
		return v.Fail(err)
	}
	return cli.OK
}
