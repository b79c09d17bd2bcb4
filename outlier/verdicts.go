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

// found are the times of the verdicts on the mail of each, in seconds since 1970,
// the oldest first.
type found map[detector.Who][]int64

// add counts a verdict and gives how many lie within the window.
func (f found) add(who detector.Who, at int64, v Verdicts) int {
	first := at - int64(v.Window/time.Second)
	times := slices.DeleteFunc(f[who], func(t int64) bool { return t <= first })
	if _, known := f[who]; !known && len(f) >= maxFound {
		f.sweep(first)
	}
	times = append(times, at)
	f[who] = times[max(0, len(times)-v.N):]
	return len(times)
}

// sweep forgets those without a verdict of late, or somebody where there are none.
func (f found) sweep(first int64) {
	for who, times := range f {
		if times[len(times)-1] <= first {
			delete(f, who)
		}
	}
	for who := range f {
		if len(f) < maxFound {
			return
		}
		delete(f, who)
	}
}

// verdict counts a message in which a scanner found harm for who has submitted it:
// the submitter or user, else the sender, else the client.
func (w *Watch) verdict(now time.Time, ev *mail.Event, sender string) {
	v := w.rules.verdicts(ev.Client)
	if v.N == 0 || !ev.Harmful() {
		return
	}
	who := detector.Who{Scope: Client, Name: ev.Client}
	switch party := ev.Party(); {
	case party != "":
		who = detector.PartyWho(party)
	case sender != "":
		who = detector.Who{Scope: Sender, Name: sender}
	}
	if n := w.found.add(who, now.Unix(), v); n >= v.N {
		w.plainly(now, who, ev.Client, Suspended, RuleSpam, fmt.Sprintf("scanners found spam or a virus in %d messages in %s", n, text.FormatDuration(v.Window)))
	}
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
