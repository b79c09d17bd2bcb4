package outlier

import (
	"fmt"
	"strconv"
	"strings"

	"postern/mail"
)

// FalseAlarms is how many false alarms a year an operator accepts, of all that send through
// the relay together: 1 to MaxFalseAlarms. Zero means that the configuration does not say.
type FalseAlarms int

// MaxFalseAlarms is the largest FalseAlarms that UnmarshalText reads.
const MaxFalseAlarms = 100_000

// UnmarshalText reads "N/year", N from 1 to MaxFalseAlarms; an empty text is zero.
func (f *FalseAlarms) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*f = 0
		return nil
	}
	n, unit, ok := strings.Cut(string(b), "/")
	count, err := strconv.Atoi(n)
	if !ok || unit != "year" || err != nil || count < 1 || count > MaxFalseAlarms || n[0] == '+' {
		return fmt.Errorf(`%q is not a number of alarms; write 1 to %d a year, such as "20/year"`, b, MaxFalseAlarms)
	}
	*f = FalseAlarms(count)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (f FalseAlarms) MarshalText() ([]byte, error) {
	if f == 0 {
		return nil, nil
	}
	return []byte(f.String()), nil
}

// String is the form that UnmarshalText reads, such as "20/year".
func (f FalseAlarms) String() string { return fmt.Sprintf("%d/year", int(f)) }

// SetSensitivity puts another sensitivity in force, until the next SetConfig.
func (w *Watch) SetSensitivity(times float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := *w.rules
	r.Sensitivity = times
	w.rules = &r
	w.detector.Set(r.settings())
}

// Confirmed names those whom an operator has suspended by hand of late, each a mail.Party
// or a sender: an alarm about them was not false.
func (w *Watch) Confirmed() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, s := range w.states {
		if !byHand(s) {
			continue
		}
		switch k.Scope {
		case Mailbox:
			names = append(names, mail.Party("", k.Name))
		case User, Sender:
			names = append(names, k.Name)
		case UserSender:
			user, sender := Names(k.Name)
			names = append(names, user, sender)
		}
	}
	return names
}

// byHand reports whether an operator has suspended who is in a state, now or among the
// alarms that are remembered.
func byHand(s *State) bool {
	for i := range s.Alarms {
		if s.Alarms[i].Rule == RuleManual {
			return true
		}
	}
	return s.Level == Suspended && s.Rule == RuleManual
}
