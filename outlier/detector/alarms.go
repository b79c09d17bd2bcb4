package detector

// Who sends as one name after the other is unusual under each of them for one
// message only. So the names of a user that come under alarm are counted, and
// those of a client whose mail has no user.

const (
	// alarmNames are how many names under alarm within a day are the alarm of who
	// uses them.
	alarmNames = 3
	// mostSevere is up to what the score of a name counts.
	mostSevere = 3
	// alarmGap are the halves of a day after which the same name counts again.
	alarmGap = 3
)

// Of names under alarm the kinds are: how many, their scores, and how many of them
// had never been seen before.

// alarms counts a sender that is under alarm for its user or client, whose finding
// of volume is f. The alarm that follows is as hard as the names are on average.
// For a client it is an alert and no more, unless the names are new or its own
// counts say more: among many senders three may be honest. A sender that a user has
// taken from somebody else is the user's alarm by itself.
func (d *Detector) alarms(now int64, m *tally, sc scope, name string, f *Finding, p *party, out *findings) {
	e, _ := d.meters.get(sc.alarms(), name, m.c.num, now)
	e.roll(now)
	s := m.sender
	severe := s.severity(&d.tuning)
	foreign := s.e.has(isForeign) && s.e.age() < easeDays
	if s.e.countsAsAlarm(now) {
		names := amount{sent: 1, fresh: severe}
		if s.e.age() <= 1 {
			names[refused] = 1
		}
		if foreign {
			names[sent], names[fresh] = alarmNames, alarmNames*severe
		}
		e.add(now, &names)
	}
	af := out.next()
	*af = Finding{e: e, scale: &clientNamesScale, alarms: true, Names: true}
	e.sums(&af.sums)
	af.all = af.sums
	n, scores, unseen := af.sums[sent][day], af.sums[fresh][day], af.sums[refused][day]
	if n >= alarmNames-0.1 {
		af.Score = max(1, scores/alarmNames)
	}
	switch {
	case foreign:
		af.Score, af.foreign = max(af.Score, severe), true
	case sc == ofUser || af.Score == 0:
	case unseen >= alarmNames-0.1:
	default:
		own := f.withBlame(&d.tuning, p)
		af.Mild = own < 1
		af.Score = max(1, own)
	}
	af.Score *= d.tuning.sensitivity
}

// counts reports whether a sender is a name under alarm. Some refused recipients
// alone are not enough for that, nor is a burst to known recipients in our own
// domains.
func (f *Finding) counts(t *tuning) bool {
	return f.Refusals == Excessive || f.Score >= 1 && f.outside(t) >= 1
}

// severity is how hard a sender's alarm is, from 1 to mostSevere.
func (f *Finding) severity(t *tuning) float32 {
	if f.Refusals == Excessive {
		return mostSevere
	}
	return max(1, min(f.outside(t), mostSevere))
}

// withBlame is the score of a user or client with what is the fault of others,
// apart from its largest sender.
func (f *Finding) withBlame(t *tuning, p *party) float32 {
	all := f.like()
	sums := f.all
	if p.top.e != nil {
		sums = sums.without(&p.top.e.meter)
	}
	all.judge(t, &sums)
	return all.Score
}

// countsAsAlarm reports whether the name has not been counted for a day, and notes
// that it is now. The half days are kept by their number in a row of 255.
func (m *meter) countsAsAlarm(now int64) bool {
	half := uint8(1 + now/(daySeconds/2)%255)
	if m.alarmed != 0 && (int(half)-int(m.alarmed)+255)%255 < alarmGap {
		return false
	}
	m.alarmed = half
	return true
}
