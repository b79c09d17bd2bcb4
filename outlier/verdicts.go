package outlier

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
	"postern/mail"
	"postern/outlier/detector"
	"postern/outlier/fair"
)

// Verdicts is the plain rule on what scanners say: N messages in which they found
// spam or a virus within Window suspend who has submitted them. The zero value is
// never.
type Verdicts struct {
	N      int
	Window time.Duration
}

// UnmarshalText reads "N/WINDOW", N from 1 to 1000 and a window from 1m to 24h; an
// empty text is never.
func (v *Verdicts) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*v = Verdicts{}
		return nil
	}
	n, window, ok := strings.Cut(string(b), "/")
	count, err := strconv.Atoi(n)
	length, bad := text.ParseDuration(window)
	if !ok || err != nil || bad != nil || count < 1 || count > 1000 || length < time.Minute || length > 24*time.Hour {
		return fmt.Errorf(`%q is not a number of verdicts in a time; write 1 to 1000 and 1m to 24h, such as "5/10m"`, b)
	}
	*v = Verdicts{count, length}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (v Verdicts) MarshalText() ([]byte, error) {
	if v == (Verdicts{}) {
		return nil, nil
	}
	return []byte(strconv.Itoa(v.N) + "/" + text.FormatDuration(v.Window)), nil
}

// maxFound bounds those of whom verdicts are counted, at up to 8 KB each.
const maxFound = 2000

// found are the times of the verdicts on the mail of each, by client, in seconds since
// 1970, the oldest first.
type found struct {
	times *fair.Map[detector.Who, []int64]
}

func newFound() found {
	return found{fair.New[detector.Who](maxFound, fewer, nil)}
}

// fewer puts those first who have fewer verdicts, and then those with older ones.
func fewer(a, b []int64) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a[len(a)-1] < b[len(b)-1]
}

// add counts a verdict and gives how many lie within the window.
func (f *found) add(client string, who detector.Who, at int64, v Verdicts) int {
	first := at - int64(v.Window/time.Second)
	times, known := f.times.Get(client, who)
	if !known && f.times.Len() >= maxFound {
		f.times.Keep(func(times []int64) bool { return times[len(times)-1] > first })
	}
	times = append(slices.DeleteFunc(times, func(t int64) bool { return t <= first }), at)
	f.times.Put(client, who, times[max(0, len(times)-v.N):])
	return len(times)
}

// verdict counts a message in which a scanner found harm for who has submitted it:
// the submitter or user, else the sender, else the client. A bounce or another answer holds
// what a stranger wrote, who could have anybody suspended by it: these alert, and are counted
// apart.
func (w *Watch) verdict(now time.Time, ev *mail.Event, sender string) {
	v := w.rules.verdicts(ev.Client)
	if v.N == 0 || !ev.Harmful() {
		return
	}
	who, of := detector.Who{Scope: Client, Name: ev.Client}, ev.Client
	switch party := ev.Party(); {
	case party != "":
		if who = detector.PartyWho(party); who.Scope == User {
			of = "" // nobody invents users, and one may have several clients
		}
	case sender != "":
		who = detector.Who{Scope: Sender, Name: sender}
	}
	to, counted, what := Suspended, who, "message"
	if isAnswer(ev) {
		to, what = Alerted, "automatic message"
		counted.Scope += " answering"
	}
	if n := w.found.add(of, counted, now.Unix(), v); n >= v.N {
		w.plainly(now, who, ev.Client, to, RuleSpam, fmt.Sprintf("scanners found spam or a virus in %s in %s", text.Count(n, what, what+"s"), text.FormatDuration(v.Window)))
	}
}

// isAnswer reports whether a message answers or reports on another one, as its reverse-path
// or its header says.
func isAnswer(ev *mail.Event) bool {
	switch ev.Automatic {
	case "reply", "receipt", "report":
		return true
	}
	return mail.IdentityOf(ev.From) == mail.NullSender
}

// plainly takes a step that no score leads to.
func (w *Watch) plainly(now time.Time, k detector.Who, client string, to Level, rule, reason string) {
	mode := w.rules.mode(k, client)
	if mode == Exempt {
		return
	}
	if s := w.current(k, now); s != nil && s.Stands(now) && s.Level >= to {
		w.prolong(s, to, now)
		return
	}
	w.hold(now, k, client, State{Level: to, Rule: rule, Reason: reason, Shadow: mode == Shadow})
}
