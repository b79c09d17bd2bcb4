package detector

import (
	"slices"

	"postern/mail"
	"postern/outlier/detector/sketch"
)

// entry is one place among the meters.
type entry struct {
	meter
	client uint16 // number of the client that it was first seen with
	scope  scope
	used   bool
	hash   uint64 // of scope and name, as which it is known; two of 200,000 have the same keyed 64 bits once in a billion
	name   string
}

// who says whose meter it is.
func (e *entry) who() Who {
	if of := e.scope.whose(); of != User {
		return Who{of, e.name}
	}
	return PartyWho(e.name)
}

// is reports whether the place still belongs to that hash; e may be nil.
func (e *entry) is(hash uint64) bool { return e != nil && e.used && e.hash == hash }

const slabSize = 1024

// meters holds a meter for each scope and name, in bounded memory. A place keeps
// its number until it is given to another.
type meters struct {
	seed  Seed
	max   int
	slabs [][]entry
	index map[uint64]uint32 // place by hash
	next  uint32            // first place that was never used
	empty []uint32          // places that were given up, some of which may be in use again
	hand  [8]*entry         // the latest that were asked for: a message at hand may need them
	asked int               // how many were ever asked for
	held  []int             // places by client
	draw  uint64            // state of the draw of places to give up
	// regular are the runs of those that have any, by the hash of their entry.
	regular map[uint64]*runs
	// users is how many users send with a sender, by the hash of its name.
	users map[uint64]uint32
}

func newMeters(s Seed, max int) *meters {
	return &meters{seed: s, max: max, index: map[uint64]uint32{}, regular: map[uint64]*runs{}, users: map[uint64]uint32{}}
}

func (r *meters) at(i uint32) *entry { return &r.slabs[i/slabSize][i%slabSize] }

func (r *meters) hash(sc scope, name string) uint64 { return sc.hash(r.seed.Hash(name)) }

// hashJoined is hash of the sender as a user uses it, without putting the names together.
func (r *meters) hashJoined(user, sender string) uint64 {
	var room [128]byte
	return ofUserSender.hash(sketch.HashOf(r.seed, AppendNames(room[:0], user, sender)))
}

// hash makes the hash of a scope and name from that of the name.
func (sc scope) hash(name uint64) uint64 { return name ^ uint64(sc+1)*0x9E3779B97F4A7C15 }

// find gives the entry of a name; nil when there is none.
func (r *meters) find(sc scope, name string) *entry { return r.search(r.hash(sc, name)) }

func (r *meters) search(hash uint64) *entry {
	if i, ok := r.index[hash]; ok {
		return r.at(i)
	}
	return nil
}

// get gives the entry of a name, and makes it when there is none; another may
// have to be forgotten for that.
func (r *meters) get(sc scope, name string, client uint16, now int64) (e *entry, isNew bool) {
	h := r.hash(sc, name)
	if e := r.search(h); e != nil {
		return r.handed(e), false
	}
	i := r.place(client, now)
	e = r.handed(r.at(i))
	*e = entry{meter: newMeter(now), name: name, hash: h, client: client, scope: sc, used: true}
	r.index[h] = i
	r.heldBy(client, 1)
	r.uses(e, 1)
	return e, true
}

// handed notes that an entry is at hand.
func (r *meters) handed(e *entry) *entry {
	r.hand[r.asked%len(r.hand)] = e
	r.asked++
	return e
}

func (r *meters) heldBy(client uint16, n int) {
	for int(client) >= len(r.held) {
		r.held = append(r.held, 0)
	}
	r.held[client] += n
}

// uses counts one user more, or less, of the sender that e is a part of.
func (r *meters) uses(e *entry, more int32) {
	if e.scope != ofUserSender {
		return
	}
	_, sender := SplitNames(e.name)
	h := r.seed.Hash(sender)
	if n := r.users[h] + uint32(more); n > 0 {
		r.users[h] = n
	} else {
		delete(r.users, h)
	}
}

// place finds a place that is free, or frees one.
func (r *meters) place(client uint16, now int64) uint32 {
	crowding := int(client) < len(r.held) && r.held[client] >= r.max/2
	for n := len(r.empty); n > 0 && !crowding; n-- {
		i := r.empty[n-1]
		if r.empty = r.empty[:n-1]; !r.at(i).used {
			return i
		}
	}
	if !crowding && int(r.next) < r.max {
		if int(r.next)%slabSize == 0 && int(r.next)/slabSize == len(r.slabs) {
			r.slabs = append(r.slabs, make([]entry, slabSize))
		}
		r.next++
		return r.next - 1
	}
	i := r.leastOf(client, crowding, now)
	r.forget(i)
	return i
}

// drawn is how many places are compared before one is given up.
const drawn = 16

// leastOf draws places and gives the one whose loss costs least: idle for long,
// and with few messages. Only senders and submitters are given up, as users and clients
// are named in the configuration; with crowding only those of client.
func (r *meters) leastOf(client uint16, crowding bool, now int64) uint32 {
	var best uint32
	worth, seen := float64(-1), 0
	for tries := 0; seen < drawn && (tries < 64*drawn || seen == 0); tries++ {
		r.draw = r.draw*6364136223846793005 + 1442695040888963407
		i := uint32((r.draw >> 33) % uint64(r.next))
		e := r.at(i)
		if !e.used {
			return i
		}
		if e.stays() || crowding && e.client != client || slices.Contains(r.hand[:], e) {
			if tries > 1<<12 {
				return i // nearly all are users and clients: max_senders is far too small
			}
			continue
		}
		seen++
		idle := float64(now-int64(e.last)) + 1
		if w := float64(e.messages) / idle; worth < 0 || w < worth {
			best, worth = i, w
		}
	}
	return best
}

// stays reports whether the entry is one of a user or client, or of a message at hand that
// has not counted yet.
func (e *entry) stays() bool {
	if e.scope.isSender() && !e.has(isSolo) {
		return false
	}
	_, isSubmitter := mail.SubmitterOf(e.name)
	return !isSubmitter || e.messages == 0
}

// key is the hash under which an entry is found.
func (r *meters) key(e *entry) uint64 {
	if !e.has(isSolo) {
		return e.hash
	}
	user, _ := SplitNames(e.name)
	return r.hash(ofUser, user)
}

// free forgets an entry and has its place be used again.
func (r *meters) free(e *entry) {
	i := r.index[r.key(e)]
	r.forget(i)
	r.empty = append(r.empty, i)
}

func (r *meters) forget(i uint32) {
	e := r.at(i)
	if !e.used {
		return
	}
	delete(r.index, r.key(e))
	if e.has(isRegular) {
		delete(r.regular, e.hash)
	}
	r.heldBy(e.client, -1)
	r.uses(e, -1)
	*e = entry{}
}

// all calls f with every entry until f returns false.
func (r *meters) all(f func(*entry) bool) {
	for i := range r.next {
		if e := r.at(i); e.used && !f(e) {
			return
		}
	}
}
