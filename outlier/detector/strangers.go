package detector

import (
	"time"

	"postern/outlier/detector/compact"
	"postern/outlier/detector/sketch"
)

// Knows reports whether anybody of a client has written to the recipient before, as far
// as the sketch of known recipients knows: it forgets the oldest beyond
// Settings.MaxKnown, and takes one in 8,000 strangers for somebody known.
func (d *Detector) Knows(client string, recipient uint64) bool {
	return d.known.Has(d.hashOf(client), recipient)
}

// hashOf is that of a client, also of one whose mail was never counted: its past may
// have been read.
func (d *Detector) hashOf(client string) uint64 {
	if c := d.clients[client]; c != nil {
		return c.hash
	}
	return d.seed.Hash(client)
}

// OfStrangers reports whether recipients never seen before are a part of the score.
func (f *Finding) OfStrangers() bool { return f.by != byEvidence || f.evidence[fresh].value > 0 }

// ProjectStrangers scores who as if so many recipients more had been sent, none of whom
// its client knows. client is that of the mail.
func (d *Detector) ProjectStrangers(now int64, who Who, client string, more int, expect Expect) Finding {
	f := d.Project(now, who, client, more, expect)
	for i := range windows {
		f.sums[fresh][i] += float32(more)
	}
	f.judge(&d.tuning, &f.sums)
	return f
}

// pairs is the key under which the recipients stand that a sender of a client knows.
func (d *Detector) pairs(client uint64, sender string) uint64 {
	return pairKey(client, d.seed.Hash(sender))
}

func pairKey(client, sender uint64) uint64 { return sketch.Mix(client^0xA24BAED4963EE407, sender) }

// SenderKnows reports whether a sender of a client has written to the recipient before,
// since Settings.Pairs was set. The null reverse-path is a sender here.
func (d *Detector) SenderKnows(client, sender string, recipient uint64) bool {
	return d.known.Has(d.pairs(d.hashOf(client), sender), recipient)
}

// meetAll makes the recipients that were taken known to the sender.
func (d *Detector) meetAll(ev *Event, c *clientInfo) {
	if !d.settings.Pairs {
		return
	}
	key := d.pairs(c.hash, ev.Sender)
	for i := range ev.Recipients {
		if r := &ev.Recipients[i]; r.Took {
			d.known.Add(key, r.Hash)
		}
	}
}

// Since is the day on which a client was first seen; zero if it never was.
func (d *Detector) Since(client string) time.Time {
	if c := d.clients[client]; c != nil {
		return dayOf(c.born)
	}
	return time.Time{}
}

func dayOf(day uint16) time.Time { return time.Unix(int64(day)*daySeconds, 0).UTC() }

// Age is for how many days who has been known; 0 for who never was.
func (d *Detector) Age(now int64, who Who) int {
	e := d.look(who)
	if e == nil {
		return 0
	}
	return int(now/daySeconds) - int(e.born)
}

// Users is how many users and submitters are known to send with a sender.
func (d *Detector) Users(sender string) int { return int(d.meters.users[d.seed.Hash(sender)]) }

// OfOthers reports whether a client knows the name of a sender only from mail of users
// or submitters, so that it has no meter without one.
func (d *Detector) OfOthers(client, sender string) bool {
	c := d.clients[client]
	return c != nil && d.known.Has(c.hash, d.nameHash(sender)) && !d.Has(Who{Sender, sender})
}

// ReadClients tells since when each client is known, by a snapshot.
func ReadClients(b []byte) (map[string]time.Time, error) {
	if len(b) < len(snapshotHead) {
		return nil, compact.ErrCut
	}
	r := &compact.Reader{Rest: b[len(snapshotHead):]}
	r.Take(SeedSize + 8)
	all := map[string]time.Time{}
	for range r.Num() {
		name := r.Str()
		born := r.U16()
		if r.Bad {
			return nil, compact.ErrCut
		}
		all[name] = dayOf(born)
	}
	return all, r.Err()
}
