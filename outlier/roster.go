package outlier

import "strings"

// scope is what a meter is of.
type scope uint8

const (
	ofSender scope = iota
	ofUser
	ofClient
	ofUserNames   // the sender names that a user uses
	ofClientNames // the sender names that a client uses
	ofUserSender  // a sender as one user uses it, see pairName
	ofUserAlarms  // the senders of a user that are under alarm
	ofClientAlarms
	ofUserOthers // what a user sent that is the fault of a sender
	ofClientOthers
	scopes
)

// others is the scope of what a user or client sent that is another's fault.
func (sc scope) others() scope {
	if sc == ofUser {
		return ofUserOthers
	}
	return ofClientOthers
}

// alarms is the scope of the senders under alarm of a user or client.
func (sc scope) alarms() scope {
	if sc == ofUser {
		return ofUserAlarms
	}
	return ofClientAlarms
}

// isSender reports whether a scope is that of single senders.
func (sc scope) isSender() bool { return sc == ofSender || sc == ofUserSender }

// pairName is the name of a sender as one user uses it. A space in the name of the
// user, which no other letter of it can be taken for, is written "%20".
func pairName(user, sender string) string {
	return strings.ReplaceAll(user, " ", "%20") + " " + sender
}

// pairOf gives what pairName has put together; of a sender alone user is "".
func pairOf(name string) (user, sender string) {
	user, sender, ok := strings.Cut(name, " ")
	if !ok {
		return "", name
	}
	return strings.ReplaceAll(user, "%20", " "), sender
}

// entry is one place of a roster.
type entry struct {
	meter
	client uint16 // number of the client that it was first seen with
	scope  scope
	used   bool
	hash   uint64 // of scope and name, as which it is known; two of 200,000 have the same keyed 64 bits once in a billion
	name   string
}

// is reports whether the place still belongs to that hash; e may be nil.
func (e *entry) is(hash uint64) bool { return e != nil && e.used && e.hash == hash }

const slabSize = 1024

// roster holds the meters by scope and name, in bounded memory. A place keeps
// its number until it is given to another.
type roster struct {
	seed  seed
	max   int
	slabs [][]entry
	index map[uint64]uint32 // place by hash
	count int               // of entries
	next  uint32            // first place that was never used
	held  []int             // places by client
	draw  uint64            // state of the draw of places to give up
	// regular are the runs of those that have any, by the hash of their entry.
	regular map[uint64]*runs
}

func newRoster(s seed, max int) *roster {
	return &roster{seed: s, max: max, index: map[uint64]uint32{}, regular: map[uint64]*runs{}}
}

func (r *roster) at(i uint32) *entry { return &r.slabs[i/slabSize][i%slabSize] }

func (r *roster) hash(sc scope, name string) uint64 { return sc.hash(r.seed.hash(name)) }

// hash makes the hash of a scope and name from that of the name.
func (sc scope) hash(name uint64) uint64 { return name ^ uint64(sc+1)*0x9E3779B97F4A7C15 }

// find gives the entry of a name; nil when there is none.
func (r *roster) find(sc scope, name string) *entry { return r.search(r.hash(sc, name)) }

func (r *roster) search(hash uint64) *entry {
	if i, ok := r.index[hash]; ok {
		return r.at(i)
	}
	return nil
}

// get gives the entry of a name, and makes it when there is none; another may
// have to be forgotten for that.
func (r *roster) get(sc scope, name string, client uint16, now int64) (e *entry, isNew bool) {
	h := r.hash(sc, name)
	if e := r.search(h); e != nil {
		return e, false
	}
	i := r.place(client, now)
	e = r.at(i)
	*e = entry{meter: newMeter(now), name: name, hash: h, client: client, scope: sc, used: true}
	r.index[h] = i
	r.count++
	r.heldBy(client, 1)
	return e, true
}

func (r *roster) heldBy(client uint16, n int) {
	for int(client) >= len(r.held) {
		r.held = append(r.held, 0)
	}
	r.held[client] += n
}

// place finds a place that is free, or frees one.
func (r *roster) place(client uint16, now int64) uint32 {
	crowding := int(client) < len(r.held) && r.held[client] >= r.max/2
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
// and with few messages. Only senders are given up, as users and clients are
// named in the configuration; with crowding only those of client.
func (r *roster) leastOf(client uint16, crowding bool, now int64) uint32 {
	var best uint32
	worth, seen := float64(-1), 0
	for tries := 0; seen < drawn && (tries < 64*drawn || seen == 0); tries++ {
		r.draw = r.draw*6364136223846793005 + 1442695040888963407
		i := uint32((r.draw >> 33) % uint64(r.next))
		e := r.at(i)
		if !e.used {
			return i
		}
		if !e.scope.isSender() || crowding && e.client != client {
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

func (r *roster) forget(i uint32) {
	e := r.at(i)
	if !e.used {
		return
	}
	delete(r.index, e.hash)
	if e.has(isRegular) {
		delete(r.regular, e.hash)
	}
	r.count--
	r.heldBy(e.client, -1)
	*e = entry{}
}

// all calls f with every entry until f returns false.
func (r *roster) all(f func(*entry) bool) {
	for i := range r.next {
		if e := r.at(i); e.used && !f(e) {
			return
		}
	}
}

// len is how many entries there are.
func (r *roster) len() int { return r.count }
