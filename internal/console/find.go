package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/find"
	"postern/mail"
)

const (
	pageSize = 50
	maxPages = 40
	// searchFor bounds a search, and the wait for the one before it.
	searchFor = 20 * time.Second
)

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
	Rows    []foundRow
	First   int // number of the first row
	Newer   string
	Older   string
	Took    string
	Cut     bool
}

// foundRow is one message that was found.
type foundRow struct {
	ID, Client     string
	At             *moment
	From, To, More string
	Outcome        string
	Code           string
	Rule, Class    string
	Reply          string
	event          *mail.Event
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

// queries are what is asked of the journal: what Any is can be told by looking only.
func (s *search) queries(now time.Time) ([]find.Query, error) {
	base := find.Query{MessageID: s.MessageID, QueueID: s.Queue, Code: s.Code, Class: mail.Class(s.Class)}
	var err error
	address := func(to *string, name, text string) {
		if text != "" && err == nil {
			if *to, err = find.Address(text); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	address(&base.From, "sender", s.From)
	address(&base.To, "recipient", s.To)
	for _, since := range sinces {
		if since.For > 0 && since.Value == s.Since {
			base.Since = now.Add(-since.For)
		}
	}
	local := func(to *time.Time, text string) {
		if text != "" && err == nil {
			if *to, err = time.ParseInLocation("2006-01-02T15:04", text, time.Local); err != nil {
				err = fmt.Errorf("%q is no time; write it as 2026-11-28T23:08", text)
			}
		}
	}
	local(&base.Since, s.After)
	local(&base.Until, s.Before)
	if err != nil {
		return nil, err
	}
	all := anyQueries(base, s.Any)
	for _, q := range all {
		if err := q.Check(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var codeForm = regexp.MustCompile(`^(?:[245][0-9][0-9]|[245](?:xx|yz)|[245]\.[0-9]{1,3}\.[0-9]{1,3})$`)

// anyQueries are the ways to read a text: an address is one of a sender, of a recipient or
// a Message-ID, all else an id, a code or a class.
func anyQueries(base find.Query, text string) []find.Query {
	with := func(set func(*find.Query)) find.Query {
		q := base
		set(&q)
		return q
	}
	switch {
	case text == "":
		return []find.Query{base}
	case slices.Contains(mail.ReplyClasses(), mail.Class(text)):
		return []find.Query{with(func(q *find.Query) { q.Class = mail.Class(text) })}
	case codeForm.MatchString(strings.ToLower(text)):
		return []find.Query{with(func(q *find.Query) { q.Code = text })}
	case strings.Contains(text, "@") || text == "<>":
		var all []find.Query
		if a, err := find.Address(text); err == nil {
			all = append(all, with(func(q *find.Query) { q.To = a }), with(func(q *find.Query) { q.From = a }))
		}
		if text != "<>" && text[0] != '@' {
			all = append(all, with(func(q *find.Query) { q.MessageID = text }))
		}
		return all
	}
	return []find.Query{with(func(q *find.Query) { q.QueueID = text }), with(func(q *find.Query) { q.MessageID = text })}
}

// errBusy means that another search runs.
var errBusy = errors.New("another search is still running; try again in a moment")

// searching takes the place of the one who searches; done gives it back.
func (c *Console) searching(ctx context.Context) (done func(), err error) {
	select {
	case c.searches <- struct{}{}:
		return func() { <-c.searches }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

// search fills in what is found.
func (v *visit) search(s *search, q url.Values) {
	page, _ := strconv.Atoi(q.Get("page"))
	page = min(max(page, 0), maxPages)
	begin := v.Console.now()
	queries, err := s.queries(begin)
	var rows []foundRow
	if err == nil {
		rows, s.Cut, err = v.findRows(queries, (page+1)*pageSize+1)
	}
	if err != nil {
		s.Problem = clean(err.Error())
		return
	}
	took := v.Console.now().Sub(begin)
	s.Took = fmt.Sprintf("%.2f s", took.Seconds())
	link := func(page int) string {
		q.Set("page", strconv.Itoa(page))
		return "/find?" + q.Encode()
	}
	if len(rows) > (page+1)*pageSize {
		s.Older, rows = link(page+1), rows[:(page+1)*pageSize]
	}
	if page > 0 {
		s.Newer = link(page - 1)
	}
	s.First = min(page*pageSize, len(rows))
	s.Rows = rows[s.First:]
	s.First++
}

// findRows are up to most messages that one of the queries asks for, newest first.
func (v *visit) findRows(queries []find.Query, most int) (rows []foundRow, cut bool, err error) {
	ctx, cancel := context.WithTimeout(v.request.Context(), searchFor)
	defer cancel()
	done, err := v.searching(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	seen := map[string]bool{}
	for _, q := range queries {
		n := 0
		stats, err := v.Data.Search(ctx, q, func(e *mail.Event) error {
			if !v.sees(e.Client) {
				return nil
			}
			if n++; !seen[e.ID] {
				seen[e.ID] = true
				rows = append(rows, v.foundRow(e, q.To))
			}
			if n >= most {
				return find.ErrEnough
			}
			return nil
		})
		cut = cut || len(stats.Cut) > 0
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, cut, fmt.Errorf("nothing was found within %s; name a time, or use relay find", span(searchFor))
		}
		if err != nil {
			return nil, cut, err
		}
	}
	slices.SortStableFunc(rows, func(a, b foundRow) int { return b.At.At.Compare(a.At.At) })
	return rows[:min(len(rows), most)], cut, nil
}

// foundRow tells a message in short: how it ended for the recipient that was asked for,
// else for all.
func (v *visit) foundRow(e *mail.Event, to string) foundRow {
	r := foundRow{
		ID: e.ID, Client: clean(cmp.Or(e.Client, "no client")), At: v.moment(e.Time), From: clean(e.From), Outcome: e.Outcome, Rule: clean(e.Rule),
		Class: string(e.Class), Reply: v.words(e.Reply), event: e,
	}
	code, status := e.Code, e.Status
	if len(e.To) > 0 {
		i := max(0, find.Recipient(e, to))
		t := &e.To[i]
		r.To = v.recipient(t.Address)
		if len(e.To) > 1 {
			r.More = counted(len(e.To)-1, "more", "more")
		}
		if find.Recipient(e, to) >= 0 {
			r.Outcome, r.Rule, r.Class, code, status = t.Outcome, clean(t.Rule), string(t.Class), t.Code, t.Status
			r.Reply = v.words(cmp.Or(t.Reply, e.Reply))
		}
	}
	if code > 0 {
		r.Code = strings.TrimSpace(strconv.Itoa(code) + " " + clean(status))
		r.Reply = strings.TrimPrefix(strings.TrimPrefix(r.Reply, strconv.Itoa(code)+" "), clean(status)+" ")
	}
	return r
}

// recipient is an address as a visitor may see it.
func (v *visit) recipient(address string) string {
	if v.masks() {
		address = maskAddress(address)
	}
	return clean(address)
}
