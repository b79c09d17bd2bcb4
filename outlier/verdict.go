package outlier

import "time"

// Scopes of a state, the narrowest first.
const (
	Sender = "sender" // a reverse-path
	User   = "user"   // a SASL user
	Client = "client" // a configured client
)

// Level is a step of the ladder.
type Level uint8

// Levels, the softest first.
const (
	Normal Level = iota
	Observed
	Alerted
	Throttled // goes on at its own usual pace
	Suspended
)

var levelNames = [...]string{"normal", "observe", "alert", "throttle", "suspend"}

func (l Level) String() string { return levelNames[l] }

// Verdict says whether mail may go on at AUTH or MAIL. The zero value lets it.
type Verdict struct {
	Scope string    // sender, user or client
	Name  string    // which one
	Level Level     // Throttled or Suspended when the mail is to be deferred
	Until time.Time // when it is worth trying again; zero: when an operator releases it
}

// Refuse reports whether the mail is to be deferred with 450.
func (v Verdict) Refuse() bool { return v.Level >= Throttled }

// Left is how long from now the mail is refused, at least a second; 0 when only
// an operator ends it.
func (v Verdict) Left(now time.Time) time.Duration {
	if v.Until.IsZero() {
		return 0
	}
	return max(v.Until.Sub(now), time.Second)
}
