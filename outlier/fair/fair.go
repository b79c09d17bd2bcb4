// Package fair keeps what is known of many, who belong to clients, in bounded room.
//
// Whoever can invent names, such as the mailboxes behind an MTA, would push out what is
// known of everybody else's if those who were idle longest simply went first. So each
// client has an equal part of the room. While there is room, it may use more; once there
// is none, a client with more than its part makes room with its own, and one with less
// with those of the client that has most. Which of a client's goes is up to the caller,
// who compares two.
package fair

import "iter"

// sample is of how many, at most, the least worth keeping goes.
const sample = 32

// Map keeps values by client and key. It is not safe for concurrent use.
type Map[K comparable, V any] struct {
	max, n  int
	clients map[string]map[K]V
	worse   func(a, b V) bool
	out     func(client string, key K, v V)
}

// New makes a map for at most max values, at least one. worse reports whether a is less
// worth keeping than b; out is told of each value that had to go, nil: nobody is.
func New[K comparable, V any](most int, worse func(a, b V) bool, out func(client string, key K, v V)) *Map[K, V] {
	return &Map[K, V]{max: max(1, most), clients: map[string]map[K]V{}, worse: worse, out: out}
}

// Len is how many there are.
func (m *Map[K, V]) Len() int { return m.n }

// Get finds a value.
func (m *Map[K, V]) Get(client string, key K) (V, bool) {
	v, ok := m.clients[client][key]
	return v, ok
}

// Put keeps a value, in the place of another where there is no room.
func (m *Map[K, V]) Put(client string, key K, v V) {
	own := m.clients[client]
	if own == nil {
		own = map[K]V{}
		m.clients[client] = own
	}
	if _, known := own[key]; !known {
		if m.n >= m.max {
			m.makeRoom(client)
		}
		m.n++
	}
	own[key] = v
}

// makeRoom takes one out for a client.
func (m *Map[K, V]) makeRoom(client string) {
	if len(m.clients[client]) < max(1, m.max/len(m.clients)) {
		client = m.largest()
	}
	var worst K
	var least V
	n := 0
	for k, v := range m.clients[client] {
		if n == 0 || m.worse(v, least) {
			worst, least = k, v
		}
		if n++; n == sample {
			break
		}
	}
	delete(m.clients[client], worst)
	m.n--
	if m.out != nil {
		m.out(client, worst, least)
	}
}

// largest is the client with the most values.
func (m *Map[K, V]) largest() (client string) {
	most := -1
	for c, own := range m.clients {
		if len(own) > most {
			client, most = c, len(own)
		}
	}
	return client
}

// Keep leaves only those that keep wants, and clients that have any.
func (m *Map[K, V]) Keep(keep func(V) bool) {
	for c, own := range m.clients {
		for k, v := range own {
			if !keep(v) {
				delete(own, k)
				m.n--
			}
		}
		if len(own) == 0 {
			delete(m.clients, c)
		}
	}
}

// Place names a value.
type Place[K comparable] struct {
	Client string
	Key    K
}

// All yields all values. What is put or goes meanwhile may be yielded or not.
func (m *Map[K, V]) All() iter.Seq2[Place[K], V] {
	return func(yield func(Place[K], V) bool) {
		for c, own := range m.clients {
			for k, v := range own {
				if !yield(Place[K]{c, k}, v) {
					return
				}
			}
		}
	}
}
