package control

import (
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/internal/text"
	"postern/mail"
	"postern/ratelimit"
)

func Limits(io cli.IO, args []string) int {
	return cli.Subcommands(io, "limits", args, map[string]func(cli.IO, []string) int{
		"show": showLimits, "top": topLimits, "explain": explainLimits, "reset": resetLimit, "allow": allowLimit, "raises": listAllowances,
	}, "show", "top", "explain", "reset", "allow", "raises")
}

// keyFlags are what a key of a limit can be chosen by.
type keyFlags struct {
	ratelimit.Filter
	key     string
	unknown bool
}

func (k *keyFlags) add(f *flag.FlagSet) {
	f.StringVar(&k.Limit, "limit", "", "`name` of the limit")
	for _, d := range ratelimit.Dimensions() {
		name := strings.ReplaceAll(d.String(), "_", "-")
		if d == ratelimit.PerSender {
			f.Func(name, d.About(), k.setSender)
			continue
		}
		f.StringVar(k.Of(d), name, "", d.About())
	}
}

func (k *keyFlags) setSender(s string) error {
	if s == "<>" {
		k.Sender = mail.Identity(s)
		return nil
	}
	a, err := config.ParseAddress(s)
	if err != nil {
		return err
	}
	k.Sender, k.SenderDomain = a.Identity(), a.Domain
	return nil
}

// addKey adds what orders take besides.
func (k *keyFlags) addKey(f *flag.FlagSet) {
	f.StringVar(&k.key, "key", "", "the `key` as limits show writes it, instead of the parts")
	f.BoolVar(&k.unknown, "unknown", false, "also accept names that the configuration does not have")
}

// budget is the one that an order means.
func (k *keyFlags) budget() api.BudgetOf {
	b := api.BudgetOf{Key: k.key, Filter: k.Filter, Unknown: k.unknown}
	b.Filter.Limit = ""
	return b
}

func (k *keyFlags) values() url.Values {
	values := url.Values{"name": {k.Limit}}
	for _, d := range ratelimit.Dimensions() {
		values.Set(d.String(), *k.Of(d))
	}
	return values
}

// showLimits lists keys in use, the fullest first.
func showLimits(io cli.IO, args []string) int {
	v := NewVerb(io, "limits show")
	var k keyFlags
	k.add(v.Flags)
	n := v.Flags.Int("n", 100, "show at most `n`; 0: all")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	values := k.values()
	if k.Sender != "" {
		values.Del("sender_domain") // the sender finds its domain's budgets, too
	}
	return v.listStates(values, *n)
}

func topLimits(io cli.IO, args []string) int {
	v := NewVerb(io, "limits top")
	n := v.Flags.Int("n", 20, "show at most `n`; 0: all")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	return v.listStates(url.Values{}, *n)
}

func (v *Verb) listStates(values url.Values, n int) int {
	if n < 0 {
		return v.misuse("-n %d is negative", n)
	}
	return printAll(v, "/limits", values, n, "USE\tLIMIT\tKEY\tUSED\tROOM\tNEXT FITS\tLARGEST SENDERS", writeState)
}

// writeState writes a budget, a line for each window.
func writeState(w Writer, s *ratelimit.Usage) {
	limit := s.Limit
	if s.Mode == ratelimit.Shadow {
		limit += " (shadow)"
	}
	if s.Stream != "" {
		limit += " for " + s.Stream
	}
	for i, win := range s.Windows {
		use, key, top := fmt.Sprintf("%.0f%%", s.Use*100), s.Key, strings.Join(s.Top, ", ")
		if i > 0 {
			use, limit, key, top = "", "", "", ""
		}
		if i == 0 && s.Override != "" {
			key += " [override " + s.Override + "]"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", use, limit, key, phrase.Used(&win), win.Room, phrase.Wait(win.Wait), top)
	}
}

// explainLimits says what each limit would make of one message.
func explainLimits(io cli.IO, args []string) int {
	v := NewVerb(io, "limits explain")
	var k keyFlags
	var to, submitterIP string
	v.Flags.StringVar(&k.Client, "client", "", "`name` of the client that sends")
	v.Flags.StringVar(&k.User, "user", "", "SASL `user`")
	v.Flags.StringVar(&k.ClientIP, "client-ip", "", "`address` of the client")
	v.Flags.StringVar(&k.Submitter, "submitter", "", "who has submitted it to the client, `client/name`")
	v.Flags.StringVar(&submitterIP, "submitter-ip", "", "`address` of the submitter")
	v.Flags.Func("from", "reverse-path, an `address` or <>", k.setSender)
	v.Flags.Func("to", "recipient, an `address`", func(s string) error {
		a, err := config.ParseAddress(s)
		to = string(a.RecipientID())
		return err
	})
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	if k.Client == "" || k.Sender == "" || to == "" {
		return v.misuse("-client, -from and -to are needed")
	}
	about := url.Values{"client": {k.Client}, "user": {k.User}, "client_ip": {k.ClientIP},
		"submitter": {k.Submitter}, "submitter_ip": {submitterIP}, "from": {string(k.Sender)}, "to": {to}}
	return printAll(v, "/limits/explain", about, 0, "LIMIT\tCOUNTS ON\tUSED\tSAYS", writeExplanation)
}

func writeExplanation(w Writer, x *ratelimit.Explanation) {
	name := x.Limit
	if x.Mode == ratelimit.Shadow {
		name += " (shadow)"
	}
	if !x.Applies {
		fmt.Fprintf(w, "%s\t-\t-\tdoes not apply: %s\n", name, x.Why)
		return
	}
	says := "passes"
	if !x.Fits {
		says = "refuses: " + strings.Join(x.Refused, ", ")
	}
	key := x.Key
	if x.Override != "" {
		key += " [override " + x.Override + "]"
	}
	if len(x.Top) > 0 {
		says += "; largest: " + strings.Join(x.Top, ", ")
	}
	for i := range x.Windows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, key, phrase.Used(&x.Windows[i]), says)
		name, key, says = "", "", ""
	}
}

// resetLimit forgets the counts of one key.
func resetLimit(io cli.IO, args []string) int {
	v := NewVerb(io, "limits reset")
	var k keyFlags
	k.add(v.Flags)
	k.addKey(v.Flags)
	reason := v.Flags.String("reason", "", "why; a `text` for the log")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	switch {
	case k.Limit == "":
		return v.misuse("-limit is missing; name the limit")
	case *reason == "":
		return v.misuse("-reason is missing; say why, for the log")
	}
	var was ratelimit.Usage
	if err := v.do("/limits/"+url.PathEscape(k.Limit)+"/reset", api.Reset{Act: because(*reason), BudgetOf: k.budget()}, &was); err != nil {
		return v.Fail(err)
	}
	return v.Print(was, func(w Writer) {
		fmt.Fprintf(w, "reset %s on %s; it had:\n", was.Limit, was.Key)
		for i := range was.Windows {
			fmt.Fprintf(w, "  %s\n", phrase.Used(&was.Windows[i]))
		}
	})
}

// allowLimit gives one key more room for a time.
func allowLimit(io cli.IO, args []string) int {
	v := NewVerb(io, "limits allow")
	var k keyFlags
	k.add(v.Flags)
	k.addKey(v.Flags)
	var o api.Allow
	units := 0
	for name, unit := range map[string]ratelimit.Unit{
		"messages": ratelimit.Messages, "recipients": ratelimit.Recipients, "bytes": ratelimit.Bytes,
		"distinct-recipients": ratelimit.DistinctRecipients,
	} {
		v.Flags.Func(name, "how many more, such as `+5000`; +0 ends the override", func(s string) (err error) {
			units++
			o.Unit = &unit
			o.Add, err = parseMore(s, unit)
			return err
		})
	}
	v.Flags.Func("window", "only in this `window`, such as 1h; default: in all windows of the unit", cli.DurationFlag((*time.Duration)(&o.Window)))
	v.Flags.Func("until", "`when` it ends: 18:00, 2026-12-24T18:00, or 3h from now", func(s string) (err error) {
		o.Until, err = parseUntil(s, time.Now())
		return err
	})
	v.Flags.StringVar(&o.Reason, "reason", "", "why; a `text` for the list and the log")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	switch {
	case k.Limit == "":
		return v.misuse("-limit is missing; name the limit")
	case units != 1:
		return v.misuse("name one of -messages, -recipients, -bytes, -distinct-recipients")
	case o.Reason == "":
		return v.misuse("-reason is missing; say why, for those who find the allowance later")
	}
	o.BudgetOf = k.budget()
	var made ratelimit.Allowance
	if err := v.do("/limits/"+url.PathEscape(k.Limit)+"/allowances", o, &made); err != nil {
		return v.Fail(err)
	}
	return v.Print(made, func(w Writer) { writeAllowances(w, []ratelimit.Allowance{made}) })
}

// parseMore reads "+5000", for bytes "+1GiB".
func parseMore(s string, unit ratelimit.Unit) (int64, error) {
	s = strings.TrimPrefix(s, "+")
	if unit == ratelimit.Bytes && s != "0" {
		return text.ParseSize(s)
	}
	var n int64
	if _, err := fmt.Sscanf(s+" ", "%d ", &n); err != nil || n < 0 || strings.TrimLeft(s, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a number of units; write it as +5000", s)
	}
	return n, nil
}

// parseUntil reads the next 18:00, a date with a time, or a time from now.
func parseUntil(s string, now time.Time) (time.Time, error) {
	if t, err := time.ParseInLocation("15:04", s, now.Location()); err == nil {
		u := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
		if !u.After(now) {
			u = u.AddDate(0, 0, 1)
		}
		return u, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	d, err := text.ParseDuration(strings.TrimPrefix(s, "+"))
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time; write 18:00, 2026-12-24T18:00 or 3h", s)
	}
	return now.Add(d), nil
}

func listAllowances(io cli.IO, args []string) int {
	v := NewVerb(io, "limits raises")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	list, _, err := all[ratelimit.Allowance](v, "/allowances", nil, 0)
	if err != nil {
		return v.Fail(err)
	}
	return v.Print(list, func(w Writer) { writeAllowances(w, list) })
}

func writeAllowances(w Writer, list []ratelimit.Allowance) {
	fmt.Fprintln(w, "LIMIT\tKEY\tMORE\tUNTIL\tREASON")
	for _, r := range list {
		window := "every window"
		if r.Window > 0 {
			window = ratelimit.FormatWindow(r.Window)
		}
		fmt.Fprintf(w, "%s\t%s\t+%d %s in %s\t%s\t%s\n", r.Limit, r.Key, r.Add, r.Unit.Words(), window, phrase.Time(r.Until), r.Reason)
	}
}
