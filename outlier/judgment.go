package outlier

import (
	"time"

	"postern/outlier/detector"
)

// Scopes of a state, the narrowest first: those of the detector. What the watch finds
// in the mail of a user is of scope UserSender, so that nobody is suspended for what
// another sends in his name; what an operator suspends is a Sender, whoever sends with
// it.
const (
	UserSender = detector.UserSender
	Sender     = detector.Sender
	User       = detector.User
	Mailbox    = detector.Mailbox
	Client     = detector.Client
)

// Names returns the user and the reverse-path that a name of scope UserSender stands for.
func Names(userSender string) (user, sender string) { return detector.SplitNames(userSender) }

// Judgment says whether mail may go on at AUTH or MAIL. The zero value lets it go on.
type Judgment struct {
	Scope string    // sender, user, submitter or client
	Name  string    // which one
	Level Level     // Throttled or Suspended when the mail is to be deferred
	Until time.Time // when it is worth trying again; zero: when an operator releases it

	// Unnamed: it holds for mail alone of which nobody knows who submitted it, see
	// OfUnnamed. A header that is still to come may tell.
	Unnamed bool

	left time.Duration
}

// Refuse reports whether the mail is to be deferred with 450.
func (v Judgment) Refuse() bool { return v.Level >= Throttled }

// Pace reports that the mail is refused only because it is beyond the usual
// pace of a throttled sender, user or client.
func (v Judgment) Pace() bool { return v.Level == Throttled }

// Left is how long the mail is refused from the time of the judgment on, at
// least a second; 0 when only an operator ends it.
func (v Judgment) Left(time.Time) time.Duration { return v.left }
