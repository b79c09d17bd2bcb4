package networks

// user is what is known of one. Most have one network, and submitters no EHLO name: the
// rest has room of its own when there is any.
type user struct {
	name  string
	more  *more  // nil: nothing
	First uint32 // in seconds since 1970
	first [1]use // the network that was seen first, until another has its place
}

// more are further networks of a user, up to perUser with the first one, and its EHLO
// names, up to perNames.
type more struct{ networks, names []use }

// uses are networks or names in the order in which they came, in two parts.
type uses [2][]use

// last is when the user was last seen.
func (u *user) last() (at uint32) {
	for _, part := range u.networks() {
		for i := range part {
			at = max(at, part[i].Last)
		}
	}
	return at
}

// isYoung reports whether only first days of the user are known.
func (u *user) isYoung() bool {
	last := u.last()
	return last-min(last, u.First) < settle
}

func (u *user) networks() uses {
	if u.more == nil {
		return uses{u.first[:]}
	}
	return uses{u.first[:], u.more.networks}
}

func (u *user) names() uses {
	if u.more == nil {
		return uses{}
	}
	return uses{u.more.names}
}

// rest is where more goes than one network.
func (u *user) rest() *more {
	if u.more == nil {
		u.more = &more{}
	}
	return u.more
}

// find gives the use of what w uses; nil: there is none.
func find(list uses, w *use) *use {
	for _, part := range list {
		for i := range part {
			if u := &part[i]; u.same(w) {
				return u
			}
		}
	}
	return nil
}

// oldest is what was used longest ago.
func oldest(list uses) (o *use) {
	for _, part := range list {
		for i := range part {
			if o == nil || part[i].Last < o.Last {
				o = &part[i]
			}
		}
	}
	return o
}

// again notes that a use goes on with w, now, and reports whether it had been forgotten.
func (u *use) again(w *use) (isNew bool) {
	now := w.Last
	isNew = now-min(now, u.Last) > forget
	if isNew {
		u.First = now
	}
	u.What, u.AS, u.Last = w.What, w.AS, max(u.Last, now)
	return isNew
}

// addNetwork puts w where there is room, or in the place of what was used longest ago.
func (u *user) addNetwork(w *use) *use {
	at := &u.first[0]
	if at.Last > 0 {
		m := u.rest()
		if 1+len(m.networks) < perUser {
			m.networks = append(m.networks, *w)
			return &m.networks[len(m.networks)-1]
		}
		at = oldest(u.networks())
	}
	told := at.told
	*at = *w
	at.told = told
	return at
}

func (u *user) addName(w *use) {
	if m := u.rest(); len(m.names) < perNames {
		m.names = append(m.names, *w)
		return
	}
	*oldest(u.names()) = *w
}

// noteName notes that a name is used now, and reports whether it is new.
func (u *user) noteName(w *use) (isNew bool) {
	if known := find(u.names(), w); known != nil {
		return known.again(w)
	}
	u.addName(w)
	return true
}

// adopt adds what another memory knows of the same user, unless all that there is room
// for was used later.
func (u *user) adopt(theirs *saved) {
	for i := range theirs.Networks {
		if w := &theirs.Networks[i]; w.Last > 0 && fits(u.networks(), w, perUser) {
			u.addNetwork(w)
		}
	}
	for i := range theirs.Names {
		if w := &theirs.Names[i]; w.Last > 0 && fits(u.names(), w, perNames) {
			u.addName(w)
		}
	}
}

// fits reports whether w is to be added to a list of at most so many: it is not among
// them, where it is joined with what is known of it, and not older than all of them.
func fits(list uses, w *use, most int) bool {
	if known := find(list, w); known != nil {
		known.meet(w)
		return false
	}
	return len(list[0])+len(list[1]) < most || oldest(list).Last < w.Last
}
