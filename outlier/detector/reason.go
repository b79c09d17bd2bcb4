package detector

import (
	"fmt"
	"strings"
)

var windowWords = [windows]string{hour: "in 1 h", day: "in 24 h", leaky: "in the last days"}

// Reason says what led to the score of f, with the numbers.
func (d *Detector) Reason(f *Finding) string {
	if f.Names {
		return f.nameWords()
	}
	return f.volumeWords()
}

// ReasonOfShare says what led to the answer of the plain rule.
func (d *Detector) ReasonOfShare(f *Finding) string {
	r := &d.settings.Refused
	n, bad := f.day, f.dayRefused
	return fmt.Sprintf("%.0f of %.0f recipients in 24 h refused, %s; alert from %.0f %%, suspend from %.0f %%",
		bad, n, percent(bad, n), 100*r.Alarming, 100*r.Excessive)
}

// volumeWords says, for example, "sent 212 recipients in 1 h, usual most 18; 96 % never seen
// before, 14 % refused".
func (f *Finding) volumeWords() string {
	switch f.by {
	case byNewcomer:
		return fmt.Sprintf("a new sender wrote to %.0f recipients never seen before in 1 h", f.sums[fresh][hour])
	case byLasting:
		w := f.lastingWindow
		return fmt.Sprintf("wrote to %.0f recipients never seen before %s, %.0f at most in the past", f.sums[fresh][w], windowWords[w], f.e.lasting[w])
	}
	win := f.evidence[sent].window
	if f.evidence[fresh].value > f.evidence[sent].value {
		win = f.evidence[fresh].window
	}
	if f.evidence[sent].value == 0 && f.evidence[fresh].value == 0 {
		win = f.evidence[refused].window
	}
	n := f.sums[sent][win]
	s := fmt.Sprintf("sent %.0f recipients %s, %s", n, windowWords[win], f.usualMost(sent, win))
	var parts []string
	for _, p := range [...]struct {
		kind int
		what string
	}{{fresh, "never seen before"}, {refused, "refused"}} {
		if x := f.sums[p.kind][win]; x >= 0.5 {
			parts = append(parts, percent(x, n)+" "+p.what)
		}
	}
	if len(parts) > 0 {
		s += "; " + strings.Join(parts, ", ")
	}
	if e := &f.evidence[refused]; f.scale == &aloneScale && e.value > 0 {
		s += fmt.Sprintf("; %.0f refused %s, %s, of the only sender of its client",
			f.sums[refused][e.window], windowWords[e.window], f.usualMost(refused, e.window))
	}
	return s
}

func (f *Finding) nameWords() string {
	if f.alarms {
		return f.alarmWords()
	}
	if f.evidence[fresh].value >= f.evidence[sent].value {
		win := f.evidence[fresh].window
		return fmt.Sprintf("used %.0f sender names never seen before %s, %s",
			f.sums[fresh][win], windowWords[win], f.usualMost(fresh, win))
	}
	win := f.evidence[sent].window
	return fmt.Sprintf("many senders beyond their usual at once: their scores rose by %.1f together %s, usually by %.1f at most; %.0f sender names in use",
		f.sums[sent][win], windowWords[win], f.e.record[sent][win], f.sums[refused][hour])
}

// alarmWords says, for example, "3 of its senders under alarm in 24 h, 2 of them never seen
// before".
func (f *Finding) alarmWords() string {
	n, unseen := f.sums[sent][day], f.sums[refused][day]
	if f.foreign {
		return "a sender that others used before this user is under alarm"
	}
	return fmt.Sprintf("%.0f of its senders under alarm in 24 h, %.0f of them never seen before", n, unseen)
}

func (f *Finding) usualMost(k, w int) string {
	r := f.e.record[k][w]
	if r < 0.5 {
		return "no record before"
	}
	return fmt.Sprintf("usual most %.0f", r)
}

func percent(part, whole float32) string {
	if whole <= 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.0f %%", 100*min(1, part/whole))
}
