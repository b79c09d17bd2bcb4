package simulate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/ratelimit"
)

// Report is what a replay found.
type Report struct {
	From time.Time `json:"from"` // of the first transaction
	To   time.Time `json:"to"`   // of the last one's end

	// Transactions that the journal holds, and those of them that reached the
	// limits, with the recipients that did.
	Transactions int64 `json:"transactions"`
	Replayed     int64 `json:"replayed"`
	Recipients   int64 `json:"recipients"`

	// Recipients that limits refused then; that they refuse now; the part of
	// those that passed then; and those refused then that pass now.
	RefusedThen int64 `json:"refused_then"`
	RefusedNow  int64 `json:"refused_now"`
	Refused     int64 `json:"newly_refused"`
	Passed      int64 `json:"newly_passed"`
	// Retries are attempts for recipients that have passed now before: they
	// would not have come, and do not count.
	Retries int64 `json:"retries"`
	// Undecided are recipients that the store had no memory for.
	Undecided int64 `json:"undecided,omitempty"`
	// Late are transactions that began so long before they ended that they
	// count a little later than they should.
	Late int64 `json:"late,omitempty"`

	Limits  []Limit  `json:"limits"`  // by name
	Senders []Sender `json:"senders"` // with a change, the most changed first
	// MoreSenders are further senders with a change.
	MoreSenders int64 `json:"more_senders,omitempty"`
	// Were are the limits that refused then, by name.
	Were []Were `json:"were"`
}

// Limit is one limit of the configuration that was tried.
type Limit struct {
	Name string         `json:"name"`
	Mode ratelimit.Mode `json:"mode"`
	// Refused recipients, and the part of them that passed then; for a shadow
	// limit, transactions that it would have refused something of.
	Refused int64 `json:"refused"`
	New     int64 `json:"newly_refused"`
	// First are the first refusals of what passed then (of a shadow limit: the
	// first of all).
	First   []Moment `json:"first,omitempty"`
	Windows []Peaks  `json:"windows"`
}

// Moment is one refusal.
type Moment struct {
	Time   time.Time      `json:"time"`
	Client string         `json:"client"`
	Sender string         `json:"sender"`
	Key    string         `json:"key"`
	Unit   ratelimit.Unit `json:"unit"`
	Window string         `json:"window"`
	Max    int64          `json:"max"`
}

// Peaks are the highest uses of one window of a limit.
type Peaks struct {
	Unit   ratelimit.Unit `json:"unit"`
	Window string         `json:"window"`
	// Top are the keys that came nearest to their number, the nearest first.
	Top []Peak `json:"top"`

	length time.Duration
}

// Peak is the highest use of one key.
type Peak struct {
	Key  string    `json:"key"`
	Used int64     `json:"used"`
	Max  int64     `json:"max"`
	Time time.Time `json:"time"`
}

// use is the share used, 1 is full.
func (p *Peak) use() float64 {
	if p.Max <= 0 {
		return 1
	}
	return float64(p.Used) / float64(p.Max)
}

// Sender is one reverse-path of one client to which limits would have said
// something else.
type Sender struct {
	Client  string    `json:"client"`
	Sender  string    `json:"sender"`
	Refused int64     `json:"newly_refused"` // recipients
	Passed  int64     `json:"newly_passed"`
	First   time.Time `json:"first"`  // of the changes
	Limits  []string  `json:"limits"` // that refuse now, or refused then
}

// Were is what became of the refusals of a limit of then.
type Were struct {
	Name    string `json:"name"`
	Refused int64  `json:"refused"` // recipients
	Passed  int64  `json:"newly_passed"`
}

const (
	maxMoments = 5
	topPeaks   = 10
	maxSenders = 100_000
)

// note keeps the use of a key, if it is among the highest.
func (p *Peaks) note(key string, used, most, at int64) {
	n := Peak{Key: key, Used: used, Max: most}
	use, full := n.use(), len(p.Top) >= topPeaks
	if full && use <= p.Top[len(p.Top)-1].use() {
		return
	}
	switch i := slices.IndexFunc(p.Top, func(o Peak) bool { return o.Key == key }); {
	case i >= 0 && p.Top[i].use() >= use:
		return
	case i >= 0:
		p.Top = slices.Delete(p.Top, i, i+1)
	case full:
		p.Top = p.Top[:len(p.Top)-1]
	}
	n.Time = moment(at)
	place := slices.IndexFunc(p.Top, func(o Peak) bool { return o.use() < use })
	if place < 0 {
		place = len(p.Top)
	}
	p.Top = slices.Insert(p.Top, place, n)
}

func moment(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// senderKey names a reverse-path of a client.
type senderKey struct{ client, sender string }

// tally gathers a Report.
type tally struct {
	Report
	limits  map[string]*Limit
	peaks   map[peakKey]*Peaks
	senders map[senderKey]*Sender
	were    map[string]*Were
}

type peakKey struct {
	limit  string
	unit   ratelimit.Unit
	length time.Duration
}

func newTally(limits map[string]ratelimit.RuleConfig) *tally {
	y := &tally{
		limits: map[string]*Limit{}, peaks: map[peakKey]*Peaks{},
		senders: map[senderKey]*Sender{}, were: map[string]*Were{},
	}
	for name, cfg := range limits {
		y.limits[name] = &Limit{Name: name, Mode: cfg.Mode}
		for unit, numbers := range []ratelimit.Numbers{cfg.Messages, cfg.Recipients, cfg.Bytes, cfg.DistinctRecipients} {
			for _, n := range numbers {
				y.window(name, ratelimit.Unit(unit), n.Window)
			}
		}
	}
	return y
}

func (y *tally) window(limit string, unit ratelimit.Unit, length time.Duration) *Peaks {
	key := peakKey{limit, unit, length}
	p := y.peaks[key]
	if p == nil {
		p = &Peaks{Unit: unit, Window: ratelimit.FormatWindow(length), length: length}
		y.peaks[key] = p
	}
	return p
}

// check keeps what a transaction saw of a window.
func (y *tally) check(t *Transaction, l *ratelimit.WindowCheck) {
	y.window(l.Limit, l.Unit, l.Window).note(l.Key, l.Used, l.Max, t.Time)
}

// shadowed counts what a shadow limit would have refused.
func (y *tally) shadowed(t *Transaction, l *ratelimit.WindowCheck) {
	n := y.limits[l.Limit]
	n.Refused++
	n.New++
	n.moment(t, l.Key, l.Unit, l.Window, l.Max)
}

// moment keeps one of the first refusals; those of one key within a minute of
// one another are one.
func (n *Limit) moment(t *Transaction, key string, unit ratelimit.Unit, window time.Duration, most int64) {
	same := func(m Moment) bool { return m.Key == key && moment(t.Time).Sub(m.Time) < time.Minute }
	if len(n.First) < maxMoments && !slices.ContainsFunc(n.First, same) {
		n.First = append(n.First, Moment{
			Time: moment(t.Time), Client: t.Client, Sender: t.From, Key: key,
			Unit: unit, Window: ratelimit.FormatWindow(window), Max: most,
		})
	}
}

// refused counts a recipient that a limit refuses now; then is the limit that
// refused it then.
func (y *tally) refused(t *Transaction, v *ratelimit.Decision, then string) {
	y.RefusedNow++
	n := y.limits[v.Limit]
	n.Refused++
	if then != "" {
		return
	}
	y.Refused++
	n.New++
	n.moment(t, v.Key, v.Unit, v.Window, v.Max)
	if s := y.sender(t, v.Limit); s != nil {
		s.Refused++
	}
}

// passed counts a recipient that a limit refused then.
func (y *tally) passed(t *Transaction, then string) {
	y.Passed++
	y.was(then).Passed++
	if s := y.sender(t, then); s != nil {
		s.Passed++
	}
}

func (y *tally) was(limit string) *Were {
	w := y.were[limit]
	if w == nil {
		w = &Were{Name: limit}
		y.were[limit] = w
	}
	return w
}

func (y *tally) sender(t *Transaction, limit string) *Sender {
	key := senderKey{t.Client, t.From}
	s := y.senders[key]
	if s == nil {
		if len(y.senders) >= maxSenders {
			y.MoreSenders++
			return nil
		}
		s = &Sender{Client: t.Client, Sender: t.From, First: moment(t.Time)}
		y.senders[key] = s
	}
	if !slices.Contains(s.Limits, limit) {
		s.Limits = append(s.Limits, limit)
	}
	return s
}

// report puts everything in order.
func (y *tally) report() *Report {
	r := y.Report
	for key, p := range y.peaks {
		y.limits[key.limit].Windows = append(y.limits[key.limit].Windows, *p)
	}
	r.Limits, r.Were = []Limit{}, []Were{}
	for _, name := range slices.Sorted(maps.Keys(y.limits)) {
		l := y.limits[name]
		slices.SortFunc(l.Windows, func(a, b Peaks) int {
			return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.length, b.length))
		})
		r.Limits = append(r.Limits, *l)
	}
	for _, name := range slices.Sorted(maps.Keys(y.were)) {
		r.Were = append(r.Were, *y.were[name])
	}
	r.Senders = []Sender{}
	for _, s := range y.senders {
		r.Senders = append(r.Senders, *s)
	}
	slices.SortFunc(r.Senders, func(a, b Sender) int {
		return cmp.Or(cmp.Compare(b.Refused+b.Passed, a.Refused+a.Passed), strings.Compare(a.Client, b.Client), strings.Compare(a.Sender, b.Sender))
	})
	return &r
}
