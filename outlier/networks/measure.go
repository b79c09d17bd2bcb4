package networks

import (
	"fmt"
	"io"

	"postern/mail"
)

// Measure counts in past mail how often users show a network that is new for them. The
// zero value is not ready: NewMeasure makes one.
type Measure struct {
	memory *Memory
	days   map[string]*dayOf // by client and user: the latest day
	// Users were seen after their first days.
	Users int `json:"users"`
	// Days are those on which such a user sent; New those with a new network, Alone
	// those with one that no colleague used before, Three those that would alert, Names
	// those with a new EHLO name.
	Days  int `json:"days"`
	New   int `json:"new"`
	Alone int `json:"alone"`
	Three int `json:"three"`
	Names int `json:"names"`
	// Without are messages of clients of which nobody knows a user or submitter.
	Without int `json:"without"`
}

type dayOf struct {
	day                     int64
	isNew, alone, three, ns bool
}

// NewMeasure makes one.
func NewMeasure() *Measure {
	return &Measure{memory: New(200_000), days: map[string]*dayOf{}}
}

// Add takes the next event of a journal.
func (m *Measure) Add(ev *mail.Event) error {
	if ev.Client == "" {
		return nil
	}
	party, from, ehlo := Origin(ev)
	if party == "" || !Of(from).IsValid() {
		m.Without++
		return nil
	}
	at, key := ev.Time.Unix(), ev.Client+" "+party
	s := m.memory.Seen(ev.Client, party, from, ehlo, at)
	u, known := m.memory.users.Get(ev.Client, party)
	if !known || uint32(at)-min(uint32(at), u.First) < settle {
		return nil
	}
	d := m.days[key]
	if d == nil {
		m.Users++
		d = &dayOf{}
		m.days[key] = d
	}
	if day := at / newFor; d.day != day {
		*d = dayOf{day: day}
		m.Days++
	}
	once(&d.isNew, s.New, &m.New)
	once(&d.alone, s.New && !s.Colleagues, &m.Alone)
	once(&d.three, s.Within >= Alarming, &m.Three)
	once(&d.ns, s.NewName, &m.Names)
	return nil
}

// once counts what is the case for the first time on a day.
func once(had *bool, is bool, n *int) {
	if is && !*had {
		*had = true
		*n++
	}
}

// Write says in words what was counted.
func (m *Measure) Write(w io.Writer) {
	if m.Days == 0 {
		fmt.Fprintf(w, "no day of a user or submitter that was known for three days; %d messages without one, or without its address\n", m.Without)
		return
	}
	share := func(n int) float64 { return 100 * float64(n) / float64(m.Days) }
	fmt.Fprintf(w, "%d users and submitters that were known for three days, %d days on which they sent; %d messages without one\n", m.Users, m.Days, m.Without)
	fmt.Fprintf(w, "%6.2f %% of these days with a network that is new for the user\n", share(m.New))
	fmt.Fprintf(w, "%6.2f %% with one that no colleague used on an earlier day: their scores are doubled by evidence = 1.0\n", share(m.Alone))
	fmt.Fprintf(w, "%6.2f %% with %d such networks within 24 h: alarms by themselves, %d in all\n", share(m.Three), Alarming, m.Three)
	fmt.Fprintf(w, "%6.2f %% with a new EHLO name\n", share(m.Names))
}
