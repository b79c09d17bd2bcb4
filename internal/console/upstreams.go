package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/tally"
)

// upstreamsPart is how upstreams answer.
type upstreamsPart struct {
	Rows    []upstreamRow
	Problem string // why groups of receivers are missing
}

// upstreamRow is one upstream.
type upstreamRow struct {
	Name    string
	Node    string // another one; "": this one
	Streams string
	Hosts   []hostRow
	Groups  []groupRow
	More    string // of groups that are not shown
	Replies []replyRow
	P50     string
	P99     string
	Last    *refusal
}

type hostRow struct {
	Name      string
	Up        bool
	Tried     bool // it was spoken with
	Since     *moment
	Success   *moment
	Failure   *moment
	LastError string
	Use       string // of connections; "": none
}

type replyRow struct {
	Class, Words, Count string
}

type refusal struct {
	ID, Code, Text string
	At             *moment
}

func (v *visit) upstreams() *upstreamsPart {
	p := &upstreamsPart{}
	if v.isOwner() {
		return p
	}
	s := v.State()
	ways := v.Ways()
	of := func(name string) *upstreamRow {
		if i := slices.IndexFunc(p.Rows, func(r upstreamRow) bool { return r.Name == name }); i >= 0 {
			return &p.Rows[i]
		}
		p.Rows = append(p.Rows, v.upstreamRow(name, ways[name]))
		return &p.Rows[len(p.Rows)-1]
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		row := of(h.Upstream)
		row.Hosts = append(row.Hosts, v.hostRow(h))
	}
	for _, st := range s.Streams {
		row := of(st.Upstream)
		if row.Streams != "" {
			row.Streams += ", "
		}
		row.Streams += clean(st.Name)
		if st.Capture {
			row.Streams += " (keeps mail, sends nothing)"
		}
	}
	v.ownGroups(p, of)
	v.otherUpstreams(p)
	return p
}

func (v *visit) hostRow(h *Host) hostRow {
	use := ""
	if h.Connections+h.Idle > 0 {
		use = fmt.Sprintf("%d of %s, %d in use", h.Connections+h.Idle, counted(h.Max, "connection", "connections"), h.Connections)
	}
	return hostRow{
		Use:  use,
		Name: clean(h.Host), Up: h.Up, Tried: !h.Up || !h.LastSuccess.IsZero(), Since: v.moment(h.Since), Success: v.moment(h.LastSuccess),
		Failure: v.moment(h.LastFailure), LastError: v.words(h.LastError),
	}
}

func (v *visit) upstreamRow(name string, w tally.UpstreamUse) upstreamRow {
	r := upstreamRow{Name: name, P50: took(w.P50), P99: took(w.P99)}
	for _, reply := range w.Replies {
		words := strings.TrimSpace(reply.Class + " " + clean(reply.Status))
		if reply.Status != "" && reply.Status != "other" {
			words = clean(reply.Status)
		}
		r.Replies = append(r.Replies, replyRow{Class: reply.Class[:1], Words: words, Count: number(reply.Count)})
	}
	if !w.Last.Time.IsZero() {
		r.Last = &refusal{ID: w.Last.ID, Code: number(w.Last.Code), Text: v.words(w.Last.Text), At: v.moment(w.Last.Time)}
	}
	return r
}

// took is a time that something took.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
