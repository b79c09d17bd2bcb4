package describe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/outlier"
	"postern/outlier/brake"
)

// outlierWords says what the table [outlier] does to mail, line by line.
func outlierWords(f *config.File) []string {
	o := &f.Outlier
	lines := []string{fmt.Sprintf("senders that behave unlike themselves: mode %s", o.Mode)}
	if o.Mode == outlier.Shadow {
		lines[0] += ", so that it reports what it finds and defers nothing; what an operator suspends is suspended"
	}
	if o.Brake > 0 {
		lines = append(lines, fmt.Sprintf("brake: from a score of %g on, mail to new recipients waits, but for %d an hour", o.Brake, brake.PerHour))
	}
	if o.Spam.N > 0 {
		lines = append(lines, fmt.Sprintf("spam: %s suspend who has submitted them", verdictWords(o.Spam)))
	}
	if len(o.Decoys) > 0 {
		lines = append(lines, "decoys: one message to an address in "+strings.Join(o.Decoys, ", ")+" suspends who has submitted it")
	}
	if may := f.SuspendedMayTexts(); len(may) > 0 {
		slices.Sort(may)
		lines = append(lines, "who is suspended may still write to "+strings.Join(slices.Compact(may), ", "))
	}
	if o.HelpURL != "" {
		lines = append(lines, "replies about a suspension name "+o.HelpURL)
	}
	return lines
}

func verdictWords(v outlier.Verdicts) string {
	text, _ := v.MarshalText() // never fails
	return string(text) + " messages with spam or a virus"
}

// watchWords says how the watch treats a client where that is not as [outlier] says; ""
// where it is.
func watchWords(f *config.File, name string) string {
	o, c := &f.Outlier, f.Client[name]
	var words []string
	policy := o.Policy[c.Watch]
	switch {
	case slices.Contains(o.ExemptClients, name) || c.Watch == "none" || policy.Mode == outlier.Exempt:
		return "none: neither it nor its users and senders are judged"
	case c.Watch == "strict":
		words = append(words, "strict: scores count one and a half times", verdictWords(o.StrictSpam())+" suspend")
	case c.Watch != "" && c.Watch != "standard":
		words = append(words, fmt.Sprintf("%s: mode %s", c.Watch, cmp.Or(policy.Mode, o.Mode)), fmt.Sprintf("scores count %g times", policy.Sensitivity))
		if policy.Spam.N > 0 {
			words = append(words, verdictWords(policy.Spam)+" suspend")
		}
	}
	if slices.Contains(o.ShadowClients, name) {
		words = append(words, "mode shadow")
	}
	if slices.Contains(o.NoRetries, name) && o.Brake > 0 {
		words = append(words, "no brake, since it loses mail that waits (retries = false)")
	}
	return strings.Join(words, "; ")
}
