package control

import (
	"fmt"

	"postern/cmd/relay/cli"
	"postern/internal/admin"
	"postern/internal/api"
)

// Reload has a running relay read its configuration again, and waits for how that went:
// its exit status is 1 where the previous one stays in force.
func Reload(io cli.IO, args []string) int {
	v := NewVerb(io, "reload")
	var o api.Reload
	v.Flags.StringVar(&o.Reason, "reason", "", "why; a `text` for the audit")
	v.Flags.BoolVar(&o.DryRun, "dry-run", false, "only look at the file, as the relay reads it")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	dry := o.DryRun
	o.Act = because(o.Reason)
	o.DryRun = dry
	var s admin.ReloadStatus
	if err := v.do("/reload", o, &s); err != nil {
		return v.Fail(err)
	}
	status := v.Print(s, func(w Writer) {
		for _, p := range s.Problems {
			fmt.Fprintln(w, p)
		}
		switch {
		case !s.OK && dry:
			fmt.Fprintln(w, "it would not come into force")
		case !s.OK:
			fmt.Fprintln(w, "not reloaded, the old configuration stays in force")
		case dry:
			fmt.Fprintln(w, "nothing is wrong with it")
		default:
			fmt.Fprintln(w, "reloaded")
		}
	})
	if status == cli.OK && !s.OK {
		return cli.Fault
	}
	return status
}
