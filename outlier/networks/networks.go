// Package networks remembers from which networks each user of a client sends, and says
// when mail comes from one that is new.
//
// Whoever uses a stolen password connects from somewhere else. That is evidence of
// another kind than volume: it does not wait until much has been sent. Mail from a network
// that the user has long used is a sign of the opposite, and a weak one. A network is a
// /24 of IPv4 or a /48 of IPv6, and where a table of autonomous systems (AS) is given,
// all of an AS is one. One that the user has never used is a sign for a day,
// and a weaker one where colleagues at the same client have used it on an earlier day.
// An EHLO name that is new is a sign of the same kind, and weaker still. Three
// networks within a day that are new and nobody else's are an alarm by themselves: a
// password that is sold is used from many places.
//
// A user's first days say nothing, since everything is new then. The package knows no
// clock and holds no lock. Its memory is bounded, and each client has a part of it:
// beyond that, those of whom only a few days are known go first, and then those who were
// idle longest. Whoever is forgotten begins anew without a sign.
package networks

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"

	"postern/mail"
	"postern/outlier/astable"
	"postern/outlier/fair"
)

const (
	// perUser is how many networks of a user are kept, perNames how many EHLO names.
	perUser, perNames = 8, 4
	// newFor is how long a network is new, in seconds.
	newFor = 24 * 3600
	// familiarFrom is how long a network is in use, in seconds, until it is familiar.
	familiarFrom = 14 * 24 * 3600
	// dayLong is how often at most, in seconds, a user without anything new is told of.
	dayLong = 24 * 3600
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
	AS      uint32 // that the network belongs to; 0 where none is known
	// New: the user has begun to use this network within a day, or another one has just
	// been forgotten. Colleagues: others used it on an earlier day.
	New, Colleagues bool
	// Familiar: the user has used this network for two weeks or longer.
	Familiar bool
	// NewName: its EHLO name is new.
	NewName bool
	// Within is how many networks that are new and nobody else's the user has used
	// within a day.
	Within int
	// Listed is the blocklist that lists the address, "" for none. It is not part of
	// Evidence.
	Listed string
	// Evidence is from 0, nothing, to 1; a little more with a new EHLO name.
	Evidence float32
}

// Memory is what is known of all users.
type Memory struct {
	seed   maphash.Seed
	users  *fair.Map[uint64, *user]  // by a keyed hash of the name, which nobody can aim at
	places *fair.Map[uint32, *place] // who else uses a network of a client
	news   news
	table  *astable.Table
}

// place is a network of a client: its first two users, as hashes of their names, when
// each was first seen there, and when anybody was last.
type place struct {
	Users [2]uint32
	First [2]uint32
	Last  uint32
}

// use is a network or name and when it was first and last used; zero is none.
type use struct {
	What        uint32
	AS          uint32 // of a network, 0 where none is known
	First, Last uint32
	Alone       bool // nobody else had used the network when it was first used
	told        bool // of a user's first one: this node has told others of the user
}

// New makes a memory of at most max users and four times as many places.
func New(most int) *Memory {
	m := &Memory{seed: maphash.MakeSeed()}
	m.users = fair.New[uint64](most, worseUser, func(client string, _ uint64, u *user) { m.news.gone(client, u) })
	m.places = fair.New[uint32](4*most, worsePlace, nil)
	return m
}

// UseTable has networks compared by their AS where a table knows it; nil: never.
func (m *Memory) UseTable(t *astable.Table) { m.table = t }

// worseUser puts those first of whom less is known than settle: whoever invents names
// pushes out invented ones.
func worseUser(a, b *user) bool {
	if young := a.isYoung(); young != b.isYoung() {
		return young
	}
	return a.last() < b.last()
}

// worsePlace puts those first that one user alone has used.
func worsePlace(a, b *place) bool {
	if alone := a.Users[1] == 0; alone != (b.Users[1] == 0) {
		return alone
	}
	return a.Last < b.Last
}

// networkOf is the network of an address; invalid for none.
func networkOf(a netip.Addr) netip.Prefix {
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

// Origin says of an event from where the mail of its mail.Party is, with the EHLO name that
// the user's own program said: of a submitter as the MTA tells it, which tells no such name.
// from is invalid where that is not known, or where the mail was nobody's.
func Origin(ev *mail.Event) (from netip.Addr, ehlo string) {
	if ev.Foreign() {
		return netip.Addr{}, ""
	}
	told, ehlo := ev.ClientIP, ev.Helo
	if ev.Submitter != "" {
		told, ehlo = ev.SubmitterIP, "" // the EHLO name is the MTA's
	}
	from, err := netip.ParseAddr(told)
	if err != nil {
		from = netip.Addr{}
	}
	return from, ehlo
}

// Seen notes a message of a user of a client from an address, with the EHLO name that
// the user's own program said, "" where it is not known; at is in seconds since 1970.
func (m *Memory) Seen(client, name string, from netip.Addr, ehlo string, at int64) (s Sign) {
	s.Network = networkOf(from)
	if !s.Network.IsValid() || at <= 0 || at > 1<<32-1 {
		return Sign{}
	}
	now := uint32(at)
	u, isNew := m.user(client, name, now)
	told := isNew || u.last()/dayLong != now/dayLong
	young := now-min(now, u.First) < settle
	s.AS = m.table.Of(s.Network.Addr())
	var room [64]byte
	w := use{What: hash(s.Network.AppendTo(room[:0])), AS: s.AS, First: now, Last: now}
	used := find(u.networks(), &w)
	if used == nil || used.AS != w.AS || !used.settled(now, young) {
		s.Colleagues = m.share(client, &w, hash(name), now)
	}
	if isNew = used == nil || used.again(&w); used == nil {
		used = u.addNetwork(&w)
	}
	if isNew {
		used.Alone = !s.Colleagues && !young
	}
	told = told || isNew
	if ehlo != "" {
		isNew = u.noteName(&use{What: hash(agent(ehlo)), First: now, Last: now})
		s.NewName = isNew && !young
		told = told || isNew
	}
	s.New = !young && now-min(now, used.First) < newFor
	s.Familiar = now-min(now, used.First) >= familiarFrom
	s.Within = u.within(now)
	s.Weigh()
	if told {
		m.news.add(client, name)
	}
	return s
}

// Near has what Seen needs of a user be fetched from memory, of which it gives a part.
func (m *Memory) Near(client, name string) uint16 {
	if u := m.known(client, name); u != nil {
		return uint16(u.first[0].Last)
	}
	return 0
}

// settled reports whether a network that is used now is none that is new, and was noted
// today among those of the client: whether colleagues use it is not asked then.
func (w *use) settled(now uint32, young bool) bool {
	return w.Last/dayLong == now/dayLong && (young || now-min(now, w.First) >= newFor)
}

// Weigh sets the evidence by the rest of the sign.
func (s *Sign) Weigh() {
	s.Evidence = 0
	switch {
	case s.New && s.Colleagues:
		s.Evidence = ofColleagues
	case s.New:
		s.Evidence = 1
	}
	if s.NewName {
		s.Evidence += ofName
	}
}

// agent is an EHLO name without what changes with the network.
func agent(ehlo string) string {
	if strings.HasPrefix(ehlo, "[") {
		return "[]"
	}
	return strings.ToLower(ehlo)
}

// same reports whether two uses are of one network, or of one AS.
func (w *use) same(o *use) bool {
	return w.Last > 0 && (w.What == o.What || w.AS != 0 && w.AS == o.AS)
}

// within counts the networks of the last day that are new and nobody else's.
func (u *user) within(now uint32) (n int) {
	for _, part := range u.networks() {
		for i := range part {
			if w := &part[i]; w.Last > 0 && w.Alone && now-min(now, w.First) < newFor {
				n++
			}
		}
	}
	return n
}

// share notes a user of a network, and reports whether another one has used it on an
// earlier day: of today's he may be the same thief.
func (m *Memory) share(client string, w *use, who, now uint32) (earlier bool) {
	p := m.place(client, w, now)
	earlier = p.before(who, now)
	p.join(who, now)
	if w.AS != 0 && !earlier { // from before there was a table
		if p, known := m.places.Get(client, w.What); known {
			earlier = p.before(who, now)
		}
	}
	return earlier
}

// before reports whether anybody else was there on an earlier day.
func (p *place) before(who, now uint32) bool {
	for i := range p.Users {
		if p.Users[i] != 0 && p.Users[i] != who && now-min(now, p.First[i]) >= newFor {
			return true
		}
	}
	return false
}

// place finds or makes a network that was used at that time.
func (m *Memory) place(client string, w *use, at uint32) *place {
	what := w.What
	if w.AS != 0 {
		what = hash("AS" + strconv.FormatUint(uint64(w.AS), 10))
	}
	p, known := m.places.Get(client, what)
	if !known {
		p = &place{}
		m.places.Put(client, what, p)
	}
	p.Last = max(p.Last, at)
	return p
}

// join notes that somebody was there first at that time, as far as there is room.
func (p *place) join(who, first uint32) {
	for i := range p.Users {
		switch p.Users[i] {
		case who:
			p.First[i] = min(p.First[i], first)
			return
		case 0:
			p.Users[i], p.First[i] = who, first
			return
		}
	}
}

// user finds or makes what is known of one.
func (m *Memory) user(client, name string, now uint32) (u *user, isNew bool) {
	if u = m.known(client, name); u != nil {
		return u, false
	}
	u = &user{name: name, First: now}
	m.put(client, u)
	return u, true
}

// known gives what is known of a user; nil: nothing.
func (m *Memory) known(client, name string) *user {
	u, _ := m.users.Get(client, maphash.String(m.seed, name))
	return u
}

func (m *Memory) put(client string, u *user) { m.users.Put(client, maphash.String(m.seed, u.name), u) }

// hash is FNV-1a: it is kept on disk. Who finds two networks of the same hash has
// found one that is not new for a user of whom he knows the networks.
func hash[T string | []byte](s T) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return max(h, 1)
}
