package networks

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"strings"
)

// step is how many entries Copy takes at a time.
const step = 1000

// Copy is a memory as it goes to a file.
type Copy struct {
	Users  map[string]*saved // by client and name, as key has them
	Shared map[spot]place
}

// saved is a user as it stands in a file.
type saved struct {
	First, Last uint32
	Networks    [perUser]use
	Names       [perNames]use
}

func (u *user) save() *saved {
	s := &saved{First: u.First, Last: u.last()}
	u.networks().copy(s.Networks[:])
	u.names().copy(s.Names[:])
	return s
}

func (s *saved) load(name string) *user {
	u := &user{name: name, First: s.First}
	for i := range s.Networks {
		if s.Networks[i].Last > 0 {
			u.addNetwork(&s.Networks[i])
		}
	}
	for i := range s.Names {
		if s.Names[i].Last > 0 {
			u.addName(&s.Names[i])
		}
	}
	return u
}

func (l uses) copy(to []use) {
	n := copy(to, l[0])
	copy(to[n:], l[1])
}

// spot is a network of a client.
type spot struct {
	Client string
	What   uint32
}

// key names a user; no client has a space in its name.
func key(client, name string) string { return client + " " + name }

// Copy takes a copy. It calls pause after each thousand entries, in which others may
// use m; what they change meanwhile may be in the copy or not.
func (m *Memory) Copy(pause func()) *Copy {
	c, n := &Copy{Users: make(map[string]*saved, m.users.Len()), Shared: make(map[spot]place, m.places.Len())}, 0
	next := func() {
		if n++; n%step == 0 {
			pause()
		}
	}
	for at, u := range m.users.All() {
		c.Users[key(at.Client, u.name)] = u.save()
		next()
	}
	for at, p := range m.places.All() {
		c.Shared[spot{at.Client, at.Key}] = *p
		next()
	}
	return c
}

// Encode is the copy as it stands in a file.
func (c *Copy) Encode() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(c)
	return b.Bytes(), err
}

// Decode takes what Encode has written, as far as there is room. On an error m is as
// it was.
func (m *Memory) Decode(b []byte) error {
	var c Copy
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&c); err != nil {
		return fmt.Errorf("read networks: %w", err)
	}
	for k, s := range c.Users {
		if client, name, ok := strings.Cut(k, " "); ok && s != nil {
			m.put(client, s.load(name))
		}
	}
	for at, p := range c.Shared {
		m.places.Put(at.Client, at.What, &p)
	}
	return nil
}
