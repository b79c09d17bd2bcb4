package outlier

import "time"

// Rules that lead to a state.
const (
	RuleVolume  = "volume"
	RuleNames   = "names"
	RuleRefused = "refused"
	RuleSpam    = "spam" // verdicts of scanners
	RuleManual  = "manual"
	RuleBrake   = "brake"
	RuleDecoy   = "decoy" // a message to an address that nobody writes to
	// RuleNetworks: too many networks that are new.
	RuleNetworks = "networks"
)

// Causes of a change.
const (
	CauseRule     = "rule"     // a rule of the watch
	CauseExpired  = "expired"  // its time was over
	CauseOperator = "operator" // by hand
	// CauseOtherNode: another node decided; it has told its own operator.
	CauseOtherNode = "other node"
)

// Change is a change of state with what led to it. State is the new one; where
// that is normal, its reason says what ended the old one.
type Change struct {
	State
	Time  time.Time `json:"time"`
	From  Level     `json:"from"`
	Cause string    `json:"cause"`
}
