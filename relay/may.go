package relay

import (
	"strings"

	"postern/mail"
)

// What a suspended sender may still do: write to those who can help it. Then the
// suspension, which is known at MAIL, is told at RCPT, where it does not hold for
// them.

// lifted reports whether a refusal of the watch is put off until recipients are known.
func (t *transaction) lifted(rule string) bool {
	may := t.srv.snapshot().SuspendedMay
	return may != nil && !may.Empty() && strings.HasPrefix(rule, "outlier ")
}

// mayReach reports whether a recipient may be written to whoever is suspended.
func (t *transaction) mayReach(to mail.Address) bool {
	may := t.srv.snapshot().SuspendedMay
	return may != nil && may.MatchRecipient(to)
}

// reachesOnlyThose reports whether all recipients so far are such.
func (t *transaction) reachesOnlyThose() bool {
	for i := range t.env.To {
		if !t.mayReach(t.env.To[i].Address) {
			return false
		}
	}
	return len(t.env.To) > 0
}
