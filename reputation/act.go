package reputation

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/resolve"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// targetsOf are all that blocklists are asked about.
func targetsOf(id *identity.Presence) (ts []dnsbl.Target) {
	add := func(t dnsbl.Target) {
		if !slices.Contains(ts, t) {
			ts = append(ts, t)
		}
	}
	for _, s := range id.Streams {
		if s.Silent {
			continue
		}
		for _, ip := range s.Addresses {
			add(dnsbl.AddressTarget(ip))
		}
		if resolve.IsHostName(s.EHLO) {
			add(dnsbl.DomainTarget(s.EHLO))
		}
	}
	for _, d := range id.Domains {
		add(dnsbl.DomainTarget(d.Name))
	}
	for _, k := range id.Keys {
		add(dnsbl.DomainTarget(k.Domain))
	}
	return ts
}

// expire ends listings that nothing was heard of for long, and renews pauses.
func (m *Monitor) expire() {
	m.mu.Lock()
	events := m.settleLocked(m.book.expire(m.poller)...)
	m.mu.Unlock()
	m.carryOut(events)
}

// Resume lets a stream go on that a listing has paused, and reports whether it was paused.
// That listing does not pause it again.
func (m *Monitor) Resume(stream string) bool {
	m.mu.Lock()
	for _, l := range m.book.listings {
		if l.Open() && slices.Contains(l.Paused, stream) {
			l.Released = true
		}
	}
	m.mu.Unlock()
	return m.backoff.Resume(stream)
}

// Pause takes a Resume back: where a listing that is still open may pause the stream, the
// stream waits again until a time, and Pause returns true. Otherwise nothing changes.
func (m *Monitor) Pause(stream string, until time.Time) (paused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.book.listings {
		if !l.Open() || !l.Released || !slices.Contains(l.Streams, stream) {
			continue
		}
		if l.Released = false; !m.mayPauseLocked(l, stream) {
			l.Released = true
			continue
		}
		if !slices.Contains(l.Paused, stream) {
			l.Paused = append(l.Paused, stream)
		}
		paused = true
	}
	if paused {
		m.backoff.Pause(stream, until)
	}
	return paused
}

const maxSuspects = 10

// outcome is what is to be told and done about a listing without the lock.
type outcome struct {
	listing                  *Listing
	opened, confirmed, ended bool
	suspend                  *Suspect
	paused, resumed          []string
	why                      string // they were resumed
}

// settleLocked takes the consequences of what has changed about listings; nil
// ones are left out.
func (m *Monitor) settleLocked(ls ...*Listing) (outcomes []outcome) {
	for i, l := range ls {
		if l == nil || slices.Contains(ls[:i], l) {
			continue
		}
		o := outcome{listing: l, opened: l.opened, confirmed: l.confirmed, ended: l.ended}
		if l.opened {
			m.reportLocked(l)
		}
		l.opened, l.confirmed, l.ended = false, false, false
		m.actLocked(l, &o)
		if o.opened || o.confirmed || o.ended || o.suspend != nil || len(o.paused)+len(o.resumed) > 0 {
			outcomes = append(outcomes, o)
		}
	}
	return outcomes
}

// reportLocked writes the report of a new listing.
func (m *Monitor) reportLocked(l *Listing) {
	l.Streams = m.streamsOfLocked(l)
	all := m.suspectsLocked(l)
	for _, s := range all[:min(len(all), maxSuspects)] {
		if s.Score >= NoSuspect {
			l.Suspects = append(l.Suspects, s)
		}
	}
	l.advise(m.poller, m.command)
}

func (m *Monitor) suspectsLocked(l *Listing) []Suspect {
	return m.history.Suspects(l.Streams, m.now(), m.opts.Outlier)
}

// streamsOfLocked are the streams that a listing concerns.
func (m *Monitor) streamsOfLocked(l *Listing) (streams []string) {
	add := func(s string) {
		if s != "" && !slices.Contains(streams, s) {
			streams = append(streams, s)
		}
	}
	id := &m.setup.Identity
	ip, _ := netip.ParseAddr(l.Target.Name)
	for _, s := range id.Streams {
		if l.Target.Kind == dnsbl.Addresses && slices.Contains(s.Addresses, ip) || l.Target == dnsbl.DomainTarget(s.EHLO) || l.Target.Name == "stream "+s.Name {
			add(s.Name)
		}
	}
	for _, d := range id.Domains {
		if l.Target == dnsbl.DomainTarget(d.Name) || d.SignedBy != "" && l.Target == dnsbl.DomainTarget(d.SignedBy) {
			for _, s := range d.Streams {
				add(s)
			}
		}
	}
	if len(streams) == 0 { // an address that only a reply knows
		for _, s := range id.Streams {
			if len(s.Addresses) == 0 && !s.Silent {
				add(s.Name)
			}
		}
	}
	return streams
}

// actLocked pauses and resumes streams, and picks the suspect to suspend.
func (m *Monitor) actLocked(l *Listing, o *outcome) {
	for _, name := range l.Streams {
		pause := m.stream(name).OnListing == identity.PauseStream && m.mayPauseLocked(l, name)
		switch paused := slices.Contains(l.Paused, name); {
		case pause:
			m.backoff.Pause(name, m.now().Add(pauseFor))
			if !paused {
				l.Paused, o.paused = append(l.Paused, name), append(o.paused, name)
				l.Action = "stream " + strings.Join(l.Paused, ", ") + " is paused (450) until the listing ends or a trial is taken"
			}
		case paused:
			m.resumeLocked(l, name, o, "nothing that may pause it speaks for the listing any longer")
		}
		if m.stream(name).OnListing == identity.SuspendSuspect && m.maySuspendLocked(l, name) {
			l.Suspended = true
			o.suspend = m.pickLocked(l, name)
		}
	}
}

// mayPauseLocked reports whether a listing may pause a stream: a blocklist that
// is asked says so, with a weight of 1 or together with unrelated receivers. What
// they only say among themselves never does. After a trial was taken it needs
// receivers that refused later.
func (m *Monitor) mayPauseLocked(l *Listing, stream string) bool {
	switch {
	case !l.Open() || l.Released || l.zoneWeight() == 0 || !m.concernsAllLocked(l.Target, stream):
		return false
	case l.TrialPassed.IsZero() && l.zoneWeight()+1e-9 >= 1: // ten times 0.1 is one
		return true
	}
	return m.provenLocked(l, stream)
}

// maySuspendLocked reports whether a listing may suspend its suspect. A blocklist
// alone is not enough: one tenant can have us listed at a time that suits him.
func (m *Monitor) maySuspendLocked(l *Listing, stream string) bool {
	return l.Open() && !l.Suspended && m.opts.Suspend != nil && l.zoneWeight() > 0 &&
		m.concernsAllLocked(l.Target, stream) && m.provenLocked(l, stream)
}

// pickLocked is the suspect to suspend: who stands out, and whose client's mail two
// of the witnesses have refused. Who is busy at the wrong moment has not met them.
func (m *Monitor) pickLocked(l *Listing, stream string) *Suspect {
	s := standsOut(m.suspectsLocked(l), max(m.setup.Config.SuspectFactor, 1))
	if s == nil || len(m.stream(stream).Clients) < 2 {
		return s
	}
	client := s.Client
	if s.Kind == string(aClient) {
		client = s.Name
	}
	if !met(client, l.witnesses(l.TrialPassed)) {
		return nil
	}
	return s
}

// provenLocked reports whether enough unrelated receivers say it, reached by mail
// of more than one client unless the stream has only one.
func (m *Monitor) provenLocked(l *Listing, stream string) bool {
	w := l.witnesses(l.TrialPassed)
	return len(w) >= manyWitnesses && (len(clientsOf(w)) > 1 || len(m.stream(stream).Clients) < 2)
}

// concernsAllLocked reports whether a target is that of a whole stream, and not
// the domain of some of its clients only.
func (m *Monitor) concernsAllLocked(t dnsbl.Target, stream string) bool {
	s := m.stream(stream)
	if t.Kind == dnsbl.Addresses || t == dnsbl.DomainTarget(s.EHLO) {
		return true
	}
	for _, c := range s.Clients {
		if !slices.ContainsFunc(m.setup.Identity.Domains, func(d identity.DomainIdentity) bool {
			return (dnsbl.DomainTarget(d.Name) == t || d.SignedBy != "" && dnsbl.DomainTarget(d.SignedBy) == t) && slices.Contains(d.Clients, c)
		}) {
			return false
		}
	}
	return true
}

// resumeLocked lets a stream go on that a listing has paused.
func (m *Monitor) resumeLocked(l *Listing, stream string, o *outcome, why string) {
	l.Paused = slices.DeleteFunc(slices.Clone(l.Paused), func(s string) bool { return s == stream })
	o.why = why
	if !m.pausedByOtherLocked(l, stream) && m.backoff.Resume(stream) {
		o.resumed = append(o.resumed, stream)
	}
}

// trialPassedLocked notes that a message of a paused stream, let through as a
// trial, was taken: that ends the pause.
func (m *Monitor) trialPassedLocked(stream string) (outcomes []outcome) {
	for _, l := range m.book.listings {
		if !l.Open() || !slices.Contains(l.Paused, stream) {
			continue
		}
		l.TrialPassed = m.now()
		o := outcome{listing: l}
		for _, s := range l.Paused {
			m.resumeLocked(l, s, &o, "a trial was taken")
		}
		l.Action = strings.TrimPrefix(l.Action+"; ", "; ") + "a trial was taken, its streams go on"
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// standsOut is the first suspect when it leads the next one by a factor.
func standsOut(all []Suspect, factor float64) *Suspect {
	if len(all) == 0 || all[0].Score < NoSuspect {
		return nil
	}
	first := &all[0]
	for i := 1; i < len(all); i++ {
		s := &all[i]
		if s.Kind != first.Kind && (s.Name == first.Client || s.Name == first.User || s.Client == first.Name || s.User == first.Name) {
			continue // the same mail seen from another side
		}
		if first.Score < factor*s.Score {
			return nil
		}
		break
	}
	return first
}

func (m *Monitor) pausedByOtherLocked(ended *Listing, stream string) bool {
	return slices.ContainsFunc(m.book.listings, func(l *Listing) bool {
		return l != ended && l.Open() && !l.Released && slices.Contains(l.Paused, stream)
	})
}

// carryOut suspends, tells and saves.
func (m *Monitor) carryOut(os []outcome) {
	for i := range os {
		m.tellOutcome(&os[i])
	}
	if len(os) > 0 {
		m.saveListings()
	}
}

func (m *Monitor) tellOutcome(o *outcome) {
	if o.suspend != nil {
		m.suspend(o.listing, *o.suspend)
	}
	m.mu.Lock()
	l := o.listing.copy()
	m.mu.Unlock()
	if o.opened || o.confirmed {
		m.tellListed(&l)
	}
	if o.opened {
		m.tellSuspect(&l)
	}
	for _, s := range o.paused {
		m.tell(Event{Kind: EventPaused, Status: identity.Fail, Subject: s, Listing: &l,
			Text: fmt.Sprintf("stream %s is paused by listing %d; to let it go on: %s", s, l.ID, m.command("listings", "resume", s))})
	}
	if o.ended {
		m.tell(Event{Kind: EventDelisted, Status: identity.Pass, Subject: l.Target.Name, Listing: &l,
			Text: fmt.Sprintf("%s is no longer listed, after %s", l.Target.Name, l.Ended.Sub(l.Opened).Round(time.Second))})
	}
	for _, s := range o.resumed {
		m.tell(Event{Kind: EventResumed, Status: identity.Pass, Subject: s, Listing: &l, Text: "stream " + s + " goes on: " + o.why})
	}
}

// status is how bad the news of a listing is: hearsay is a warning.
func (l *Listing) status() identity.Status {
	if !slices.ContainsFunc(l.Evidence, func(e Evidence) bool { return !e.Hearsay }) {
		return identity.Warn
	}
	return identity.Fail
}

func (m *Monitor) tellListed(l *Listing) {
	e := &l.Evidence[len(l.Evidence)-1]
	is, note := "is listed", ""
	if !l.Confirmed {
		is, note = "is said to be listed", "; no blocklist that is asked has said so, and nothing is done by itself"
	}
	m.tell(Event{Kind: EventListed, Status: l.status(), Subject: l.Target.Name, Listing: l,
		Text: fmt.Sprintf("%s %s (%s %s)%s; see: %s", l.Target.Name, is, e.Source, cmp.Or(strings.Join(e.Codes, ", "), e.Text), note,
			m.command("listings", "show", strconv.Itoa(l.ID)))})
}

func (m *Monitor) tellSuspect(l *Listing) {
	if len(l.Suspects) == 0 {
		m.tell(Event{Kind: EventSuspect, Status: identity.Warn, Subject: l.Target.Name, Text: "no suspect", Listing: l})
		return
	}
	s := l.Suspects[0]
	m.tell(Event{Kind: EventSuspect, Status: l.status(), Subject: s.Kind + " " + s.Name, Suspect: &s, Listing: l,
		Text: fmt.Sprintf("%s %s may have caused listing %d: %s", s.Kind, s.Name, l.ID, s.Explain())})
}

func (m *Monitor) suspend(l *Listing, s Suspect) {
	reason := fmt.Sprintf("listing %d of %s", l.ID, l.Target.Name)
	action := fmt.Sprintf("%s %s is suspended", s.Kind, s.Name)
	if err := m.opts.Suspend(s, reason); err != nil {
		action = fmt.Sprintf("%s %s could not be suspended: %v", s.Kind, s.Name, err)
	}
	m.mu.Lock()
	l.Action = strings.TrimPrefix(l.Action+"; "+action, "; ")
	m.mu.Unlock()
}
