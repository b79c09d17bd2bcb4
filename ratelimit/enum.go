package ratelimit

import (
	"fmt"
	"strings"

	"postern/internal/text"
)

// Absent says how mail is counted that lacks what the limit counts on.
type Absent uint8

// AbsentClient, the zero value, counts it on its client; AbsentSkip does not count it.
const (
	AbsentClient Absent = iota
	AbsentSkip
)

var absentNames = []string{"client", "skip"}

// Mode says whether a limit refuses.
type Mode uint8

// StrangersOf says to whom a recipient is a stranger.
type StrangersOf string

// Values of StrangersOf; "" is OfClient.
const (
	OfClient StrangersOf = "client"
	OfSender StrangersOf = "sender"
)

// UnmarshalText reads "client" or "sender".
func (o *StrangersOf) UnmarshalText(b []byte) error { return text.OneOf(o, b, OfClient, OfSender) }

// Only narrows what a limit counts; the zero value narrows nothing.
type Only struct {
	Strangers  StrangersOf // recipients that are strangers to those; "": all
	NewSenders bool        // mail of senders in their first two days
}

// Enforce, the zero value, refuses; Shadow only counts and reports.
const (
	Enforce Mode = iota
	Shadow
)

var modeNames = []string{"enforce", "shadow"}

// OnFailure says what holds for a limit while its store does not answer.
type OnFailure uint8

// FailLocal, the zero value, counts this node's share in process; FailDefer answers 451
// 4.3.2; FailAdmit lets the mail pass.
const (
	FailLocal OnFailure = iota
	FailDefer
	FailAdmit
)

var onFailureNames = []string{"local", "defer", "admit"}

// Unit is what a number counts.
type Unit uint8

// The units of a limit.
const (
	Messages Unit = iota
	Recipients
	Bytes
	DistinctRecipients
)

var unitNames = []string{"messages", "recipients", "bytes", "distinct_recipients"}

func parseName(text []byte, names []string) (int, error) {
	for i, name := range names {
		if string(text) == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is unknown; write one of %s", text, strings.Join(names, ", "))
}

// String is the name in the file.
func (a Absent) String() string { return absentNames[a] }

// MarshalText writes the name in the file.
func (a Absent) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the name in the file.
func (a *Absent) UnmarshalText(text []byte) error {
	i, err := parseName(text, absentNames)
	*a = Absent(i)
	return err
}

// String is the name in the file.
func (m Mode) String() string { return modeNames[m] }

// MarshalText writes the name in the file.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the name in the file.
func (m *Mode) UnmarshalText(text []byte) error {
	i, err := parseName(text, modeNames)
	*m = Mode(i)
	return err
}

// String is the name in the file.
func (f OnFailure) String() string { return onFailureNames[f] }

// MarshalText writes the name in the file.
func (f OnFailure) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the name in the file.
func (f *OnFailure) UnmarshalText(text []byte) error {
	i, err := parseName(text, onFailureNames)
	*f = OnFailure(i)
	return err
}

// String is the name in the file: "messages".
func (u Unit) String() string { return unitNames[u] }

// Words is the unit in a sentence: "distinct recipients".
func (u Unit) Words() string { return strings.ReplaceAll(unitNames[u], "_", " ") }

// MarshalText writes the name in the file.
func (u Unit) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the name in the file.
func (u *Unit) UnmarshalText(text []byte) error {
	i, err := parseName(text, unitNames)
	*u = Unit(i)
	return err
}
