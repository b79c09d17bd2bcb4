package console

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/internal/api"
	"postern/outlier"
	"postern/reputation"
)

// needsPart is what waits for somebody.
type needsPart struct {
	Count      int
	Conditions []conditionItem
	Restricted []restrictedItem
	Listings   []listingItem
	Paused     []pausedItem
	Act        bool   // the visitor may do something about it
	Form       string // token of forms
	More       int    // that are suspended or throttled and not shown
	Problem    string
}

// fail keeps the first fault, to be told beside what is known.
func (p *needsPart) fail(err error) {
	if err != nil && p.Problem == "" {
		p.Problem = clean(err.Error())
	}
}

// conditionItem is something that is wrong.
type conditionItem struct {
	Bad          bool
	Text, Remedy string
	Since        *moment
}

// restrictedItem is somebody who is suspended or throttled.
type restrictedItem struct {
	ID           string // for the page
	Scope, Name  string // as the watch has them, for the form
	Kind, Shown  string // for people
	Client       string
	User         string // of a sender as a user sends with it
	State        string
	Suspended    bool
	Reason, By   string
	Since, Until *moment
	History      []int
}

// listingItem is a target that is listed.
type listingItem struct {
	Number   string
	Target   string
	Streams  string
	Since    *moment
	Sources  []string
	Text     string
	Suspect  string
	Why      string
	Steps    []string
	FixFirst []string
}

// pausedItem is a stream that a listing has stopped.
type pausedItem struct {
	ID, Stream string
	Name       string // for the form
	Until      *moment
}

// shownInBrief bounds how many are shown on the page with all the rest, shownOfAll on their own
// page.
const (
	shownInBrief = 5
	shownOfAll   = 500
)

func (v *visit) needs() *needsPart {
	if v.waiting != nil {
		return v.waiting
	}
	p := &needsPart{Act: v.mayAct(), Form: v.sessions.formToken(v.session)}
	v.waiting = p
	s := v.State()
	if !v.isOwner() {
		for _, c := range s.Conditions {
			p.Conditions = append(p.Conditions, conditionItem{Bad: c.Bad, Text: v.words(c.Text), Remedy: v.words(c.Remedy), Since: v.moment(c.Since)})
		}
		listings, err := v.api.Listings(v.request.Context(), api.ListingsQuery{Open: true})
		p.fail(err)
		for i := range listings.Items {
			p.Listings = append(p.Listings, v.listing(&listings.Items[i]))
		}
		for _, st := range s.Streams {
			if !st.Paused.IsZero() {
				p.Paused = append(p.Paused, pausedItem{"paused-" + strconv.Itoa(len(p.Paused)), clean(st.Name), st.Name, v.moment(st.Paused)})
			}
		}
	}
	if !v.isOwner() {
		v.otherNodes(p)
	}
	all, err := v.api.Suspensions(v.request.Context(), api.SuspensionsQuery{State: outlier.Throttled, PageQuery: api.PageQuery{Limit: shownOfAll}})
	p.fail(err)
	shown := shownInBrief
	if v.request.URL.Path == "/needs" {
		shown = shownOfAll
	}
	restricted := slices.DeleteFunc(all.Items, func(s outlier.State) bool { return s.Shadow })
	slices.SortStableFunc(restricted, func(a, b outlier.State) int { return int(b.Level) - int(a.Level) })
	for i := range restricted[:min(len(restricted), shown)] {
		p.Restricted = append(p.Restricted, v.restrictedItem(&restricted[i], i))
	}
	count := max(all.Total, len(restricted))
	p.More = count - len(p.Restricted)
	p.Count = len(p.Conditions) + count + len(p.Listings) + len(p.Paused)
	return p
}

// words is a text in which receivers may be quoted.
func (v *visit) words(s string) string {
	if v.Masked() {
		s = api.MaskText(s)
	}
	return clean(s)
}

func (v *visit) restrictedItem(s *outlier.State, i int) restrictedItem {
	h := restrictedItem{
		ID: "held-" + strconv.Itoa(i), Scope: s.Scope, Name: s.Name, Kind: s.Scope, Shown: clean(s.Name), Client: clean(s.Client), State: "throttled",
		Suspended: s.Level == outlier.Suspended, Reason: v.words(s.Reason), By: clean(s.By), Since: v.moment(s.Since), Until: v.moment(s.Until),
		History: v.Data.History(s.Scope, s.Name),
	}
	h.Kind = strings.ToUpper(h.Kind[:1]) + h.Kind[1:]
	if h.Suspended {
		h.State = "suspended"
	}
	switch s.Scope {
	case outlier.UserSender:
		user, sender := outlier.Names(s.Name)
		h.Kind, h.User, h.Shown = "Sender", clean(user), clean(sender)
	case outlier.Client:
		h.Client = ""
	}
	return h
}

func (v *visit) listing(l *reputation.Listing) listingItem {
	item := listingItem{
		Number: strconv.Itoa(l.ID), Target: clean(l.Target.Name), Streams: clean(strings.Join(l.Streams, ", ")), Since: v.moment(l.Opened),
		Steps: v.all(l.Delist), FixFirst: v.all(l.FixFirst),
	}
	for i := range l.Evidence {
		if e := &l.Evidence[i]; e.Ended.IsZero() && !e.Hearsay {
			if source := clean(e.Source); !slices.Contains(item.Sources, source) && len(item.Sources) < 5 {
				item.Sources = append(item.Sources, source)
			}
			item.Text = v.words(e.Text)
		}
	}
	if len(l.Suspects) > 0 {
		s := &l.Suspects[0]
		item.Suspect = clean(fmt.Sprintf("%s %s", s.Kind, s.Name))
		item.Why = v.words(strings.Join(s.Why, "; "))
	}
	return item
}

func (v *visit) all(texts []string) (out []string) {
	for _, t := range texts {
		out = append(out, v.words(t))
	}
	return out
}
