package console

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/api"
	"postern/internal/find"
	"postern/mail"
)

// pageSize is how many messages are shown, of each way to read what was asked.
const pageSize = 50

// search is the form to find a message, with what it found.
type search struct {
	Any                              string // whatever it is: address, id, code
	From, To, MessageID, Queue, Code string
	Class, Since                     string
	After, Before                    string // of the form, local times
	Classes                          []mail.Class
	Detailed                         bool // more than Any is asked
	Asked                            bool

	Problem string
	Groups  []group
	Took    string
}

// group is what one way to read the question has found.
type group struct {
	Title string
	Rows  []foundRow
	Older string // link to those behind
	Why   string // why there may be more than is shown
}

// foundRow is one message that was found.
type foundRow struct {
	ID, Client     string
	Node           string // another one that has it
	At             *moment
	From, To, More string
	Outcome        string
	Code           string
	Rule, Class    string
	Reply          string
}

// sinces are the times that the form offers.
var sinces = [...]struct {
	Value, Words string
	For          time.Duration
}{
	{"", "any time", 0}, {"1h", "the last hour", time.Hour}, {"1d", "the last 24 hours", 24 * time.Hour},
	{"7d", "the last 7 days", 7 * 24 * time.Hour}, {"30d", "the last 30 days", 30 * 24 * time.Hour},
}

// Sinces are the times that the form offers.
func (s *search) Sinces() any { return sinces }

func newSearch() *search { return &search{Classes: mail.ReplyClasses()} }

// findPage looks for messages.
func (c *Console) findPage(w http.ResponseWriter, v *visit) {
	s := newSearch()
	s.read(v.request.URL.Query())
	if s.Asked {
		v.search(s, v.request.URL.Query())
	}
	c.show(w, http.StatusOK, "find.html", v.frame("Find a message", s))
}

func (s *search) read(q url.Values) {
	get := func(key string) string { return typed(q.Get(key)) }
	s.Any, s.From, s.To, s.MessageID, s.Queue, s.Code = get("q"), get("from"), get("to"), get("message-id"), get("queue-id"), get("code")
	s.Class, s.Since, s.After, s.Before = get("class"), get("since"), get("after"), get("before")
	s.Detailed = s.From+s.To+s.MessageID+s.Queue+s.Code+s.Class+s.After+s.Before != ""
	s.Asked = s.Detailed || s.Any != "" || s.Since != ""
}

// asked is one query of the journal, with what it is about.
type asked struct {
	title string
	api.EventsQuery
	form url.Values // that asks for the same
}

// queries are what is asked of the journal: what Any is can be told by looking only.
func (s *search) queries(form url.Values, now time.Time) ([]asked, error) {
	base := asked{form: url.Values{}, EventsQuery: api.EventsQuery{From: s.From, To: s.To, MessageID: s.MessageID, QueueID: s.Queue, Code: s.Code, Class: mail.Class(s.Class)}}
	base.Cursor, base.Limit = typed(form.Get("cursor")), pageSize
	for key, values := range form {
		if key != "q" && key != "cursor" && values[0] != "" {
			base.form.Set(key, typed(values[0]))
		}
	}
	for _, since := range sinces {
		if since.For > 0 && since.Value == s.Since {
			base.EventsQuery.Since = now.Add(-since.For)
		}
	}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{s.After, &base.EventsQuery.Since}, {s.Before, &base.Until}} {
		var err error
		if t.text == "" {
			continue
		}
		if *t.to, err = time.ParseInLocation("2006-01-02T15:04", t.text, time.Local); err != nil {
			return nil, fmt.Errorf("%q is no time; write it as 2026-11-28T23:08", t.text)
		}
	}
	return ways(base, s.Any), nil
}

var codeForm = regexp.MustCompile(`^(?:[245][0-9][0-9]|[245](?:xx|yz)|[245]\.[0-9]{1,3}\.[0-9]{1,3})$`)

// ways are those to read a text: an address is one of a recipient, of a sender, or a
// Message-ID; all else is an id, a code or a class.
func ways(base asked, text string) (all []asked) {
	add := func(title, key string, set func(*api.EventsQuery)) {
		q := base
		q.title, q.form = title, maps.Clone(base.form)
		q.form.Set(key, text)
		set(&q.EventsQuery)
		all = append(all, q)
	}
	switch _, wrong := find.Address(text); {
	case text == "":
		return []asked{base}
	case slices.Contains(mail.ReplyClasses(), mail.Class(text)):
		add("Refused as "+text, "class", func(q *api.EventsQuery) { q.Class = mail.Class(text) })
	case codeForm.MatchString(strings.ToLower(text)):
		add("With code "+text, "code", func(q *api.EventsQuery) { q.Code = text })
	case text == "<>":
		add("With the null reverse-path", "from", func(q *api.EventsQuery) { q.From = text })
	case wrong == nil:
		add("To "+text, "to", func(q *api.EventsQuery) { q.To = text })
		add("From "+text, "from", func(q *api.EventsQuery) { q.From = text })
		fallthrough
	case strings.Contains(text, "@"):
		if text[0] != '@' {
			add("With Message-ID "+text, "message-id", func(q *api.EventsQuery) { q.MessageID = text })
		}
	default:
		add("With queue id "+text, "queue-id", func(q *api.EventsQuery) { q.QueueID = text })
		add("With Message-ID "+text, "message-id", func(q *api.EventsQuery) { q.MessageID = text })
	}
	return all
}

// search fills in what is found.
func (v *visit) search(s *search, form url.Values) {
	begin := v.Console.now()
	queries, err := s.queries(form, begin)
	if err == nil && len(queries) == 0 {
		err = errors.New("this is no address, id, code or class")
	}
	others := make([]<-chan []group, len(queries))
	for i := range queries {
		others[i] = v.otherEvents(&queries[i])
	}
	add := func(groups ...group) {
		for _, g := range groups {
			if len(g.Rows) > 0 || g.Why != "" {
				s.Groups = append(s.Groups, g)
			}
		}
	}
	for i := 0; i < len(queries) && err == nil; i++ {
		var g group
		g, err = v.group(&queries[i])
		add(g)
	}
	for i := range others {
		add(<-others[i]...)
	}
	if err != nil {
		s.Problem, s.Groups = clean(err.Error()), nil
		return
	}
	s.Took = fmt.Sprintf("%.2f s", v.Console.now().Sub(begin).Seconds())
}

func (v *visit) group(q *asked) (g group, err error) {
	page, err := v.api.Events(v.request.Context(), q.EventsQuery)
	if err != nil {
		return g, err
	}
	g.Title, g.Why = clean(q.title), v.words(page.Why)
	for i := range page.Items {
		g.Rows = append(g.Rows, v.foundRow(&page.Items[i], q.To))
	}
	if page.Next != "" {
		q.form.Set("cursor", page.Next)
		g.Older = "/find?" + q.form.Encode()
	}
	return g, nil
}

// foundRow tells a message in short: how it ended for the recipient that was asked for,
// else for all.
func (v *visit) foundRow(e *mail.Event, to string) foundRow {
	r := foundRow{
		ID: clean(e.ID), Client: clean(cmp.Or(e.Client, "no client")), At: v.moment(e.Time), From: clean(e.From), Outcome: clean(e.Outcome), Rule: clean(e.Rule),
		Class: clean(string(e.Class)), Reply: v.words(e.Reply),
	}
	code, status := e.Code, e.Status
	if len(e.To) > 0 {
		i := find.Recipient(e, to)
		t := &e.To[max(0, i)]
		r.To = clean(t.Address)
		if len(e.To) > 1 {
			r.More = number(len(e.To)-1) + " more"
		}
		if i >= 0 {
			r.Outcome, r.Rule, r.Class, code, status = clean(t.Outcome), clean(t.Rule), clean(string(t.Class)), t.Code, t.Status
			r.Reply = v.words(cmp.Or(t.Reply, e.Reply))
		}
	}
	if code > 0 {
		r.Code = strings.TrimSpace(strconv.Itoa(code) + " " + clean(status))
		r.Reply = strings.TrimPrefix(strings.TrimPrefix(r.Reply, strconv.Itoa(code)+" "), clean(status)+" ")
	}
	return r
}
