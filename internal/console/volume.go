package console

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"time"

	"postern/internal/console/chart"
	"postern/internal/tally"
)

const (
	shownDays    = 7
	shownStreams = 4
	shownOdd     = 5
	shownDots    = 6 // the latest of a stream
)

// volumePart is the mail of seven days by hour and stream.
type volumePart struct {
	Streams []streamVolume
	Days    []string       // labels
	More    []streamVolume // whose pictures are not shown
	Begun   string         // since when mail is counted, where that is less than is shown
	Usual   bool
}

// streamVolume is one stream.
type streamVolume struct {
	Name, Total string
	Picture     template.HTML
	Top         string
	Says        string
	Odd         []oddHour
	OddMore     int
	Link        string // to its numbers
}

// oddHour is an hour far from what is usual.
type oddHour struct{ Link, Words string }

func (v *visit) volume() *volumePart {
	p := &volumePart{}
	if v.isOwner() {
		return p
	}
	r := v.Report()
	days := daysUntil(r.Now)
	for _, d := range days {
		p.Days = append(p.Days, d.Format("Mon 2"))
	}
	streams := slices.Clone(r.Streams)
	totals := map[string]int{}
	for i := range streams {
		for _, c := range streams[i].Hours[tally.Kept-shownDays*24:] {
			totals[streams[i].Name] += c.All()
		}
	}
	slices.SortStableFunc(streams, func(a, b tally.Stream) int { return cmp.Compare(totals[b.Name], totals[a.Name]) })
	for i := range streams {
		if i < shownStreams {
			p.Streams = append(p.Streams, v.streamVolume(p, &r, &streams[i], days, totals[streams[i].Name]))
		} else {
			p.More = append(p.More, streamVolume{Name: clean(streams[i].Name), Link: hoursLink(streams[i].Name)})
		}
	}
	if r.Begin.Time().After(days[0]) {
		p.Begun = begunWords(&r)
	}
	return p
}

// daysUntil are the last days, each at midnight here, today last.
func daysUntil(now time.Time) (days []time.Time) {
	y, m, d := now.Local().Date()
	for i := shownDays - 1; i >= 0; i-- {
		days = append(days, time.Date(y, m, d-i, 0, 0, 0, 0, time.Local))
	}
	return days
}

func (v *visit) streamVolume(p *volumePart, r *tally.Report, s *tally.Stream, days []time.Time, total int) streamVolume {
	out := streamVolume{Name: clean(s.Name), Total: counted(total, "recipient", "recipients"), Link: hoursLink(s.Name)}
	points := make([]chart.Point, 0, shownDays*24)
	most := 0.0
	var odd []oddHour
	for _, day := range days {
		y, m, d := day.Date()
		for hour := range 24 {
			h := tally.HourOf(time.Date(y, m, d, hour, 0, 0, 0, time.Local))
			at := int(h - r.First())
			point := chart.Point{Missing: at >= tally.Kept || h < r.Begin-1}
			if usual, ok := tally.Usual(s.Hours, r.BeginIndex(), at, tally.Count.All); ok {
				p.Usual = true
				point.Band = chart.Band{Low: usual.Low, High: usual.High, Known: true}
				most = max(most, usual.High)
				if !point.Missing {
					v.oddPoint(&point, &odd, r, s, h, usual)
				}
			}
			if !point.Missing {
				point.Value = s.Hours[at].All()
				most = max(most, float64(point.Value))
			}
			points = append(points, point)
		}
	}
	for i, left := len(points)-1, shownDots; i >= 0; i-- {
		if points[i].Link != "" {
			if left--; left < 0 {
				points[i].Link = ""
			}
		}
	}
	top := chart.Top(most)
	out.Picture, out.Top = chart.Line(points, float64(top)), number(top)
	slices.Reverse(odd)
	out.OddMore = max(0, len(odd)-shownOdd)
	out.Odd = odd[:min(len(odd), shownOdd)]
	out.Says = fmt.Sprintf("Stream %s by hour over seven days: %s.", out.Name, out.Total)
	if p.Usual {
		out.Says += " " + counted(len(odd), "hour was", "hours were") + " far from what is usual."
	}
	return out
}

// oddPoint makes a point a dot where it is far from what is usual.
func (v *visit) oddPoint(point *chart.Point, odd *[]oddHour, r *tally.Report, s *tally.Stream, h tally.Hour, usual tally.Range) {
	n := s.Hours[int(h-r.First())].All()
	outside := usual.Outside(float64(n))
	if outside == 0 || outside < 0 && h == tally.HourOf(r.Now) { // this hour is not over
		return
	}
	words := fmt.Sprintf("%s: %s, %s", v.hourName(h), number(n), rangeWords(usual))
	link := hourLink(s.Name, h)
	point.Link, point.Says = link, words
	*odd = append(*odd, oddHour{link, words})
}

// hoursLink leads to the numbers of a stream.
func hoursLink(stream string) string { return "/hours?" + url.Values{"stream": {stream}}.Encode() }

// hourLink leads to the senders of an hour.
func hourLink(stream string, h tally.Hour) string {
	return "/hour?" + url.Values{"stream": {stream}, "at": {h.Time().UTC().Format(time.RFC3339)}}.Encode()
}
