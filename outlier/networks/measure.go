package networks

import (
	"fmt"
	"io"

	"postern/mail"
	"postern/outlier/astable"
	"postern/outlier/fair"
)

// maxMeasured is of how many users at a time a measure counts days.
const maxMeasured = 200_000

// Measure counts in past mail how often users show a network that is new for them. The
// zero value is not ready: NewMeasure makes one.
type Measure struct {
	memory *Memory
	users  *fair.Map[string, *measured]
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
	// Busy are the days on which a user sent more than twice its mean, and BusyAlone
	// those of them that are also in Alone: a score is high on such days.
	Busy      int `json:"busy"`
	BusyAlone int `json:"busy_alone"`
	// Without are messages of clients of which nobody knows a user or submitter, or from
	// where it sent.
	Without int `json:"without"`
}

// measured is what is counted of one user: its latest day, and its days before.
type measured struct {
	day                        int64
	messages                   int
	isNew, alone, three, named bool
	days, before               int // and the messages on them
}

// NewMeasure makes one; table may be nil.
func NewMeasure(table *astable.Table) *Measure {
	m := &Measure{memory: New(maxMeasured)}
	m.memory.UseTable(table)
	m.users = fair.New[string](maxMeasured, func(a, b *measured) bool { return a.day < b.day }, func(_ string, _ string, d *measured) { m.over(d) })
	return m
}

// Add takes the next event of a journal.
func (m *Measure) Add(ev *mail.Event) error {
	if ev.Client == "" {
		return nil
	}
	party := ev.Party()
	from, ehlo := Origin(ev)
	if party == "" || !networkOf(from).IsValid() {
		m.Without++
		return nil
	}
	at := ev.Time.Unix()
	s := m.memory.Seen(ev.Client, party, from, ehlo, at)
	u := m.memory.known(ev.Client, party)
	if u == nil || uint32(at)-min(uint32(at), u.First) < settle {
		return nil
	}
	d, known := m.users.Get(ev.Client, party)
	if !known {
		m.Users++
		d = &measured{day: at / newFor}
		m.Days++
		m.users.Put(ev.Client, party, d)
	}
	if day := at / newFor; d.day != day {
		m.over(d)
		*d = measured{day: day, days: d.days + 1, before: d.before + d.messages}
		m.Days++
	}
	d.messages++
	once(&d.isNew, s.New, &m.New)
	once(&d.alone, s.New && !s.Colleagues, &m.Alone)
	once(&d.three, s.Within >= Alarming, &m.Three)
	once(&d.named, s.NewName, &m.Names)
	return nil
}

// over counts a day that has ended.
func (m *Measure) over(d *measured) {
	if d.days == 0 || d.messages*d.days <= 2*d.before {
		return
	}
	m.Busy++
	if d.alone {
		m.BusyAlone++
	}
}

// once counts what is the case for the first time on a day.
func once(had *bool, is bool, n *int) {
	if is && !*had {
		*had = true
		*n++
	}
}

// End counts the last day of each user. Call it once, behind the last event.
func (m *Measure) End() {
	for _, d := range m.users.All() {
		m.over(d)
	}
}

// evidence is the value of the key evidence that goes with what was counted: where users
// travel a lot, a new network says less.
func (m *Measure) evidence() float64 {
	switch share := percent(m.Alone, m.Days); {
	case share <= 3:
		return 1
	case share <= 7:
		return 0.75
	case share <= 20:
		return 0.5
	}
	return 0.25
}

func percent(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}

// Write says in words what was counted.
func (m *Measure) Write(w io.Writer) {
	if m.Days == 0 {
		fmt.Fprintf(w, "no day of a user or submitter that was known for three days; %d messages without one, or without its address\n", m.Without)
		return
	}
	fmt.Fprintf(w, "%d users and submitters that were known for three days, %d days on which they sent; %d messages without one\n", m.Users, m.Days, m.Without)
	fmt.Fprintf(w, "%6.2f %% of these days with a network that is new for the user\n", percent(m.New, m.Days))
	fmt.Fprintf(w, "%6.2f %% with one that no colleague used on an earlier day: their scores are doubled by evidence = 1.0\n", percent(m.Alone, m.Days))
	if m.Busy > 0 {
		fmt.Fprintf(w, "%6.2f %% of the %d days on which a user sent more than twice its mean\n", percent(m.BusyAlone, m.Busy), m.Busy)
	}
	fmt.Fprintf(w, "%6.2f %% with %d such networks within 24 h: alarms by themselves, %d in all\n", percent(m.Three, m.Days), Alarming, m.Three)
	fmt.Fprintf(w, "%6.2f %% with a new EHLO name\n", percent(m.Names, m.Days))
	fmt.Fprintf(w, "evidence = %v fits these users\n", m.evidence())
	if alarms := 365 * float64(m.Three) / float64(m.Days); alarms > 1 {
		fmt.Fprintf(w, "alarm = %d would alert %.1f times in a year of each user's days: set it higher, or to 0\n", Alarming, alarms)
	}
}
