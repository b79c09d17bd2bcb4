package api

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"postern/internal/access"
	"postern/internal/find"
	"postern/mail"
)

// EventsQuery says what is looked for in the journal; what is left out is any.
type EventsQuery struct {
	From      string     `query:"from" doc:"Reverse-path in any spelling; @example.org is all of a domain, <> the null one."`
	To        string     `query:"to" doc:"Recipient, or @domain."`
	MessageID string     `query:"message_id" doc:"Message-ID, with or without angle brackets."`
	QueueID   string     `query:"queue_id" doc:"The id that the upstream gave it in its reply, or ours."`
	Code      string     `query:"code" doc:"Code of the reply: 550, 5.7.1 or 4xx."`
	Class     mail.Class `query:"class" doc:"Class of the upstream's refusal, such as no-such-user."`
	Client    string     `query:"client" doc:"Client of the configuration."`
	Since     time.Time  `query:"since" doc:"From this time on (RFC 3339)."`
	Until     time.Time  `query:"until" doc:"Until this time (RFC 3339)."`
	PageQuery
}

// EventsPage is some transactions, the newest first. There is no total: nobody counts
// what is not shown.
type EventsPage struct {
	Items []mail.Event `json:"items"` // never null
	Next  string       `json:"next,omitempty"`
	// Complete is false where the search ended by its time, or a packed journal holds
	// more than fits: there may be more than is shown.
	Complete bool `json:"complete"`
	// Why says why it is not complete.
	Why string `json:"why,omitempty"`
}

const (
	// searchTime bounds one search, searchWait the wait for those of others.
	searchTime = 10 * time.Second
	searchWait = 5 * time.Second
	// slack is how far apart two lines of a journal may stand out of their order.
	slack = 10 * time.Second
	// maxEvents bounds a page: an event may have many recipients.
	maxEvents = 200
	// maxOctets bounds the lines of a page.
	maxOctets = 8 << 20
)

var errBusy = problem(http.StatusServiceUnavailable, "busy", "others search the journal just now; try again")

// enter waits for the one place at the journal; leave must be called.
func (a *API) enter(ctx context.Context) (leave func(), err error) {
	timer := time.NewTimer(searchWait)
	defer timer.Stop()
	select {
	case a.search <- struct{}{}:
		return func() { <-a.search }, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	busy := *errBusy
	busy.wait = searchWait
	return nil, &busy
}

// search is find.Search on a thread that yields to mail.
func search(ctx context.Context, files []string, look find.Query, hit func([]byte, *mail.Event) error) (stats find.Stats, err error) {
	err = find.Aside(func() (err error) {
		stats, err = find.Search(ctx, files, look, hit)
		return err
	})
	return stats, err
}

func (a *API) events(ctx context.Context, q EventsQuery) (p EventsPage, err error) {
	p.Items, p.Complete = []mail.Event{}, true
	of := q
	of.PageQuery = PageQuery{}
	limit, at, err := q.begin(of)
	if err != nil {
		return p, err
	}
	look, err := a.lookFor(access.Of(ctx), &q)
	if err != nil {
		return p, err
	}
	leave, err := a.enter(ctx)
	if err != nil {
		return p, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	s := eventSearch{page: &p, limit: min(limit, maxEvents), at: at, masked: access.Of(ctx).Masked()}
	return p, s.run(ctx, a.parts.Journals(), look)
}

// lookFor makes a query of the journal. An owner finds mail of his client.
func (a *API) lookFor(id access.Caller, q *EventsQuery) (look find.Query, err error) {
	if len(a.parts.Journals()) == 0 {
		return look, conflict("the relay keeps no journal; set journal.file")
	}
	look = find.Query{MessageID: q.MessageID, QueueID: q.QueueID, Code: q.Code, Class: q.Class, Client: q.Client, Since: q.Since, Until: q.Until}
	for _, address := range []struct {
		key, text string
		to        *string
	}{{"from", q.From, &look.From}, {"to", q.To, &look.To}} {
		if address.text == "" {
			continue
		}
		if *address.to, err = find.Address(address.text); err != nil {
			return look, invalid("%s: %v", address.key, err)
		}
	}
	if id.Role == access.Owner {
		if look.Client != "" && look.Client != id.Client {
			return look, forbidden("client %s is not yours", look.Client)
		}
		look.Client = id.Client
	}
	if look.Until.IsZero() {
		look.Until = a.parts.Now().Add(time.Minute) // something must be asked for
	}
	if err := look.Check(); err != nil {
		return look, invalid("%v", err)
	}
	return look, nil
}

// eventSearch fills one page.
type eventSearch struct {
	page   *EventsPage
	limit  int
	at     cursor
	masked bool
	octets int
	file   int  // the journal of the last item
	found  bool // the event that the page before ended with, or a place behind it
	full   bool
}

func (s *eventSearch) run(ctx context.Context, journals []string, look find.Query) error {
	for file := s.at.File; file < len(journals) && !s.full; file++ {
		files, err := find.Files(journals[file])
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fault(err)
		}
		look := look
		s.found = s.at.After == "" || file > s.at.File
		if end := time.Unix(0, s.at.Time).Add(slack); !s.found && end.Before(look.Until) {
			look.Until = end
		}
		s.at.File = file
		stats, err := search(ctx, files, look, s.hit)
		for range stats.Cut {
			s.partly("a packed journal holds more than fits; until finds what is older")
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			s.partly("the search took longer than " + searchTime.String() + "; since or until makes it shorter")
			s.goOn()
			return nil
		case err != nil:
			return fault(err)
		}
	}
	return nil
}

func (s *eventSearch) partly(why string) { s.page.Complete, s.page.Why = false, why }

// hit takes an event in, and ends the search when one more is there than fits.
func (s *eventSearch) hit(line []byte, e *mail.Event) error {
	end := e.Time.Add(e.Duration)
	if !s.found {
		if e.ID == s.at.After {
			s.found = true
			return nil
		}
		if end.After(time.Unix(0, s.at.Time).Add(-slack)) {
			return nil
		}
		s.found = true // it is gone from the journal
	}
	if len(s.page.Items) == s.limit || s.octets > maxOctets {
		s.goOn()
		s.full = true
		return find.ErrEnough
	}
	s.octets, s.file = s.octets+len(line), s.at.File
	if s.masked {
		MaskEvent(e)
	}
	s.page.Items = append(s.page.Items, *e)
	return nil
}

// goOn lets the next page begin behind the last item.
func (s *eventSearch) goOn() {
	if len(s.page.Items) == 0 {
		return
	}
	last := &s.page.Items[len(s.page.Items)-1]
	s.page.Next = cursor{After: last.ID, Time: last.Time.Add(last.Duration).UnixNano(), Query: s.at.Query, File: s.file}.String()
}

// EventQuery names a transaction.
type EventQuery struct {
	ID string `path:"id" doc:"Our id, as in the log line and in Received."`
}

func (a *API) event(ctx context.Context, q EventQuery) (found mail.Event, err error) {
	look, err := a.lookFor(access.Of(ctx), &EventsQuery{QueueID: q.ID})
	if err != nil {
		return found, err
	}
	leave, err := a.enter(ctx)
	if err != nil {
		return found, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	masked := access.Of(ctx).Masked()
	for _, journal := range a.parts.Journals() {
		files, err := find.Files(journal)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return found, fault(err)
		}
		_, err = search(ctx, files, look, func(_ []byte, e *mail.Event) error {
			if e.ID != q.ID {
				return nil
			}
			found = *e
			return find.ErrEnough
		})
		switch {
		case err != nil:
			return found, fault(err)
		case found.ID != "":
			if masked {
				MaskEvent(&found)
			}
			return found, nil
		}
	}
	return found, missing("the journal has no transaction %q", q.ID)
}
