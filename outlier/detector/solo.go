package detector

// Nearly all mailboxes behind an MTA, and most users, write from one address. What
// counts for such a sender counts for its user as well, and both meters would hold the
// same numbers. So one stands for both as long as nothing tells them apart: it is the
// sender's, it is solo, and it is found under the user. It parts into two, the user's
// beginning as a copy, before the first message that counts for one of them only, that comes
// from another sender, or that is unusual: somebody is to blame then. A solo sender
// has no runs, and its user no meter of what is the fault of others. Its user's sender
// names are kept from the moment on at which there is more to them than one name.

// isFor reports whether e stands for a user as far as its mail is that of one sender.
func (r *meters) isFor(e *entry, user, sender string) bool {
	return e.hash == r.hashJoined(user, sender)
}

// soloOf gives the sender that stands for its user; nil: there is none.
func (r *meters) soloOf(user string) *entry {
	if e := r.find(ofUser, user); e != nil && e.has(isSolo) {
		return e
	}
	return nil
}

// asUser is the meter of the user that e stands for, to be read.
func (e *entry) asUser(user string) *entry {
	u := *e
	u.scope, u.name, u.flags, u.alarmed = ofUser, user, 0, 0
	return &u
}

// senderMeter gives the meter of a message's sender, and says whether it is new.
func (d *Detector) senderMeter(now int64, m *tally) (e *entry, isNew bool) {
	r, user, sender := d.meters, m.ev.User, m.ev.Sender
	if user == "" {
		return r.get(ofSender, sender, m.c.num, now)
	}
	u := r.find(ofUser, user)
	switch {
	case u == nil && !m.ev.Alone:
		return d.firstSender(now, m)
	case u == nil:
	case !u.has(isSolo):
		e, isNew = r.get(ofUserSender, JoinNames(user, sender), m.c.num, now)
		if !isNew && !m.ev.Alone {
			d.fold(e, u)
		}
		return e, isNew
	case !m.ev.Alone && r.isFor(u, user, sender):
		return r.handed(u), false
	default:
		d.part(u, &u.meter, m.c)
	}
	return r.get(ofUserSender, JoinNames(user, sender), m.c.num, now)
}

// firstSender gives the meter of the first sender of a user, for whom it stands if
// nothing is known of either.
func (d *Detector) firstSender(now int64, m *tally) (e *entry, isNew bool) {
	r, user, name := d.meters, m.ev.User, JoinNames(m.ev.User, m.ev.Sender)
	old := r.find(ofSender, m.ev.Sender)
	if r.find(ofUserSender, name) != nil || r.find(ofUserNames, user) != nil || r.find(ofUserOthers, user) != nil || old != nil && old.has(isOld) {
		return r.get(ofUserSender, name, m.c.num, now)
	}
	return r.getSolo(user, name, m.c.num, now), true
}

// getSolo makes a sender that stands for its user.
func (r *meters) getSolo(user, name string, client uint16, now int64) *entry {
	e, _ := r.get(ofUserSender, name, client, now)
	e.put(isSolo, true)
	r.rename(e.hash, ofUser.hash(r.seed.Hash(user)))
	return e
}

// rename has the entry of one hash be found under another.
func (r *meters) rename(was, is uint64) {
	i := r.index[was]
	delete(r.index, was)
	r.index[is] = i
}

// part gives the user for whom e stands a meter of its own, which begins with what was
// counted before. Its largest sender, at the client of the present mail, is e.
func (d *Detector) part(e *entry, was *meter, c *clientInfo) {
	r, before := d.meters, *was
	r.handed(e)
	user, _ := SplitNames(e.name)
	if names, isNew := r.get(ofUserNames, user, e.client, int64(before.last)); isNew {
		names.meter = d.oneName(e, &before)
	}
	e.put(isSolo, false)
	r.rename(ofUser.hash(r.seed.Hash(user)), e.hash)
	u, _ := r.get(ofUser, user, e.client, int64(before.last))
	u.meter = before
	u.flags, u.alarmed = 0, 0
	p := d.user(c, user)
	p.top, p.refused = top{e, e.hash}, top{e, e.hash}
}

// partUser parts the sender that stands for a user, if one does, and gives it.
func (d *Detector) partUser(user string) *entry {
	e := d.meters.soloOf(user)
	if e != nil {
		d.part(e, &e.meter, d.byNum[e.client])
	}
	return e
}

// partOf parts what stands for a user before a meter of the user is changed by itself, and
// gives the sender that stood for it; nil: there was none.
func (d *Detector) partOf(sc scope, name string) *entry {
	switch sc {
	case ofUser, ofUserOthers:
		return d.partUser(name)
	case ofUserSender:
		user, _ := SplitNames(name)
		return d.partUser(user)
	}
	return nil
}

// fold has a sender stand for its user, whose meter u is, where both hold the same, and
// the user has used no other name for weeks.
func (d *Detector) fold(e, u *entry) {
	if e.messages != u.messages || e.has(isRegular) || u.has(isRegular) || e.client != u.client || e.has(isOld) || u.has(isOld) {
		return
	}
	a, b := e.meter, u.meter
	a.flags, a.alarmed, b.flags, b.alarmed = 0, 0, 0, 0
	r, user := d.meters, u.name
	if a != b || r.find(ofUserOthers, user) != nil {
		return
	}
	if names := r.find(ofUserNames, user); names != nil {
		if !names.isGranted(&userNamesScale) {
			return
		}
		r.free(names)
	}
	r.free(u)
	r.rename(e.hash, ofUser.hash(r.seed.Hash(user)))
	e.put(isSolo, true)
}

// isGranted reports whether a meter holds no more than everybody is granted, so that
// nothing of it is evidence.
func (m *meter) isGranted(s *scale) bool {
	var sums table
	m.sums(&sums)
	for k := range kinds {
		for w := range windows {
			if max(sums[k][w], m.record[k][w], m.today[k][w]) > s.least[k][w] {
				return false
			}
		}
	}
	return true
}

// oneName is what the sender names of a user hold that has used the one of e only: first
// at the beginning of the day on which it was first seen, and in all by so much more than
// usual as was at last. was is what e held then.
func (d *Detector) oneName(e *entry, was *meter) meter {
	n := newMeter(int64(was.born) * daySeconds)
	if was.messages == 0 {
		return newMeter(int64(was.last))
	}
	var s table
	n.add(int64(n.last), &amount{fresh: 1, refused: 1})
	n.sums(&s)
	n.learn(&s, false)
	n.roll(int64(was.last))
	n.turn(&d.tuning, &userNamesScale, d.byNum[e.client].born)
	late := amount{sent: d.scoreOf(e, was)}
	if n.sums(&s); was.recent() > 0 && s[refused][hour] == 0 {
		late[refused] = 1
	}
	n.add(int64(n.last), &late)
	n.messages = was.messages
	return n
}

// scoreOf is the score of e as it was, up to the first alarm.
func (d *Detector) scoreOf(e *entry, was *meter) float32 {
	then := *e
	then.meter = *was
	f := d.assess(&then, nil, nil, d.scale(&then))
	return min(1, f.Score)
}

// alike reports whether a message, of which f is what the sender that stands for its user
// has been found to do, is the same to both.
func (m *tally) alike(f *Finding) bool {
	return !m.explained && f.runs == nil && f.Refusals == Ordinary
}

// soloUser counts for a user for whom its sender stands. The sender explains all of its
// volume, and is judged as hard as its user or harder.
func (d *Detector) soloUser(m *tally, out *findings) {
	f, floor, s := out.next(), m.expect.of(PartyWho(m.ev.User)), d.scaleOfUser(m.sender.e)
	*f = *m.sender
	f.user, f.runs = m.ev.User, nil
	d.judgeShare(f, 0, 0)
	if floor != nil || s != f.scale || f.e.has(isNewcomer) {
		f.floor, f.scale = floor, s
		f.judge(&d.tuning, &f.sums)
	}
}

// look gives the meter of who to be read; nil: there is none. Of a user for whom its
// sender stands it is a copy.
func (d *Detector) look(who Who) *entry {
	sc, name := who.meter(), who.meterName()
	e := d.meters.find(sc, name)
	switch {
	case sc == ofUser && e != nil && e.has(isSolo):
		return e.asUser(name)
	case sc == ofUserSender && e == nil:
		user, _ := SplitNames(name)
		if s := d.meters.soloOf(user); s != nil && s.name == name {
			return s
		}
	}
	return e
}

// whose yields whose volume e holds.
func (e *entry) whose(yield func(Who) bool) bool {
	if !e.scope.countsVolume() {
		return true
	}
	if !yield(e.who()) {
		return false
	}
	if !e.has(isSolo) {
		return true
	}
	user, _ := SplitNames(e.name)
	return yield(PartyWho(user))
}
