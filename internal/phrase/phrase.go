// Package phrase puts times, spans, states and counts into the words in which
// commands and reports tell them to people, so that the relay and its commands
// say the same of the same.
package phrase

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
)

// Time is a time for a table.
func Time(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// Span is a time span for people: "3d4h", "2h5m", "40s".
func Span(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return d.Truncate(time.Second).String()
}

// State says in which state of the watch a sender, user or client is, and until
// when.
func State(r *outlier.Row) string {
	s := map[outlier.Level]string{outlier.Braked: "braked", outlier.Throttled: "throttled", outlier.Suspended: "suspended"}[r.State]
	if s == "" {
		s = r.State.String()
	}
	if r.State == outlier.Normal {
		return s
	}
	if r.Shadow {
		s += " (shadow)"
	}
	if r.Until.IsZero() {
		return s + " until released"
	}
	return s + " until " + Time(r.Until)
}

// Used says how much of a window is used, and by how much an override raises it.
func Used(w *ratelimit.WindowUsage) string {
	s := fmt.Sprintf("%d of %d %s in %s", w.Used, w.Max, w.Unit.Words(), w.Window)
	if w.Raised > 0 {
		s += fmt.Sprintf(" (%d raised)", w.Raised)
	}
	return s
}

// Wait says when there is room again; negative seconds are never.
func Wait(seconds int64) string {
	switch {
	case seconds < 0:
		return "never"
	case seconds == 0:
		return "now"
	}
	return "in " + (time.Duration(seconds) * time.Second).String()
}

// Whose says whose mail waits, with a blank in front; "" for all.
func Whose(e *reputation.BackoffEntry) string {
	switch {
	case e.Client == "":
		return ""
	case e.Sender == "":
		return " of client " + e.Client
	}
	return " of " + string(e.Sender)
}

// Printable is text from a journal, without what a terminal would obey.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, cmp.Or(s, "-"))
}

// Prefixed is s behind a word, or nothing.
func Prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// Target is how a command names somebody.
func Target(scope, name string) string {
	if scope == outlier.Sender && !strings.HasPrefix(name, "-") { // which would be read as a flag
		return name
	}
	if scope == outlier.User && strings.HasPrefix(name, outlier.Mailbox+":") {
		return name // a submitter in the place of a user
	}
	return scope + ":" + name
}
