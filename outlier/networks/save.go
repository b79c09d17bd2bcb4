package networks

import (
	"bytes"
	"encoding/gob"
	"fmt"
)

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
