package tune

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"postern/outlier"
)

const (
	// Teaching are the first days of a journal, in which the detector only gets to know
	// who sends; Judged so many must follow, on JudgedWithMail of which there is mail.
	Teaching, Judged = 20, 14
	judgedWithMail   = 7

	day = 86400
	gap = day // an alarm of one account after so long without one is another
	// once: the alarms of an account count once in so many days.
	once = 30
	// times: those of a client count up to so many times what its size lets expect.
	times = 3
)

// Least and Most bound the sensitivity that the relay takes by itself.
const Least, Most = 0.5, 2.0

// measured are false alarms a sender-year on our recordings, the mean of three, at the
// sensitivities that are tried: what counts where a journal is short.
var measured = []struct{ sensitivity, perYear float64 }{
	{0.5, 0.039}, {0.63, 0.050}, {0.79, 0.076}, {1, 0.136}, {1.26, 0.243}, {1.58, 0.411}, {2, 0.618},
}

// Table is what a journal says of each sensitivity.
type Table struct {
	From, To time.Time     `json:"-"`        // of the mail
	Days     float64       `json:"days"`     // that were judged
	WithMail int           `json:"-"`        // days that were judged and had mail
	Messages int           `json:"messages"` // in all
	Accounts float64       `json:"accounts"` // mean number, of those with 20 messages and more
	Share    float64       `json:"share"`    // of the accounts that were looked at
	Victims  int           `json:"victims"`  // accounts that attacks were added to
	Shapes   []string      `json:"shapes"`
	Rows     []Row         `json:"rows"` // by sensitivity, the lowest first
	LeftOut  []AccountLeft `json:"left_out,omitempty"`
}

// Row is one sensitivity.
type Row struct {
	Sensitivity float64 `json:"sensitivity"`
	Alarms      float64 `json:"alarms"` // that were counted in the judged days
	Raised      int     `json:"raised"` // that were there
	Year        float64 `json:"year"`   // false alarms a year to expect
	Low         float64 `json:"low"`    // of it, in four of five cases together with High
	High        float64 `json:"high"`
	Out         []Out   `json:"out"` // by Table.Shapes
}

// Out is how many messages attacks of a shape let out; negative: not known.
type Out struct {
	Median float64 `json:"median"` // of messages
	Ninety float64 `json:"ninety"`
	Found  float64 `json:"found"` // share
}

// AccountLeft is who has more alarms than count, or was suspended by an operator.
type AccountLeft struct {
	Client string `json:"client"`
	Name   string `json:"name"`
	Alarms int    `json:"alarms"` // not counted, at sensitivity 1
}

// Measure plays the mail of a trace. confirmed are those whose alarms were not false.
// pause is called often; its error ends the work. The same trace gives the same table.
func Measure(t *Trace, confirmed []string, pause func() error) (*Table, error) {
	return measure(t, confirmed, pause, shapes)
}

func measure(t *Trace, confirmed []string, pause func() error, shapes []shape) (*Table, error) {
	t.sort()
	m := &measuring{Trace: t, shapes: shapes, pause: pause, confirmed: map[string]bool{}}
	for _, name := range confirmed {
		m.confirmed[name] = name != ""
	}
	table := m.begin()
	if len(t.messages) == 0 {
		return table, nil
	}
	for _, at := range measured {
		row, err := m.row(at.sensitivity, at.perYear, table)
		if err != nil {
			return nil, err
		}
		table.Rows = append(table.Rows, row)
	}
	least := 0.0 // more sensitive is never fewer alarms
	for i := range table.Rows {
		r := &table.Rows[i]
		least = max(least, r.Year)
		r.Year = least
	}
	return table, nil
}

// measuring is one Measure.
type measuring struct {
	*Trace
	shapes    []shape
	pause     func() error
	confirmed map[string]bool
	from      int64            // the first second that is judged
	seconds   map[uint32]int64 // of the accounts of each client in the judged days, together
	victims   []victim
}

// begin fills in what does not depend on the sensitivity.
func (m *measuring) begin() *Table {
	table := &Table{Messages: len(m.messages), Share: 1 / float64(int(1)<<m.Shift)}
	for i := range m.shapes {
		table.Shapes = append(table.Shapes, m.shapes[i].name)
	}
	if len(m.messages) == 0 {
		return table
	}
	first, last := m.messages[0].at, m.messages[len(m.messages)-1].at
	m.from = first + Teaching*day
	table.From, table.To = time.Unix(first, 0).UTC(), time.Unix(last, 0).UTC()
	table.Days = max(0, float64(last-m.from)/day)
	today := int64(-1)
	type span struct{ n, first, last int64 }
	seen := map[account]*span{}
	for i := range m.messages {
		x := &m.messages[i]
		if d := x.at / day; x.at >= m.from && d != today {
			today = d
			table.WithMail++
		}
		a, ok := x.account(m.Trace)
		if !ok {
			continue
		}
		s := seen[a]
		if s == nil {
			s = &span{first: max(x.at, m.from)}
			seen[a] = s
		}
		s.n, s.last = s.n+1, x.at
	}
	m.seconds = map[uint32]int64{}
	for a, s := range seen {
		if s.n >= 20 && s.last >= m.from {
			m.seconds[a.client] += s.last - s.first + day
		}
	}
	for _, client := range slices.Sorted(maps.Keys(m.seconds)) {
		table.Accounts += float64(m.seconds[client]) / day / max(table.Days, 1) / table.Share
	}
	rng := rand.New(rand.NewPCG(1, 2))
	judge := func(x *message) bool {
		return m.reader.Judged(m.names[x.client], m.names[x.user], m.names[x.sender])
	}
	m.victims = m.Trace.victims(m.from, judge, rng)
	table.Victims = len(m.victims)
	return table
}

// row measures one sensitivity; perYear is what our recordings have.
func (m *measuring) row(sensitivity, perYear float64, table *Table) (r Row, err error) {
	r.Sensitivity = sensitivity
	counts, err := m.alarms(sensitivity)
	if err != nil {
		return r, err
	}
	var left []AccountLeft
	r.Alarms, r.Raised, left = m.counted(counts, perYear, table)
	if sensitivity == 1 {
		table.LeftOut = left
	}
	r.Year, r.Low, r.High = expected(r.Alarms, table.Days/365.25, perYear*table.Accounts, table.Share)
	for i := range m.shapes {
		out, err := m.letOut(sensitivity, &m.shapes[i])
		if err != nil {
			return r, err
		}
		r.Out = append(r.Out, out)
	}
	return r, nil
}

// raised is how often an account or client came under alarm.
type raised struct {
	n    int
	last int64
}

func (x *raised) at(now int64) {
	if x.n == 0 || now-x.last > gap {
		x.n++
	}
	x.last = now
}

// alarms counts those of each account, and of each client, whose name is then 0.
func (m *measuring) alarms(sensitivity float64) (map[account]*raised, error) {
	all := map[account]*raised{}
	note := func(a account, at int64) {
		if all[a] == nil {
			all[a] = &raised{}
		}
		all[a].at(at)
	}
	err := m.play(sensitivity, nil, func(x *message, s *outlier.Scores, _ *attack) {
		if x.at < m.from {
			return
		}
		if a, ok := x.account(m.Trace); ok && max(s.Sender, s.User) >= 1 {
			note(a, x.at)
		}
		if s.Client >= 1 {
			note(account{client: x.client, name: ofClient}, x.at)
		}
	})
	return all, err
}

// ofClient is the name of a client's own alarms.
const ofClient = math.MaxUint32

// counted are the alarms that count: nobody can raise the number at will.
func (m *measuring) counted(all map[account]*raised, perYear float64, table *Table) (n float64, every int, left []AccountLeft) {
	each := max(1, int(math.Ceil(table.Days/once)))
	clients := map[uint32]float64{}
	for a, x := range all {
		every += x.n
		name := ""
		counts := min(x.n, each)
		if a.name != ofClient {
			name = m.names[a.name]
			if m.confirmed[name] {
				counts = 0
			}
		}
		if counts < x.n {
			left = append(left, AccountLeft{m.names[a.client], name, x.n - counts})
		}
		clients[a.client] += float64(counts)
	}
	for _, client := range slices.Sorted(maps.Keys(clients)) {
		years := float64(m.seconds[client]) / (365.25 * day)
		n += min(clients[client], times*max(1, perYear*years))
	}
	slices.SortFunc(left, func(a, b AccountLeft) int {
		return cmp.Or(cmp.Compare(b.Alarms, a.Alarms), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Name, b.Name))
	})
	return n, every, left[:min(len(left), 10)]
}

// weight is as how many alarms what our recordings have counts.
const weight = 2

// expected is how many alarms a year follow from so many in a time, where usual a year
// are to be expected of so many accounts elsewhere; share is that of the accounts looked
// at. low and high hold in four of five cases.
func expected(alarms, years, usual, share float64) (year, low, high float64) {
	usual = max(usual, 0.01)
	n, over := alarms/share+weight, years+weight/usual
	spread := 1.2816 / (3 * math.Sqrt(n))
	middle := 1 - 1/(9*n)
	cube := func(x float64) float64 { return n * x * x * x / over }
	return n / over, cube(max(0, middle-spread)), cube(middle + spread)
}

// play plays the mail, with attacks in their places, and calls f with the scores of each
// message; a is nil for one of the journal.
func (m *measuring) play(sensitivity float64, added []attack, f func(x *message, s *outlier.Scores, a *attack)) error {
	r, err := outlier.NewReplayKeyed(plain(m.cfg, sensitivity), m.key)
	if err != nil {
		return err
	}
	queue := inOrder(added)
	count := func(x *message, a *attack) {
		sent := m.sent(x)
		if a != nil && a.sender != "" {
			sent.Sender = a.sender
		}
		s := r.Count(&sent)
		f(x, &s, a)
	}
	for i := range m.messages {
		x := &m.messages[i]
		for len(queue) > 0 && queue[0].m.at < x.at {
			if !queue[0].a.stopped {
				count(queue[0].m, queue[0].a)
			}
			queue = queue[1:]
		}
		count(x, nil)
		if i%256 == 0 {
			if err := m.pause(); err != nil {
				return err
			}
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		if !queue[0].a.stopped {
			count(queue[0].m, queue[0].a)
		}
	}
	return nil
}

// step is one message of an attack.
type step struct {
	m *message
	a *attack
}

func inOrder(attacks []attack) (all []step) {
	for i := range attacks {
		for j := range attacks[i].messages {
			all = append(all, step{&attacks[i].messages[j], &attacks[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b step) int { return cmp.Compare(a.m.at, b.m.at) })
	return all
}

// letOut measures the attacks of one shape.
func (m *measuring) letOut(sensitivity float64, s *shape) (o Out, err error) {
	victims := m.victims
	if s.elsewhere { // where a sender is, is not known without a user
		victims = slices.DeleteFunc(slices.Clone(victims), func(v victim) bool { return m.names[v.like.user] == "" })
	}
	if len(victims) < fewVictims {
		return Out{-1, -1, -1}, nil
	}
	all := s.attacks(victims, rand.New(rand.NewPCG(3, 4)))
	by := map[account]*attack{}
	for i := range all {
		a := &all[i]
		if s.newSender {
			a.sender = fmt.Sprintf("new-%d@attack.invalid", i)
			continue
		}
		who, _ := a.v.like.account(m.Trace)
		by[who] = a
	}
	err = m.play(sensitivity, all, func(x *message, scores *outlier.Scores, a *attack) {
		if a != nil {
			a.out++
			a.stopped = max(scores.Sender, scores.User) >= 1
			return
		}
		who, _ := x.account(m.Trace)
		if a := by[who]; a != nil && x.at >= a.messages[0].at && x.at <= a.messages[len(a.messages)-1].at && max(scores.Sender, scores.User) >= 1 {
			a.stopped = true
		}
	})
	if err != nil {
		return o, err
	}
	return summary(all), nil
}

func summary(all []attack) (o Out) {
	var outs []float64
	found := 0
	for i := range all {
		outs = append(outs, float64(all[i].out))
		if all[i].stopped {
			found++
		}
	}
	slices.Sort(outs)
	at := func(q float64) float64 { return outs[min(len(outs)-1, int(q*float64(len(outs))))] }
	return Out{at(0.5), at(0.9), float64(found) / float64(len(all))}
}
