package outlier

import "postern/outlier/store"

// State is where a sender, user or client stands on the thresholds.
type State = store.State

// Alarm is one step up the thresholds.
type Alarm = store.Alarm

// Level is a step of the thresholds.
type Level = store.Level

// Levels, the softest first.
const (
	Normal    = store.Normal
	Observed  = store.Observed
	Braked    = store.Braked
	Alerted   = store.Alerted
	Throttled = store.Throttled
	Suspended = store.Suspended
)

// Shared is the Redis through which nodes are one.
type Shared = store.Shared
