package scan

import (
	"time"

	"postern/mail"
)

// Class is what a scanner says of a message.
type Class string

// The classes.
const (
	Clean       Class = "clean"
	Spam        Class = "spam"
	Virus       Class = "virus"
	Policy      Class = "policy"      // refused by a rule of the scanner: DLP, a milter
	Suspicious  Class = "suspicious"  // would be marked, not refused
	Encrypted   Class = "encrypted"   // holds what it cannot look into
	Macros      Class = "macros"      // holds a document with macros
	Unscannable Class = "unscannable" // it says that it did not look at all of it
	Later       Class = "later"       // the scanner itself asks to come again
	TooLarge    Class = "too_large"   // over max_size: it was not asked
	Fault       Class = "fault"       // no verdict
	Cut         Class = "cut"         // not waited for: another one refused, or it is only watched
)

// Field is a header field that a milter adds.
type Field struct{ Name, Value string }

// Response is the result of asking one scanner.
type Response struct {
	Scanner string
	Class   Class
	Text    string // the scanner's own words, clean; "" when it gave none
	// Code and Status are those of a milter's own reply; 0 and "" otherwise.
	Code    int
	Status  string
	Score   float64
	Symbols []string
	Fields  []Field // to be added, of an enforcing milter
	Took    time.Duration
	Err     error // of a Fault; never for the client

	Choice Choice // what is to happen to the message
	Shadow bool   // only watched: Choice is Pass whatever it says
	Cached bool   // it was asked before
	// Hopeless: the third fault on the same content while the scanner found its
	// canaries; Choice is then Refuse.
	Hopeless bool
	// Unscanned: the message goes on without this scanner's verdict.
	Unscanned bool
}

// Result says what is to happen to a message.
type Result struct {
	// Decided is the verdict that ends the message, nil when it goes on.
	Decided *Response
	// Verdicts of all scanners that it needs, in the order of their names. Those
	// of shadow scanners are complete only after Finish.
	Verdicts []Response
	// Fields to add to the header.
	Fields []Field

	shadows *shadows
}

// Event is what log and journal keep of v.
func (v *Response) Event() mail.ScanEvent {
	e := mail.ScanEvent{
		Scanner: v.Scanner, Verdict: string(v.Class), Text: v.Text, Score: v.Score, Symbols: v.Symbols, Took: v.Took,
		Shadow: v.Shadow, Cached: v.Cached, Unscanned: v.Unscanned,
	}
	if v.Err != nil {
		e.Err = v.Err.Error()
	}
	return e
}

// choose fills in what the settings make of a class.
func (c *Config) choose(v *Response) {
	switch v.Class {
	case Clean, Cut:
		v.Choice = Pass
	case Spam, Virus, Policy:
		v.Choice = Refuse
	case Suspicious:
		v.Choice = c.Suspicious
	case Encrypted:
		v.Choice = c.Encrypted
	case Macros:
		v.Choice = c.Macros
	case Unscannable:
		v.Choice = c.Unscannable
		v.Unscanned = c.Unscannable == Pass
	case Later:
		v.Choice = Defer
	case TooLarge:
		v.Choice = c.TooLarge
		v.Unscanned = c.TooLarge == Pass
	default:
		v.Class = Fault
		v.Choice = c.OnFailure
		v.Unscanned = c.OnFailure == Pass
	}
	v.Shadow = c.Mode == Shadow
	if v.Shadow {
		v.Choice, v.Unscanned, v.Fields = Pass, false, nil
	}
}
