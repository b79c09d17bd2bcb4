package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern/internal/tally"
)

// shownSenders is how many senders of an hour are shown.
const shownSenders = 100

// hourView is who sent within an hour.
type hourView struct {
	Stream, Hour string
	Said         string // how many, and what is usual
	Rows         []senderRow
	More         int
	Problem      string
	Partly       bool // not all of the hour was read
	Newer, Older string
	All          string // link to all hours
}

// senderRow is one sender of an hour.
type senderRow struct {
	Name, Client, User     string
	All, Deferred, Refused string
	Usual                  string // the most in an hour, as the watch knows it; "": unknown
	Find                   string // link to its messages
	Share                  string
}

// hourPage shows the senders of an hour.
func (c *Console) hourPage(w http.ResponseWriter, v *visit) {
	q := v.request.URL.Query()
	at, err := time.Parse(time.RFC3339, q.Get("at"))
	if err != nil || at.Year() < 2000 || at.Year() > 9999 {
		c.problem(w, v, http.StatusBadRequest, "An hour has a time such as 2026-11-28T23:00:00Z.")
		return
	}
	stream, hour := q.Get("stream"), tally.HourOf(at)
	p := &hourView{Stream: clean(stream), Hour: hour.Time().Local().Format("Monday, January 2, 15:04"), Older: hourLink(stream, hour-1)}
	if v.Console.now().After((hour + 1).Time()) {
		p.Newer = hourLink(stream, hour+1)
	}
	if !v.isOwner() {
		p.All = hoursLink(stream)
		p.Said = v.hourWords(stream, hour)
	}
	list, whole, err := v.Data.Senders(v.request.Context(), stream, v.Client, hour)
	if err != nil {
		p.Problem = clean(err.Error())
	}
	p.Partly = !whole && err == nil
	sum := 0
	for i := range list {
		sum += list[i].All()
	}
	for i := range list[:min(len(list), shownSenders)] {
		p.Rows = append(p.Rows, v.senderRow(&list[i], sum, hour))
	}
	p.More = len(list) - len(p.Rows)
	c.show(w, http.StatusOK, "hour.html", v.frame(p.Hour, p))
}

// hourWords say what a stream had in an hour, and what is usual.
func (v *visit) hourWords(stream string, hour tally.Hour) string {
	r := v.Report()
	i := slices.IndexFunc(r.Streams, func(s tally.Stream) bool { return s.Name == stream })
	at := int(hour - r.First())
	if i < 0 || at < 0 || at >= tally.Kept {
		return ""
	}
	hours := r.Streams[i].Hours
	words := counted(hours[at].All(), "recipient", "recipients")
	if usual, ok := tally.Usual(hours, r.BeginIndex(), at, tally.Count.All); ok {
		words += ", " + rangeWords(usual)
	}
	return words + "."
}

func (v *visit) senderRow(s *tally.Sender, sum int, hour tally.Hour) senderRow {
	r := senderRow{
		Name: clean(s.Name), Client: clean(s.Client), User: clean(s.User), All: number(s.All()), Deferred: number(s.Deferred), Refused: number(s.Refused),
		Share: fmt.Sprintf("%d %%", 100*s.All()/max(1, sum)),
	}
	if most := v.Data.UsualHour(s); most > 0 {
		r.Usual = number(most)
	}
	local := func(h tally.Hour) string { return h.Time().Local().Format("2006-01-02T15:04") }
	r.Find = "/find?" + url.Values{"from": {s.Name}, "after": {local(hour)}, "before": {local(hour + 1)}}.Encode()
	return r
}

// hoursView are the hours of one stream as numbers.
type hoursView struct {
	Stream string
	Rows   []hourRow
	Begun  string
}

type hourRow struct {
	Link, Hour, Relayed, Deferred, Refused, Usual string
	Outside                                       string
}

// hoursPage shows the last seven days of a stream as numbers.
func (c *Console) hoursPage(w http.ResponseWriter, v *visit) {
	stream := v.request.URL.Query().Get("stream")
	r := v.Report()
	i := slices.IndexFunc(r.Streams, func(s tally.Stream) bool { return s.Name == stream })
	if i < 0 || v.isOwner() {
		c.problem(w, v, http.StatusNotFound, "No mail of a stream "+stream+" was counted.")
		return
	}
	hours := r.Streams[i].Hours
	p := &hoursView{Stream: clean(stream)}
	for at := tally.Kept - 1; at >= max(tally.Kept-shownDays*24, r.BeginIndex()-1); at-- {
		h, n := r.First()+tally.Hour(at), hours[at]
		row := hourRow{Link: hourLink(stream, h), Hour: h.Time().Local().Format("Mon Jan 2, 15:04"), Relayed: number(n.Relayed), Deferred: number(n.Deferred), Refused: number(n.Refused)}
		if usual, ok := tally.Usual(hours, r.BeginIndex(), at, tally.Count.All); ok {
			row.Usual = rangeWords(usual)
			if outside := usual.Outside(float64(n.All())); outside > 0 || at < tally.Kept-1 {
				row.Outside = outsideWords(outside)
			}
		}
		p.Rows = append(p.Rows, row)
	}
	c.show(w, http.StatusOK, "hours.html", v.frame("Hours of stream "+p.Stream, p))
}
