package control

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/phrase"
	"postern/internal/text"
	"postern/internal/volume"
	"postern/outlier"
)

// Senders lists what the watch knows about senders, or shows one.
func Senders(io cli.IO, args []string) int {
	if len(args) > 0 && args[0] == "show" {
		return showSender(io, args[1:])
	}
	v := NewVerb(io, "senders")
	scope := v.Flags.String("scope", "", "list one `scope` only: sender, user, submitter or client")
	state := v.Flags.String("state", "", "only in this `state` or a harder one: brake, alert, throttle, suspend")
	match := v.Flags.String("match", "", "only names with this `text`")
	sort := v.Flags.String("sort", "", "by "+strings.Join(outlier.Sorts, ", ")+"; otherwise by state, then score")
	n := v.Flags.Int("n", 100, "how many at most, beside those that are suspended or throttled; 0: all")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	if *n < 0 {
		return v.misuse("-n %d is negative", *n)
	}
	var list admin.SenderList
	var err error
	list.Rows, list.All, err = all[outlier.Row](v, "/senders", url.Values{"scope": {*scope}, "state": {*state}, "match": {*match}, "sort": {*sort}, "others": {fmt.Sprint(*n)}}, 0)
	if err != nil {
		return v.Fail(err)
	}
	return v.Print(list, func(w Writer) {
		fmt.Fprintln(w, "NAME\tSTATE\tSCORE\tCOUNTED 1H\tUSUAL\tCOUNTED 24H\tUSUAL\tLAST MAIL\tLAST ALARM\tREASON")
		for _, r := range list.Rows {
			fmt.Fprintf(w, "%s\t%s\t%.2f\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", phrase.Printable(phrase.Target(r.Scope, r.Name)), phrase.State(&r), r.Score, r.Hour, r.UsualHr, r.Day, r.UsualDay,
				phrase.Time(r.Last), phrase.Time(r.LastAlarm), r.Reason)
		}
		if list.All > len(list.Rows) {
			fmt.Fprintf(w, "... and %d more; see -n\n", list.All-len(list.Rows))
		}
	})
}

// target is the one word of a command: who is meant.
func (v *Verb) target(args []string) (name string, status int, ok bool) {
	words, status, ok := v.Parse(args, 1)
	if ok && len(words) == 0 {
		return "", v.misuse("name a sender, user:NAME, submitter:CLIENT/NAME or client:NAME"), false
	}
	if !ok {
		return "", status, false
	}
	return words[0], 0, true
}

func (v *Verb) detail(name string) (d admin.SenderDetail, err error) {
	err = v.Get("/senders/"+url.PathEscape(name), nil, &d)
	return d, err
}

func showSender(io cli.IO, args []string) int {
	v := NewVerb(io, "senders show")
	name, status, ok := v.target(args)
	if !ok {
		return status
	}
	d, err := v.detail(name)
	if err != nil {
		return v.Fail(err)
	}
	shown := ShownSender{d, v.volumeOf(d)}
	return v.Print(shown, func(w Writer) { writeDetail(w, &shown) })
}

// ShownSender is what relay senders show prints: what the watch has, and what
// the journal counts.
type ShownSender struct {
	admin.SenderDetail
	Volume *volume.Volume `json:"volume"`
}

func writeDetail(w Writer, d *ShownSender) {
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line(d.Scope, "%s", d.Name)
	line("client", "%s", cmp.Or(d.Client, "-"))
	line("state", "%s%s", phrase.State(&d.Row), phrase.Prefixed(": ", d.Reason)+phrase.Prefixed(", by ", d.By))
	for i, h := range d.Still {
		line(first(i, "stopped by"), "%s%s", h.What, phrase.Prefixed("; ", h.Command))
	}
	if d.Volume.Problem != "" {
		line("volume", "not known: %s", d.Volume.Problem)
	} else {
		line("volume 1h", "%s (journal)", &d.Volume.Hour)
		line("volume 24h", "%s (journal)", &d.Volume.Day)
	}
	writeWatched(line, d.Detail)
}

// writeWatched writes what the watch counted, which is not the volume: it judges
// by recipients that were new or passed, and leaves out what was turned away.
func writeWatched(line func(key, format string, args ...any), d *outlier.Detail) {
	line("watch", "the lines below are the counts of the outlier watch, not the volume: they leave out mail that was refused here, or would have been without shadow")
	line("score", "%.2f", d.Score)
	if d.Messages > 0 {
		line("messages", "%d counted since %s, the latest %s", d.Messages, d.First.Format(time.DateOnly), phrase.Time(d.Last))
	}
	if len(d.History) > 0 {
		line("14 days", "%s  %v recipients counted a day, give or take a fifth, today last", outlier.Sparkline(d.History), d.History)
	}
	for _, win := range d.Windows {
		line(win.Kind+" "+win.Window, "%.0f counted now, usual most %.0f", win.Now, win.Record)
	}
	if d.Away > 0 {
		line("turned away", "%s refused here, aborted or in shadow, within about an hour", text.Count(d.Away, "recipient", "recipients"))
	}
	if d.Names != nil {
		line("sender names", "%.0f in use within the hour, %.0f new within 24 h, usual most %.0f", d.Names.InUse, d.Names.New, d.Names.UsualNew)
	}
	for _, p := range d.Expected {
		text, _ := p.MarshalText()
		line("expected", "%s", text)
	}
	for _, a := range d.Alarms {
		line("alarm", "%s score %.2f: %s", phrase.Time(a.Time), a.Score, a.Reason)
	}
}

// ExplainOutlier prints the arithmetic of a present score.
func ExplainOutlier(io cli.IO, args []string) int {
	v := NewVerb(io, "outliers explain")
	name, status, ok := v.target(args)
	if !ok {
		return status
	}
	d, err := v.detail(name)
	switch {
	case err != nil:
		return v.Fail(err)
	case d.Explain == nil:
		return v.Fail(fmt.Errorf("%s %s has sent nothing yet", d.Scope, d.Name))
	}
	return v.Print(d.Explain, func(w Writer) { fmt.Fprint(w, d.Explain.String()) })
}

// Suspend defers all mail of somebody.
func Suspend(io cli.IO, args []string) int {
	v := NewVerb(io, "suspend")
	var o api.Suspend
	v.Flags.Func("for", "`duration`, such as 24h; default: until released", cli.DurationFlag((*time.Duration)(&o.For)))
	v.Flags.StringVar(&o.Reason, "reason", "", "why; a `text` for the log and the list")
	v.Flags.BoolVar(&o.Unknown, "unknown", false, "also accept a name that the configuration does not have")
	name, status, ok := v.target(args)
	switch {
	case !ok:
		return status
	case o.Reason == "":
		return v.misuse("-reason is missing; say why, for the log")
	}
	o.Name = name
	var s outlier.State
	if err := v.do("/suspensions", o, &s); err != nil {
		return v.Fail(err)
	}
	return v.Print(s, func(w Writer) { writeNow(w, &s) })
}

// Release ends a suspension, throttle or alarm, and says what else stops mail.
func Release(io cli.IO, args []string) int {
	v := NewVerb(io, "release")
	var o api.Release
	v.Flags.BoolVar(&o.Learn, "learn", false, "treat what was sent as legitimate, and add it to the record")
	v.Flags.StringVar(&o.Reason, "reason", "", "why; a `text` for the log")
	name, status, ok := v.target(args)
	if !ok {
		return status
	}
	o.Name, o.Act = name, because(o.Reason)
	var s admin.Released
	if err := v.do("/suspensions/release", o, &s); err != nil {
		return v.Fail(err)
	}
	return v.Print(s, func(w Writer) {
		writeNow(w, &s.State)
		writeStill(w, s.Still)
	})
}

func writeNow(w Writer, s *outlier.State) {
	r := outlier.Row{State: s.Level, Until: s.Until}
	fmt.Fprintf(w, "%s %s is now %s\n", s.Scope, phrase.Printable(s.Name), phrase.State(&r))
}

// writeStill says what else stops mail, and the command that ends it.
func writeStill(w Writer, still []admin.Hindrance) {
	if len(still) == 0 {
		fmt.Fprintln(w, "nothing else stops its mail")
		return
	}
	fmt.Fprintln(w, "its mail is still stopped:")
	for _, h := range still {
		fmt.Fprintf(w, "  %s\n", phrase.Printable(h.What))
		if h.Command != "" {
			fmt.Fprintf(w, "      %s\n", h.Command)
		}
	}
}

// volumeOf counts in the journal, which lies on the relay's machine.
func (v *Verb) volumeOf(d admin.SenderDetail) *volume.Volume {
	if v.server != "" {
		return &volume.Volume{Journal: d.Journal, Problem: "the journal is counted on the relay's own machine"}
	}
	var files []string
	if d.Journal != "" {
		var err error
		if files, err = cli.JournalFiles("", d.Journal); err != nil {
			return &volume.Volume{Journal: d.Journal, Problem: err.Error()}
		}
	}
	return volume.Of(d.Journal, files, d.Scope, d.Name, time.Now())
}
