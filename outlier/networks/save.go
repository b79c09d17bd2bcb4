package networks

import (
	"bytes"
	"encoding/gob"
	"fmt"
)

// step is how many entries Copy takes at a time.
const step = 1000

// Copy is a memory of the same. It calls pause after each thousand entries, in which
// others may use m; what they change meanwhile may be in the copy or not.
func (m *Memory) Copy(pause func()) *Memory {
	c, n := &Memory{max: m.max, Users: make(map[string]*user, len(m.Users)), Places: make(map[place]others, len(m.Places))}, 0
	next := func() {
		if n++; n%step == 0 {
			pause()
		}
	}
	for k, u := range m.Users {
		one := *u
		c.Users[k] = &one
		next()
	}
	for p, o := range m.Places {
		c.Places[p] = o
		next()
	}
	return c
}

// Encode is the memory as it stands in a file.
func (m *Memory) Encode() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(&saved{m.Users, m.Places})
	return b.Bytes(), err
}

type saved struct {
	Users  map[string]*user
	Places map[place]others
}

// Decode takes what Encode has written; what is over the bounds of m is left out. On
// an error m is as it was.
func (m *Memory) Decode(b []byte) error {
	var s saved
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&s); err != nil {
		return fmt.Errorf("read networks: %w", err)
	}
	for k, u := range s.Users {
		if u != nil && len(m.Users) < m.max {
			m.Users[k] = u
		}
	}
	for p, o := range s.Places {
		if p.Network.IsValid() && len(m.Places) < 4*m.max {
			m.Places[p] = o
		}
	}
	return nil
}
