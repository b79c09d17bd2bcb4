package control

import (
	"cmp"
	"fmt"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/phrase"
	"postern/reputation"
	"postern/upstream/warmup"
)

// Warmup shows the budgets of new source addresses.
func Warmup(io cli.IO, args []string) int {
	v := NewVerb(io, "warmup")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	return printAll(v, "/warmups", nil, 0, "UPSTREAM\tSOURCE\tPROVIDER\tSTEP\tSENT IN 24H\tDEFERRED\tREFUSED\tSINCE\tGROWS", writeWarmup)
}

func writeWarmup(w Writer, r *warmup.Row) {
	step, sent := "warm", fmt.Sprint(r.Sent)
	if r.Budget > 0 {
		step, sent = fmt.Sprintf("%d of %d", r.Step, r.Steps), fmt.Sprintf("%d of %d", r.Sent, r.Budget)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", r.Upstream, r.Source, r.Provider, step, sent, r.Deferred, r.Refused, phrase.Time(r.Since), growth(r))
}

// WriteProvider writes what the running relay of a configuration knows of the mail of a
// stream to a domain and its group of receivers: what waits, and budgets of addresses.
func WriteProvider(io cli.IO, path, upstream, stream, domain, group string) {
	v := &Verb{io: io, config: &path}
	waits, _, err := all[reputation.BackoffEntry](v, "/backoffs", nil, 0)
	var providers []api.Provider
	if err == nil {
		providers, err = readProviders(v)
	}
	if err != nil {
		fmt.Fprintln(io.Out, "back-off and warm-up: no relay of this configuration is running")
		return
	}
	for i := range waits { // those of groups are among what holds says
		e := &waits[i]
		if e.Stream == stream && (e.Domain == domain || e.Destination() == "") {
			fmt.Fprintf(io.Out, "mail to %s%s waits until %s: %s\n", cmp.Or(e.Destination(), "everybody"), phrase.Whose(e), phrase.Time(e.Until), cmp.Or(phrase.Printable(e.Reply), "a listing"))
		}
	}
	for i := range providers {
		p := &providers[i]
		if p.Provider != group || p.Upstream != upstream {
			continue
		}
		fmt.Fprintf(io.Out, "%s by upstream %s: %s\n", p.Provider, p.Upstream, p.Use())
		for _, words := range holds(p) {
			fmt.Fprintln(io.Out, words)
		}
	}
}

// growth says when the budget grows, or why it does not.
func growth(r *warmup.Row) string {
	if r.Budget == 0 {
		return "no budget any more"
	}
	return cmp.Or(r.Holds, "within a minute")
}
