package eventlog

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/mail"
)

const (
	// strangersEvery is the time in which an address has one line for a reason.
	strangersEvery = 10 * time.Second
	// strangersLines is how many lines all strangers have in that time.
	strangersLines = 100
	// strangersKept is how many of these go to those who were logged before, so that
	// there is room for others.
	strangersKept = strangersLines / 2
	// strangersAuth is how many of the lines go to nothing but wrong passwords,
	// which are slow to try and matter more than what anybody can cause at will.
	strangersAuth = 10
)

// Strangers hands events on to log and journal: those of clients as they come,
// those of peers that never became a client within a budget, for anybody can
// cause them. Of these the first of an address (an IPv6 /64 is one) and a reason
// is told at once; what follows within ten seconds is counted, and told by one
// event, the last of its kind, with the number in Times. All of them together
// have 100 lines in ten seconds. What finds no line is counted, too: an event
// with the rule "others" has its number. It is safe for concurrent use, and its
// memory is bounded.
type Strangers struct {
	clients, strangers []mail.Observer
	now                func() time.Time

	mu     sync.Mutex
	began  time.Time // of the present ten seconds
	told   int       // lines in them
	untold int       // events that found no line in them
	by     map[strangerKind]*strangerCount
}

// strangerKind is what has one line.
type strangerKind struct {
	site        netip.Prefix // zero: no address
	stage, rule string
}

// strangerCount is what has come since the last line.
type strangerCount struct {
	last mail.Event
	more int
}

// NewStrangers hands events of clients on to clients and the others, within
// their budget, to strangers. A nil now is time.Now.
func NewStrangers(clients, strangers []mail.Observer, now func() time.Time) *Strangers {
	if now == nil {
		now = time.Now
	}
	return &Strangers{clients: clients, strangers: strangers, now: now, by: map[strangerKind]*strangerCount{}}
}

// Observe takes one event.
func (s *Strangers) Observe(e *mail.Event) {
	if e.Client != "" {
		for _, o := range s.clients {
			o.Observe(e)
		}
		return
	}
	s.Tell()
	if s.count(e) {
		s.pass(e)
	}
}

// count reports whether the event is to be told now.
func (s *Strangers) count(e *mail.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := kindOfStranger(e)
	if c := s.by[kind]; c != nil {
		c.more++
		c.last = *e
		c.last.To = []mail.RecipientEvent{}
		return false
	}
	most := strangersLines
	if e.Stage != mail.StageAuth {
		most -= strangersAuth
	}
	if s.told >= most {
		s.untold++
		return false
	}
	s.told++
	s.by[kind] = &strangerCount{}
	return true
}

func kindOfStranger(e *mail.Event) strangerKind {
	k := strangerKind{stage: e.Stage, rule: e.Rule}
	if ip, err := netip.ParseAddr(e.ClientIP); err == nil {
		k.site = mail.Site(ip)
	}
	return k
}

// Tell hands on what has been counted, once the ten seconds are over. The caller
// calls it now and then, so that the last of it is told, too.
func (s *Strangers) Tell() {
	for _, e := range s.due() {
		s.pass(&e)
	}
}

// Close hands on what is left.
func (s *Strangers) Close() {
	s.mu.Lock()
	s.began = time.Time{}
	s.mu.Unlock()
	s.Tell()
}

// due begins the next ten seconds and returns what is to be told of the last
// ones.
func (s *Strangers) due() []mail.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if since := now.Sub(s.began); since >= 0 && since < strangersEvery {
		return nil
	}
	counts := s.loudest()
	s.by = map[strangerKind]*strangerCount{}
	var events []mail.Event
	for i, c := range counts {
		if i >= strangersKept {
			s.untold += c.more
			continue
		}
		c.last.Times = c.more
		events = append(events, c.last)
		s.by[kindOfStranger(&c.last)] = &strangerCount{}
	}
	if s.untold > 0 {
		events = append(events, mail.Event{
			Time: now, ID: mail.NewID(now), Stage: mail.StageConnect, Outcome: mail.Rejected, Rule: "others", Times: s.untold, To: []mail.RecipientEvent{},
		})
	}
	s.began, s.told, s.untold = now, len(events), 0
	return events
}

// loudest are the kinds of which more has come, most first.
func (s *Strangers) loudest() (counts []*strangerCount) {
	for _, c := range s.by {
		if c.more > 0 {
			counts = append(counts, c)
		}
	}
	slices.SortFunc(counts, func(a, b *strangerCount) int {
		return cmp.Or(cmp.Compare(b.more, a.more), a.last.Time.Compare(b.last.Time))
	})
	return counts
}

func (s *Strangers) pass(e *mail.Event) {
	for _, o := range s.strangers {
		o.Observe(e)
	}
}
