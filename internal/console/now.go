package console

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"postern/internal/console/chart"
	"postern/internal/tally"
)

// nowPart is what the relay does at the moment.
type nowPart struct {
	Ready    bool
	Verdict  string // one sentence
	Needs    int    // things that need somebody
	Up       string // since when it runs
	Tiles    []tile
	LastBy   string // which upstream took mail last
	Last     *moment
	All      bool          // the visitor sees the mail of all clients
	Day      template.HTML // the picture
	DaySays  string
	DayTop   string
	DayHours []string // labels, each for six hours
	Usual    bool     // something is known of what is usual
	Begun    string   // since when mail is counted, where that is less than is shown
}

// tile is one number of the last hour.
type tile struct {
	Name, Value string
	Usual       string // words; "": not known yet
	Outside     int    // as tally.Range.Outside says
	Words       string // of Outside
}

// kinds are the outcomes that are told, with the words for them.
var kinds = [...]struct {
	name string
	of   func(tally.Count) int
}{
	{"Relayed", func(c tally.Count) int { return int(c.Relayed) }},
	{"Deferred", func(c tally.Count) int { return int(c.Deferred) }},
	{"Refused", func(c tally.Count) int { return int(c.Refused) }},
}

func (v *visit) now() *nowPart {
	s := v.State()
	p := &nowPart{Ready: s.Ready, Verdict: "Mail is taken.", Needs: v.needs().Count, Up: span(v.Console.now().Sub(s.Started)), All: !v.isOwner()}
	if !s.Ready {
		p.Verdict = "Mail is not taken."
	}
	if v.isOwner() { // the counts and the upstreams are those of all clients
		return p
	}
	took := func(at time.Time, upstream string) {
		if !at.IsZero() && (p.Last == nil || at.After(p.Last.At)) {
			p.Last, p.LastBy = v.moment(at), clean(upstream)
		}
	}
	for i := range s.Hosts {
		took(s.Hosts[i].LastSuccess, s.Hosts[i].Upstream)
	}
	for name, way := range v.Ways() { // an upstream that keeps mail has no hosts
		took(way.Success, name)
	}
	r := v.Report()
	sum := r.Sum()
	for _, k := range kinds {
		n := k.of(sum.Last)
		t := tile{Name: k.name, Value: number(n)}
		if usual, ok := r.LastHour(sum.Hours, k.of); ok {
			t.Usual, t.Outside = rangeWords(usual), usual.Outside(float64(n))
			t.Words = outsideWords(t.Outside)
		}
		p.Tiles = append(p.Tiles, t)
	}
	v.day(p, &r, &sum)
	return p
}

func rangeWords(r tally.Range) string {
	low, high := number(int(math.Floor(r.Low))), number(int(math.Ceil(r.High)))
	if low == high {
		return "usually " + low
	}
	return "usually " + low + " to " + high
}

func outsideWords(outside int) string {
	return map[int]string{1: "far above what is usual", -1: "far below what is usual"}[outside]
}

// shownHours is how many hours the picture of the day has.
const shownHours = 24

// day draws the last 24 hours against what is usual.
func (v *visit) day(p *nowPart, r *tally.Report, sum *tally.Stream) {
	bars := make([]chart.Bar, shownHours)
	first := tally.Kept - shownHours
	most, total := 0.0, tally.Count{}
	var odd []string
	for i := range bars {
		c := sum.Hours[first+i]
		total = total.Plus(c)
		bars[i].Parts = [3]int{int(c.Relayed), int(c.Deferred), int(c.Refused)}
		most = max(most, float64(c.All()))
		usual, ok := tally.Usual(sum.Hours, r.BeginIndex(), first+i, tally.Count.All)
		if !ok {
			continue
		}
		p.Usual = true
		bars[i].Band = chart.Band{Low: usual.Low, High: usual.High, Known: true}
		most = max(most, usual.High)
		outside := usual.Outside(float64(c.All()))
		if i == shownHours-1 && outside < 0 { // this hour is not over
			continue
		}
		if outside != 0 {
			odd = append(odd, fmt.Sprintf("%s %s with %s", v.hourName(r.First()+tally.Hour(first+i)), outsideWords(outside), number(c.All())))
		}
	}
	top := chart.Top(most)
	p.Day, p.DayTop = chart.Bars(bars, float64(top)), number(top)
	p.DaySays = fmt.Sprintf("The last 24 hours by hour: %s recipients relayed, %s deferred, %s refused.", number(total.Relayed), number(total.Deferred), number(total.Refused))
	if len(odd) > 0 {
		p.DaySays += " " + strings.Join(odd, "; ") + "."
	}
	for i := 0; i < shownHours; i += 6 {
		p.DayHours = append(p.DayHours, (r.First() + tally.Hour(first+i)).Time().Local().Format("15:04"))
	}
	if r.Begin > r.First()+tally.Hour(first) {
		p.Begun = begunWords(r)
	}
}

// begunWords say since when mail is counted.
func begunWords(r *tally.Report) string {
	if r.Begin > tally.HourOf(r.Now) {
		return "Mail is counted since less than an hour."
	}
	return "Mail is counted since " + r.Begin.Time().Local().Format("Jan 2, 15:04") + "."
}

// hourName is such as "Tue 14:00".
func (c *Console) hourName(h tally.Hour) string { return h.Time().Local().Format("Mon 15:04") }
