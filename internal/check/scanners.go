package check

import (
	"context"
	"fmt"
	"time"

	"postern/internal/config"
	"postern/internal/phrase"
	"postern/reputation/identity"
	"postern/scan"
)

// oldDatabase is from which age on signatures of a scanner are called old.
const oldDatabase = 3 * 24 * time.Hour

// tryScanners asks each scanner for its version, shows it test messages, and holds
// its limits against ours.
func tryScanners(ctx context.Context, f *config.File, now time.Time) (all []identity.Finding) {
	set, err := scan.New(scan.Options{Hostname: f.Hostname, Configs: f.Scanner})
	if err != nil {
		return []identity.Finding{{Check: "scanner", Subject: "all", Status: identity.Fail, Seen: err.Error(), Change: "mend the table"}}
	}
	defer set.Stop(nil)
	for _, x := range set.Examine(ctx) {
		v := scannerView{x: &x, subject: x.Name + " " + x.Kind}
		v.answers(now)
		v.connections()
		for i := range x.Trials {
			v.trial(&x.Trials[i])
		}
		if x.Err == nil {
			v.nesting(ctx)
		}
		all = append(all, v.all...)
	}
	return all
}

// scannerView collects the findings about one scanner.
type scannerView struct {
	x       *scan.Examined
	subject string
	all     []identity.Finding
}

func (v *scannerView) add(status identity.Status, asked, seen, change string) {
	v.all = append(v.all, identity.Finding{Check: "scanner", Subject: v.subject, Status: status, Asked: asked, Seen: phrase.Printable(seen), Change: change})
}

// answers tells of the version and the age of the database.
func (v *scannerView) answers(now time.Time) {
	x := v.x
	const asked = "its version"
	if x.Err != nil {
		v.add(identity.Fail, asked, x.Err.Error(), fmt.Sprintf("start it, or correct [scanner.%s]", x.Name))
		return
	}
	seen := x.Version.Name
	if seen == "" {
		seen = "it answers"
	}
	switch age := now.Sub(x.Version.Database); {
	case x.Version.Database.IsZero():
		v.add(identity.Pass, asked, seen, "")
	case age > oldDatabase:
		v.add(identity.Warn, asked, seen+", database "+phrase.Span(age)+" old", "see why its updates do not come, such as freshclam")
	default:
		v.add(identity.Pass, asked, seen+", database "+phrase.Span(max(0, age))+" old", "")
	}
}

// connections holds what an ICAP service takes at one time against concurrency.
func (v *scannerView) connections() {
	if n := v.x.Connections; n > 0 && n < v.x.Config.Concurrency {
		v.add(identity.Warn, "Max-Connections", fmt.Sprintf("it takes %d at one time", n), fmt.Sprintf("set concurrency = %d or less, or let it take more", n))
	}
}

func (v *scannerView) trial(t *scan.Trial) {
	asked := "test message " + phrase.Printable(t.What)
	if t.Err == nil {
		v.add(identity.Pass, asked, fmt.Sprintf("%s, %d ms", asked, t.Took.Milliseconds()), "")
		return
	}
	status, change := v.remedy(t)
	seen := asked + ": " + t.Err.Error()
	if t.Text != "" {
		seen += ": " + t.Text
	}
	v.add(status, asked, seen, change)
}

func (v *scannerView) remedy(t *scan.Trial) (identity.Status, string) {
	c := &v.x.Config
	switch {
	case t.What == "clean" && len(c.RequireSymbols) > 0:
		return identity.Fail, "ordinary mail would not pass; see that its rules set require_symbols for every message"
	case t.What == "clean":
		return identity.Fail, "ordinary mail would not pass as clean; mend the rules of the scanner for outbound mail"
	case t.What == "largest" && t.Class == scan.Clean:
		return identity.Fail, "raise its limits to max_size, or set max_size to them with too_large = \"refuse\""
	case t.What == "largest":
		return identity.Warn, fmt.Sprintf("its limits are below max_size = %d; raise them, or lower max_size", c.MaxSize)
	case t.What == "nested":
		return identity.Warn, "let it tell of what is over its limits, such as AlertExceedsMax yes of clamd"
	case t.What == "encrypted":
		return identity.Fail, "let it tell of encryption, such as AlertEncrypted yes of clamd, or set encrypted = \"pass\""
	}
	return identity.Fail, "see why it does not find test messages; until then it is down for the relay"
}
