// Package networks remembers from which networks each user of a client sends, and says
// when mail comes from one that is new.
//
// Whoever uses a stolen password connects from somewhere else. That is evidence of
// another kind than volume: it does not wait until much has been sent. A network is a
// /24 of IPv4 or a /48 of IPv6. One that the user has never used is a sign for a day,
// and a weaker one where colleagues at the same client have used it on an earlier day.
// An EHLO name that is new is a sign of the same kind, and weaker still. Three
// networks within a day that are new and nobody else's are an alarm by themselves: a
// password that is sold is used from many places.
//
// A user's first days say nothing, since everything is new then. The package knows no
// clock and holds no lock. Its memory is bounded: beyond it those who were idle longest,
// as far as a sample of them shows, are forgotten, and then begin anew without a sign.
package networks

import (
	"net/netip"
	"strings"

	"postern/mail"
)

const (
	// perUser is how many networks of a user are kept, perNames how many EHLO names.
	perUser, perNames = 8, 4
	// newFor is how long a network is new, in seconds.
	newFor = 24 * 3600
	// settle is how long nothing is said of a user who was never seen before.
	settle = 3 * 24 * 3600
	// forget is after how long an unused network is new again.
	forget = 180 * 24 * 3600
	// Alarming is how many networks within a day are an alarm, if they are new and
	// nobody else's.
	Alarming = 3
	// of full evidence, what a network of colleagues and a new EHLO name are worth.
	ofColleagues, ofName = 0.25, 0.2
)

// Sign is what one message says of where its user is.
type Sign struct {
	Network netip.Prefix
	// New: the user has begun to use this network within a day, or another one has just
	// been forgotten. Colleagues: others used it on an earlier day.
	New, Colleagues bool
	// NewName: its EHLO name is new.
	NewName bool
	// Within is how many networks that are new and nobody else's the user has used
	// within a day.
	Within int
	// Evidence is from 0, nothing, to 1; a little more with a new EHLO name.
	Evidence float32
}

// Memory is what is known of all users.
type Memory struct {
	max    int
	Users  map[string]*user // by client and user
	Places map[place]others // who else uses a network of a client
}

// place is a network of a client.
type place struct {
	Client  string
	Network netip.Prefix
}

// others are the first two users of a place, as hashes of their names, and when each
// was first seen there.
type others [2]struct {
	User  uint32
	First uint32
}

// user is what is known of one.
type user struct {
	First, Last uint32 // in seconds since 1970
	Networks    [perUser]use
	Names       [perNames]use
}

// use is a network or name and when it was first and last used; zero is none.
type use struct {
	What        uint32
	First, Last uint32
	Alone       bool // nobody else had used the network when it was first used
}

// New makes a memory of at most max users and four times as many places.
func New(max int) *Memory {
	return &Memory{max: max, Users: map[string]*user{}, Places: map[place]others{}}
}

// Of is the network of an address; invalid for none.
func Of(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() {
		return netip.Prefix{}
	}
	p, _ := a.Prefix(bits)
	return p
}

// Origin says of an event whose mail it is and from where, with the EHLO name that the
// user's own program said: of a submitter as the MTA tells it, which tells no such name.
// from is invalid where that is not known, party "" where nobody is told, or where the
// mail was nobody's.
func Origin(ev *mail.Event) (party string, from netip.Addr, ehlo string) {
	if ev.Rule == "client" {
		return "", netip.Addr{}, ""
	}
	told, ehlo := ev.ClientIP, ev.Helo
	if ev.Submitter != "" {
		told, ehlo = ev.SubmitterIP, "" // the EHLO name is the MTA's
	}
	from, err := netip.ParseAddr(told)
	if err != nil {
		from = netip.Addr{}
	}
	return ev.Party(), from, ehlo
}

// Seen notes a message of a user of a client from an address, with the EHLO name that
// the user's own program said, "" where it is not known; at is in seconds since 1970.
func (m *Memory) Seen(client, name string, from netip.Addr, ehlo string, at int64) (s Sign) {
	s.Network = Of(from)
	if !s.Network.IsValid() || at <= 0 || at > 1<<32-1 {
		return Sign{}
	}
	now := uint32(at)
	u := m.user(client+" "+name, now)
	young := now-min(now, u.First) < settle
	s.Colleagues = m.share(place{client, s.Network}, hash(name), now)
	first, isNew := note(u.Networks[:], hash(s.Network.String()), now)
	if isNew {
		first.Alone = !s.Colleagues && !young
	}
	if ehlo != "" {
		_, s.NewName = note(u.Names[:], hash(agent(ehlo)), now)
		s.NewName = s.NewName && !young
	}
	s.New = !young && now-min(now, first.First) < newFor
	s.Within = u.within(now)
	u.Last = max(u.Last, now)
	s.Evidence = s.worth()
	return s
}

// worth is the evidence of a sign.
func (s *Sign) worth() (e float32) {
	switch {
	case s.New && s.Colleagues:
		e = ofColleagues
	case s.New:
		e = 1
	}
	if s.NewName {
		e += ofName
	}
	return e
}

// agent is an EHLO name without what changes with the network.
func agent(ehlo string) string {
	if strings.HasPrefix(ehlo, "[") {
		return "[]"
	}
	return strings.ToLower(ehlo)
}

// note finds what in list, or puts it in the place of what was used longest ago.
func note(list []use, what, now uint32) (u *use, isNew bool) {
	oldest := &list[0]
	for i := range list {
		u := &list[i]
		if u.Last > 0 && u.What == what {
			isNew = now-min(now, u.Last) > forget
			if isNew {
				u.First = now
			}
			u.Last = max(u.Last, now)
			return u, isNew
		}
		if u.Last < oldest.Last {
			oldest = u
		}
	}
	*oldest = use{What: what, First: now, Last: now}
	return oldest, true
}

// within counts the networks of the last day that are new and nobody else's.
func (u *user) within(now uint32) (n int) {
	for i := range u.Networks {
		if w := &u.Networks[i]; w.Last > 0 && w.Alone && now-min(now, w.First) < newFor {
			n++
		}
	}
	return n
}

// share notes a user of a place, and reports whether another one has used it on an
// earlier day: of today's he may be the same thief.
func (m *Memory) share(p place, who, now uint32) (earlier bool) {
	o, known := m.Places[p]
	if !known && len(m.Places) >= 4*m.max {
		drop(m.Places)
	}
	there := false
	for i := range o {
		switch {
		case o[i].User == who:
			there = true
		case o[i].User != 0 && now-min(now, o[i].First) >= newFor:
			earlier = true
		}
	}
	for i := range o {
		if !there && o[i].User == 0 {
			o[i].User, o[i].First = who, now
			there = true
		}
	}
	m.Places[p] = o
	return earlier
}

// drop forgets some entry.
func drop[K comparable, V any](m map[K]V) {
	for k := range m {
		delete(m, k)
		return
	}
}

// sample is how many users are looked at for one to forget.
const sample = 16

func (m *Memory) user(key string, now uint32) *user {
	if u := m.Users[key]; u != nil {
		return u
	}
	if len(m.Users) >= m.max {
		oldest, at, n := "", uint32(1<<32-1), 0
		for k, u := range m.Users {
			if u.Last < at {
				oldest, at = k, u.Last
			}
			if n++; n == sample {
				break
			}
		}
		delete(m.Users, oldest)
	}
	u := &user{First: now, Last: now}
	m.Users[key] = u
	return u
}

// hash is FNV-1a: it is kept on disk. Who finds two networks of the same hash has
// found one that is not new for a user of whom he knows the networks.
func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return max(h, 1)
}
