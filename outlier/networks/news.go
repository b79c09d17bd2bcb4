package networks

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// news are those of whom other nodes have not heard what is known here.
type news struct {
	share   bool
	of      map[string]struct{} // by client and name, as key has them
	dropped []string            // whom there was no room for any more, after they were told
}

// maxDropped bounds news.dropped: the rest goes by its age where it is stored.
const maxDropped = 10_000

// Share has a memory note what is new in it, for Changed.
func (m *Memory) Share() {
	m.news.share, m.news.of = true, map[string]struct{}{}
	for at, u := range m.users.All() {
		m.news.add(at.Client, u.name)
	}
}

func (n *news) add(client, name string) {
	if n.share {
		n.of[key(client, name)] = struct{}{}
	}
}

// gone is told of a user whom there was no room for.
func (n *news) gone(client string, u *user) {
	if !n.share {
		return
	}
	delete(n.of, key(client, u.name))
	if u.first[0].told && len(n.dropped) < maxDropped {
		n.dropped = append(n.dropped, key(client, u.name))
	}
}

// Changed takes the keys, each a client and a name, of up to n users of whom something
// is new since they were last taken, and of up to as many that are forgotten.
func (m *Memory) Changed(n int) (changed, gone []string) {
	for k := range m.news.of {
		if len(changed) == n {
			break
		}
		delete(m.news.of, k)
		changed = append(changed, k)
	}
	n = min(n, len(m.news.dropped))
	gone = slices.Clone(m.news.dropped[:n])
	m.news.dropped = slices.Delete(m.news.dropped, 0, n)
	return changed, gone
}

// Again has what Changed has given be given again, since nobody has heard it.
func (m *Memory) Again(changed, gone []string) {
	for _, k := range changed {
		m.news.of[k] = struct{}{}
	}
	room := maxDropped - len(m.news.dropped)
	m.news.dropped = append(m.news.dropped, gone[:min(len(gone), room)]...)
}

// Tell is what is known of a user, for other memories to Merge, nil where nothing is;
// lasting, where that is more than its first days.
func (m *Memory) Tell(key string) (value []byte, lasting bool) {
	client, name, _ := strings.Cut(key, " ")
	u := m.known(client, name)
	if u == nil {
		return nil, false
	}
	u.first[0].told = true
	return u.append(nil), !u.isYoung()
}

// version begins a told user.
const version = 2

// append writes u behind b: the version, the two times, the number of networks and of
// names, and of each what it is, its AS, its two times and whether it was nobody else's.
func (u *user) append(b []byte) []byte {
	b = append(b, version)
	b = binary.LittleEndian.AppendUint32(b, u.First)
	b = binary.LittleEndian.AppendUint32(b, u.last())
	for _, list := range [...]uses{u.networks(), u.names()} {
		at := len(b)
		b = append(b, 0)
		for _, part := range list {
			for i := range part {
				if w := &part[i]; w.Last > 0 {
					b[at]++
					b = w.append(b)
				}
			}
		}
	}
	return b
}

// useSize is how many octets a use takes.
const useSize = 17

func (w *use) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, w.What)
	b = binary.LittleEndian.AppendUint32(b, w.AS)
	b = binary.LittleEndian.AppendUint32(b, w.First)
	b = binary.LittleEndian.AppendUint32(b, w.Last)
	if w.Alone {
		return append(b, 1)
	}
	return append(b, 0)
}

var errTold = errors.New("what another node told of a user's networks is damaged")

// read takes what append has written.
func (u *saved) read(b []byte) error {
	if len(b) < 9 || b[0] != version {
		return errTold
	}
	u.First, u.Last = binary.LittleEndian.Uint32(b[1:]), binary.LittleEndian.Uint32(b[5:])
	b = b[9:]
	for _, list := range [...][]use{u.Networks[:], u.Names[:]} {
		if len(b) == 0 || int(b[0]) > len(list) || len(b) < 1+int(b[0])*useSize {
			return errTold
		}
		n := int(b[0])
		for i, b := 0, b[1:]; i < n; i, b = i+1, b[useSize:] {
			u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
			list[i] = use{What: u32(0), AS: u32(4), First: u32(8), Last: u32(12), Alone: b[16] == 1}
		}
		b = b[1+n*useSize:]
	}
	if len(b) > 0 {
		return errTold
	}
	return nil
}

// Merge adds to what is known of a user what another node has told; now is in seconds
// since 1970, and no time is later. It is not told on.
func (m *Memory) Merge(key string, value []byte, now int64) error {
	var theirs saved
	client, name, ok := strings.Cut(key, " ")
	if err := theirs.read(value); err != nil || !ok || client == "" || name == "" || now <= 0 || now > 1<<32-1 {
		return errTold
	}
	theirs.notLater(uint32(now))
	u, _ := m.user(client, name, theirs.First)
	u.First = min(u.First, theirs.First)
	u.adopt(&theirs)
	for i := range theirs.Networks {
		if w := &theirs.Networks[i]; w.Last > 0 {
			m.place(client, w, w.Last).join(hash(name), w.First)
		}
	}
	return nil
}

// notLater has no time be after now, nor any first use after the last.
func (u *saved) notLater(now uint32) {
	u.Last = min(u.Last, now)
	u.First = min(u.First, u.Last)
	for _, list := range [...][]use{u.Networks[:], u.Names[:]} {
		for i := range list {
			w := &list[i]
			w.Last = min(w.Last, now)
			w.First = min(w.First, w.Last)
		}
	}
}

// meet makes one use of two, unless one of them was over for so long before the other
// that it was forgotten.
func (w *use) meet(o *use) {
	switch {
	case w.Last < o.First && o.First-w.Last > forget:
		*w = *o
	case o.Last < w.First && w.First-o.Last > forget:
	default:
		w.First, w.Last, w.Alone = min(w.First, o.First), max(w.Last, o.Last), w.Alone && o.Alone
	}
}
