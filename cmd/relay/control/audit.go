package control

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/audit"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/internal/text"
)

// Audit shows who had a relay do what, and holds the file against its own chain.
func Audit(io cli.IO, args []string) int {
	return cli.Subcommands(io, "audit", args, map[string]func(cli.IO, []string) int{"list": listAudit, "undo": undoAudit, "verify": verifyAudit}, "list", "undo", "verify")
}

// listAudit asks a running relay, the newest first.
func listAudit(io cli.IO, args []string) int {
	v := NewVerb(io, "audit list")
	actor := v.Flags.String("by", "", "only what this `actor` did")
	verb := v.Flags.String("act", "", "only acts of this `kind`, such as release")
	n := v.Flags.Int("n", 50, "how many lines at most, up to 1000")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	var p api.AuditPage
	if err := v.Get("/audit", url.Values{"actor": {*actor}, "verb": {*verb}, "limit": {fmt.Sprint(*n)}}, &p); err != nil {
		return v.Fail(err)
	}
	return v.Print(p.Items, func(w Writer) {
		fmt.Fprintln(w, "TIME\tID\tBY\tFROM\tACT\tWHAT\tRESULT\tREASON")
		for i := range p.Items {
			l := &p.Items[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", phrase.Time(l.Time), l.ID, phrase.Printable(l.Actor), cmp.Or(l.Remote, l.Door), l.Verb+phrase.Prefixed(" of ", l.Undoes), phrase.Printable(l.Target), l.Result, phrase.Printable(l.Reason))
		}
	})
}

// undoAudit has a relay take an act back.
func undoAudit(io cli.IO, args []string) int {
	v := NewVerb(io, "audit undo")
	reason := v.Flags.String("reason", "", "why, a `text` for the audit")
	dry := v.Flags.Bool("dry-run", false, "say whether it could be undone, and do nothing")
	words, status, ok := v.Parse(args, 1)
	switch {
	case !ok:
		return status
	case len(words) == 0:
		return v.misuse("name the id of an act, as relay audit list has it")
	}
	order := api.Undo{Act: because(*reason)}
	order.DryRun = *dry
	var done api.Undone
	if err := v.do("/audit/"+url.PathEscape(words[0])+"/undo", order, &done); err != nil {
		return v.Fail(err)
	}
	return v.Print(done, func(w Writer) {
		said := "taken back"
		if *dry {
			said = "would be taken back"
		}
		fmt.Fprintf(w, "%s: %s of %s\n", said, done.Verb, phrase.Printable(done.Target))
	})
}

// verifyAudit reads the files without a relay. Its exit status is 1 where a line is not
// as it was written.
func verifyAudit(io cli.IO, args []string) int {
	v := NewVerb(io, "audit verify")
	words, status, ok := v.Parse(args, 1)
	if !ok {
		return status
	}
	if status, ok := v.readsFiles(); !ok {
		return status
	}
	name := ""
	if len(words) == 1 {
		name = words[0]
	} else {
		f, err := config.LoadRules(cli.ConfigPath(*v.config))
		if err != nil {
			return v.Fail(err)
		}
		name = filepath.Join(f.StateDir, "audit.jsonl")
	}
	r, err := audit.Verify(name)
	if err == nil && r.Files == 0 && len(words) == 1 {
		err = fmt.Errorf("there is no %s", name)
	}
	if err != nil {
		return v.Fail(err)
	}
	status = v.Print(r, func(w Writer) {
		for _, p := range r.Problems {
			fmt.Fprintln(w, p)
		}
		if r.Lines == 0 {
			fmt.Fprintf(w, "no line in %s: nobody has had the relay do anything yet, or the file is gone\n", name)
			return
		}
		fmt.Fprintf(w, "%s in %s, number %d to %d, %s to %s\n", text.Count(r.Lines, "line", "lines"), text.Count(r.Files, "file", "files"), r.From, r.Seq, phrase.Time(r.First), phrase.Time(r.Last))
		if len(r.Problems) == 0 {
			fmt.Fprintf(w, "all as they were written; the last line has the sum %s\n", r.Sum)
		}
	})
	if status == cli.OK && len(r.Problems) > 0 {
		return cli.Fault
	}
	return status
}
