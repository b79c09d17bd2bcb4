package reputation

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// targets are all that blocklists are asked about.
func (id *Identity) targets() (ts []Target) {
	add := func(t Target) {
		if !slices.Contains(ts, t) {
			ts = append(ts, t)
		}
	}
	for _, s := range id.Streams {
		if s.Silent {
			continue
		}
		for _, ip := range s.Addresses {
			add(AddressTarget(ip))
		}
		if isHostName(s.EHLO) {
			add(DomainTarget(s.EHLO))
		}
	}
	for _, d := range id.Domains {
		add(DomainTarget(d.Name))
	}
	for _, k := range id.Keys {
		add(DomainTarget(k.Domain))
	}
	return ts
}

// expire ends listings that nothing was heard of for long.
func (m *Monitor) expire() {
	m.mu.Lock()
	events := m.endedLocked(m.book.expire(m.poller.zones))
	m.renewPausesLocked()
	m.mu.Unlock()
	m.carryOut(events)
}

func (m *Monitor) renewPausesLocked() {
	until := m.now().Add(pauseFor)
	for _, l := range m.book.listings {
		if l.Open() && !l.Released {
			for _, s := range l.Paused {
				m.held.Pause(s, until)
			}
		}
	}
}

// Resume lets a stream go on that a listing has paused, and reports whether it
// was. That listing does not pause it again.
func (m *Monitor) Resume(stream string) bool {
	m.mu.Lock()
	for _, l := range m.book.listings {
		if l.Open() && slices.Contains(l.Paused, stream) {
			l.Released = true
		}
	}
	m.mu.Unlock()
	return m.held.Resume(stream)
}

const maxSuspects = 10

// openedLocked writes the reports of new listings.
func (m *Monitor) openedLocked(ls []*Listing) (events []outcome) {
	for _, l := range ls {
		if l == nil {
			continue
		}
		l.Streams = m.streamsOfLocked(l)
		var outlier func(kind, name, client string) float64
		if m.opts.Outlier != nil {
			outlier = m.opts.Outlier
		}
		all := m.history.Suspects(l.Streams, l.Opened, outlier)
		for _, s := range all[:min(len(all), maxSuspects)] {
			if s.Score >= NoSuspect {
				l.Suspects = append(l.Suspects, s)
			}
		}
		l.advise(m.poller.zones, m.command)
		events = append(events, outcome{listing: l, opened: true, suspend: m.actLocked(l, all)})
	}
	return events
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
		if l.Target.Kind == Addresses && slices.Contains(s.Addresses, ip) || l.Target == DomainTarget(s.EHLO) || l.Target.Name == "stream "+s.Name {
			add(s.Name)
		}
	}
	for _, d := range id.Domains {
		if l.Target == DomainTarget(d.Name) || d.SignedBy != "" && l.Target == DomainTarget(d.SignedBy) {
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

// outcome is what is to be done about a listing without the lock.
type outcome struct {
	listing *Listing
	opened  bool
	suspend *Suspect
	resumed []string
}

// actLocked pauses streams, and picks the suspect to suspend.
func (m *Monitor) actLocked(l *Listing, all []Suspect) *Suspect {
	var suspend *Suspect
	for _, name := range l.Streams {
		switch m.stream(name).OnListing {
		case PauseStream:
			l.Paused = append(l.Paused, name)
			m.held.Pause(name, m.now().Add(pauseFor))
			l.Action = "stream " + strings.Join(l.Paused, ", ") + " is paused (450) until the listing ends"
		case SuspendSuspect:
			if s := standsOut(all, max(m.setup.Config.SuspectFactor, 1)); s != nil && m.opts.Suspend != nil {
				suspend = s
			}
		}
	}
	return suspend
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

// endedLocked closes reports and lets paused streams go on.
func (m *Monitor) endedLocked(ls []*Listing) (events []outcome) {
	for _, l := range ls {
		if l == nil {
			continue
		}
		o := outcome{listing: l}
		for _, s := range l.Paused {
			if !m.pausedByOtherLocked(l, s) && m.held.Resume(s) {
				o.resumed = append(o.resumed, s)
			}
		}
		events = append(events, o)
	}
	return events
}

func (m *Monitor) pausedByOtherLocked(ended *Listing, stream string) bool {
	return slices.ContainsFunc(m.book.listings, func(l *Listing) bool {
		return l != ended && l.Open() && !l.Released && slices.Contains(l.Paused, stream)
	})
}

// carryOut suspends, tells and saves.
func (m *Monitor) carryOut(os []outcome) {
	for _, o := range os {
		if o.opened {
			m.tellOpened(o)
		} else {
			m.tellEnded(o)
		}
	}
	if len(os) > 0 {
		m.saveListings()
	}
}

func (m *Monitor) tellOpened(o outcome) {
	if o.suspend != nil {
		m.suspend(o.listing, *o.suspend)
	}
	m.mu.Lock()
	l := o.listing.copy()
	m.mu.Unlock()
	e := &l.Evidence[len(l.Evidence)-1]
	m.tell(Event{Kind: EventListed, Status: Fail, Subject: l.Target.Name, Listing: &l,
		Text: fmt.Sprintf("%s is listed (%s %s); see: %s", l.Target.Name, e.Source, cmp.Or(strings.Join(e.Codes, ", "), e.Text), m.command("listings", "show", strconv.Itoa(l.ID)))})
	if len(l.Suspects) == 0 {
		m.tell(Event{Kind: EventSuspect, Status: Warn, Subject: l.Target.Name, Text: "no suspect", Listing: &l})
	} else {
		s := l.Suspects[0]
		m.tell(Event{Kind: EventSuspect, Status: Fail, Subject: s.Kind + " " + s.Name, Suspect: &s, Listing: &l,
			Text: fmt.Sprintf("%s %s may have caused listing %d: %s", s.Kind, s.Name, l.ID, s.Explain())})
	}
	for _, s := range l.Paused {
		m.tell(Event{Kind: EventPaused, Status: Fail, Subject: s, Listing: &l, Text: fmt.Sprintf("stream %s is paused by listing %d; to let it go on: %s", s, l.ID, m.command("listings", "resume", s))})
	}
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

func (m *Monitor) tellEnded(o outcome) {
	m.mu.Lock()
	l := o.listing.copy()
	m.mu.Unlock()
	m.tell(Event{Kind: EventDelisted, Status: Pass, Subject: l.Target.Name, Listing: &l,
		Text: fmt.Sprintf("%s is no longer listed, after %s", l.Target.Name, l.Ended.Sub(l.Opened).Round(time.Second))})
	for _, s := range o.resumed {
		m.tell(Event{Kind: EventResumed, Status: Pass, Subject: s, Listing: &l, Text: "stream " + s + " goes on"})
	}
}
