package simulate

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
)

// Demand measures how much each client and each sender used in any window, as
// a limit would have counted it; what limits refused then counts, too.
type Demand struct {
	replay  *Replay
	windows []Window
	clients map[string]*Uses
	senders map[string]*Uses
	more    int64
}

// Window is one number to find.
type Window struct {
	Unit   ratelimit.Unit
	Length time.Duration
}

// Uses are the highest uses of one client or sender.
type Uses struct {
	Name  string `json:"name"`  // a client, or a mail.Address.Key
	Peaks []Use  `json:"peaks"` // as the windows were asked for
}

// Use is the highest use of one window.
type Use struct {
	Unit   ratelimit.Unit `json:"unit"`
	Window string         `json:"window"`
	Used   int64          `json:"used"`
	Time   time.Time      `json:"time"`
}

const (
	demandClient = "client"
	demandSender = "sender"
	// demandMemory is for the counts, which no limit protects from being
	// forgotten here.
	demandMemory = 1 << 30
)

// NewDemand makes a Demand.
func NewDemand(windows []Window) (*Demand, error) {
	d := &Demand{windows: windows, clients: map[string]*Uses{}, senders: map[string]*Uses{}}
	var numbers [4]ratelimit.Numbers
	for _, w := range windows {
		numbers[w.Unit] = append(numbers[w.Unit], ratelimit.Number{N: ratelimit.MaxNumber, Window: w.Length})
	}
	limit := func(per ratelimit.Dimension) ratelimit.RuleConfig {
		return ratelimit.RuleConfig{
			Per: ratelimit.Per{per}, Messages: numbers[ratelimit.Messages], Recipients: numbers[ratelimit.Recipients],
			Bytes: numbers[ratelimit.Bytes], DistinctRecipients: numbers[ratelimit.DistinctRecipients],
		}
	}
	var err error
	d.replay, err = New(Options{
		Limits: map[string]ratelimit.RuleConfig{
			demandClient: limit(ratelimit.PerClient), demandSender: limit(ratelimit.PerSender),
		},
		Store: embedded.Config{Memory: demandMemory}, Check: d.check,
	})
	return d, err
}

// Add takes the next transaction of the journal.
func (d *Demand) Add(t *Transaction) error { return d.replay.Add(t) }

func (d *Demand) check(t *Transaction, l *ratelimit.WindowCheck) {
	all, name := d.clients, t.Client
	if l.Limit == demandSender {
		all, name = d.senders, t.From
	}
	u := all[name]
	if u == nil {
		if len(all) >= maxSenders {
			d.more++
			return
		}
		u = &Uses{Name: name, Peaks: make([]Use, len(d.windows))}
		for i, w := range d.windows {
			u.Peaks[i] = Use{Unit: w.Unit, Window: ratelimit.FormatWindow(w.Length)}
		}
		all[name] = u
	}
	i := slices.Index(d.windows, Window{l.Unit, l.Window})
	if p := &u.Peaks[i]; l.Used > p.Used {
		p.Used, p.Time = l.Used, moment(t.Time)
	}
}

// Demands is what a Demand has found.
type Demands struct {
	Report  *Report
	Windows []Window
	Clients []Uses // the busiest first
	Senders []Uses // the busiest first
	// More are uses of senders beyond those that there was memory for.
	More int64
}

// Demands ends the measuring.
func (d *Demand) Demands() *Demands {
	return &Demands{
		Report: d.replay.Report(), Windows: d.windows, More: d.more,
		Clients: busiest(d.clients), Senders: busiest(d.senders),
	}
}

func busiest(all map[string]*Uses) []Uses {
	list := make([]Uses, 0, len(all))
	for _, u := range all {
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b Uses) int {
		for i := len(a.Peaks) - 1; i >= 0; i-- { // the longest window says most
			if c := cmp.Compare(b.Peaks[i].Used, a.Peaks[i].Used); c != 0 {
				return c
			}
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// Proposal is a limit for all keys of one kind.
type Proposal struct {
	Base []int64 // one for each window
	// Overrides are for those that need more.
	Overrides []NumbersFor
}

// NumbersFor are the numbers of one key.
type NumbersFor struct {
	Name    string
	Numbers []int64
}

// propose finds numbers under which nothing of what was seen is refused, with
// headroom as a factor on top. The busiest, at most listed of them, get numbers
// of their own where they need more than the base. The base holds all others;
// when there are none, it is what the one in the middle needs.
func propose(uses []Uses, headroom float64, listed int) Proposal {
	if len(uses) == 0 {
		return Proposal{}
	}
	own, rest := uses[:min(listed, len(uses))], uses[min(listed, len(uses)):]
	windows := len(uses[0].Peaks)
	p := Proposal{Base: make([]int64, windows)}
	for i := range p.Base {
		p.Base[i] = baseOf(own, rest, i, headroom)
	}
	for _, u := range own {
		n := NumbersFor{Name: u.Name, Numbers: slices.Clone(p.Base)}
		for i := range n.Numbers {
			n.Numbers[i] = max(n.Numbers[i], need(&u.Peaks[i], headroom))
		}
		if !slices.Equal(n.Numbers, p.Base) {
			p.Overrides = append(p.Overrides, n)
		}
	}
	return p
}

func baseOf(own, rest []Uses, window int, headroom float64) (n int64) {
	for i := range rest {
		n = max(n, need(&rest[i].Peaks[window], headroom))
	}
	if len(rest) > 0 {
		return n
	}
	all := make([]int64, len(own))
	for i := range own {
		all[i] = need(&own[i].Peaks[window], headroom)
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// need is a round number of at least headroom times what was used.
func need(p *Use, headroom float64) int64 {
	n := math.Ceil(float64(max(1, p.Used)) * headroom)
	return int64(min(roundUp(n), ratelimit.MaxNumber))
}

// roundUp goes up to two figures: 123 to 130.
func roundUp(n float64) float64 {
	unit := 1.0
	for n/unit > 100 {
		unit *= 10
	}
	return math.Ceil(n/unit) * unit
}
