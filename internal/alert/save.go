package alert

import (
	"encoding/json"
	"fmt"
)

// saved is the form of the state file.
type saved struct {
	Version    int                 `json:"version"`
	Conditions []*condition        `json:"conditions"`
	Channels   map[string]*channel `json:"channels"`
}

const version = 1

// Changed reports whether there is something to save since the last Save.
func (b *Board) Changed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dirty
}

// Save is what Load takes: the conditions that were told and the queues. Fail has the
// next Save know that the file was not written.
func (b *Board) Save() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty = false
	return json.Marshal(saved{version, b.told(), b.channels})
}

// Fail says that what Save returned could not be kept.
func (b *Board) Fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty = true
}

// Load takes over what an earlier board has saved: sources then say what still holds.
// It is called before SetChannels and anything else.
func (b *Board) Load(text []byte) error {
	var s saved
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s.Version != version {
		return fmt.Errorf("has version %d, not %d", s.Version, version)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range s.Conditions {
		if c == nil || c.Alert.Condition == "" || b.known[c.Alert.Condition] != nil || b.full(c.Alert.crowd()) {
			continue
		}
		b.known[c.Alert.Condition] = c
		b.crowd += rank(&c.Alert)
		b.order = max(b.order, c.Order)
	}
	for name, c := range s.Channels {
		if c == nil {
			continue
		}
		c.Queue = c.Queue[max(0, len(c.Queue)-MaxQueue):]
		c.dirty = true
		b.channels[name] = c
	}
	return nil
}
