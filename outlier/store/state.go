package store

import (
	"fmt"
	"time"

	"postern/outlier/detector"
)

// Level is a step of the thresholds.
type Level uint8

// Levels, the softest first.
const (
	Normal Level = iota
	Observed
	Braked // writes to a few strangers an hour
	Alerted
	Throttled // goes on at its own usual pace
	Suspended
)

var levelNames = [...]string{"normal", "observe", "brake", "alert", "throttle", "suspend"}

func (l Level) String() string { return levelNames[l] }

// MarshalText writes the name of the action.
func (l Level) MarshalText() ([]byte, error) { return []byte(levelNames[l]), nil }

// UnmarshalText reads what MarshalText writes.
func (l *Level) UnmarshalText(text []byte) error {
	for i, n := range levelNames {
		if n == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("level %q is unknown", text)
}

// State is where a sender, user or client stands on the thresholds.
type State struct {
	Scope  string    `json:"scope"`
	Name   string    `json:"name"`
	Client string    `json:"client,omitempty"` // that it was last seen with
	Level  Level     `json:"level"`
	Rule   string    `json:"rule,omitempty"`
	Score  float64   `json:"score,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`            // when it was decided; an end by itself does not change it
	Until  time.Time `json:"until,omitzero"`   // zero: until an operator releases it
	By     string    `json:"by,omitempty"`     // Who did it by hand; "" for the watch itself
	Shadow bool      `json:"shadow,omitempty"` // defers nothing
	// Restricted is when it was last throttled or suspended, and Suspensions how often
	// it was suspended without a longer pause than [outlier.expiry] repeat.
	Restricted  time.Time `json:"held,omitzero"`
	Suspensions int       `json:"suspensions,omitempty"`
	// Alarms are the last few, oldest first.
	Alarms []Alarm `json:"alarms,omitempty"`

	// Pending are recipients let through since it was throttled, in messages whose
	// end is not known.
	Pending int `json:"-"`
}

// Alarm is one step up the thresholds.
type Alarm struct {
	Time   time.Time `json:"time"`
	Level  Level     `json:"level"`
	Rule   string    `json:"rule"`
	Score  float64   `json:"score,omitempty"`
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"`
}

// maxAlarms is how many a state remembers.
const maxAlarms = 6

// Who says whose state it is.
func (s *State) Who() detector.Who { return detector.Who{Scope: s.Scope, Name: s.Name} }

// Remember adds the present level to the alarms.
func (s *State) Remember() {
	a := Alarm{s.Since, s.Level, s.Rule, s.Score, s.Reason, s.By}
	first := max(0, len(s.Alarms)+1-maxAlarms)
	s.Alarms = append(append(make([]Alarm, 0, maxAlarms), s.Alarms[first:]...), a)
}

// Stands reports whether the state has not expired.
func (s *State) Stands(now time.Time) bool {
	return s.Level > Normal && (s.Until.IsZero() || now.Before(s.Until))
}

// After is now, or where the clock of another node is ahead, just after what
// the state says: of two states the later one holds.
func (s *State) After(now time.Time) time.Time {
	if !now.After(s.Since) {
		return s.Since.Add(time.Millisecond)
	}
	return now
}

// Harder reports whether s stops more mail than o, or for longer.
func (s *State) Harder(o *State, now time.Time) bool {
	switch {
	case !s.Stands(now) || !o.Stands(now):
		return s.Stands(now) || !o.Stands(now) && s.Since.After(o.Since)
	case s.Level != o.Level:
		return s.Level > o.Level
	case s.Until.IsZero() || o.Until.IsZero():
		return !o.Until.IsZero()
	}
	return s.Until.After(o.Until)
}

// Over reports whether s holds against old.
func (s *State) Over(old *State) bool {
	if !s.Since.Equal(old.Since) {
		return s.Since.After(old.Since)
	}
	return s.Level > old.Level
}
