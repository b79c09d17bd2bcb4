package api

import (
	"context"
	"slices"
	"strings"

	"postern/internal/access"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
)

// LimitsQuery chooses budgets; what is left out of the filter is any. A sender also
// finds the budgets of its domain, and those that its domain shares.
type LimitsQuery struct {
	ratelimit.Filter
	PageQuery
}

func (a *API) limits(ctx context.Context, q LimitsQuery) (p Page[ratelimit.Usage], err error) {
	if err := a.knownLimit(q.Filter.Limit); q.Filter.Limit != "" && err != nil {
		return p, err
	}
	if err := wholeSubmitter(q.Submitter); err != nil {
		return p, err
	}
	list, err := a.parts.Limiter.Show(ctx, q.Filter, 0)
	if err != nil {
		return p, fault(err)
	}
	id := access.Of(ctx)
	list = slices.DeleteFunc(list, func(u ratelimit.Usage) bool { return !a.mayReadKey(id, u.Key) })
	return pageOf(list, func(u *ratelimit.Usage) string { return keyOf(u.Limit, u.Key, u.Stream) }, q.PageQuery, q.Filter)
}

// wholeSubmitter says what is wrong with the name of a submitter; nil where none is named.
// Without its client it would be nobody, of whom there is nothing to show.
func wholeSubmitter(name string) error {
	if name != "" && !strings.Contains(name, "/") {
		return invalid("%q has no client, and two clients may both have a submitter of that name; write CLIENT/NAME", name)
	}
	return nil
}

// knownLimit says why the configuration has no such limit.
func (a *API) knownLimit(name string) error {
	names := a.parts.Limiter.Limits().Names()
	if slices.Contains(names, name) {
		return nil
	}
	return missing("no limit %q; there are: %s", name, strings.Join(names, ", "))
}

// mayReadKey reports whether somebody may see a budget: an owner those of his client, and
// of the senders and users that belong to it alone.
func (a *API) mayReadKey(id access.Caller, key string) bool {
	if id.Role != access.Owner {
		return true
	}
	f, ok := ratelimit.FilterOf(key)
	switch {
	case !ok:
		return false
	case f.Client != "":
		return f.Client == id.Client
	case f.Submitter != "":
		return a.owns(id.Client, outlier.Mailbox, f.Submitter)
	case f.Sender != "":
		return a.owns(id.Client, outlier.Sender, string(f.Sender))
	}
	return f.User != "" && a.owns(id.Client, outlier.User, f.User)
}

// ExplainQuery is one message.
type ExplainQuery struct {
	Client      string           `query:"client" doc:"Name of the client that sends."`
	User        string           `query:"user" doc:"SASL user."`
	ClientIP    string           `query:"client_ip" doc:"Address of the client."`
	Submitter   string           `query:"submitter" doc:"Who has submitted it to the client, as CLIENT/NAME."`
	SubmitterIP string           `query:"submitter_ip" doc:"Address of the submitter, as the client tells it."`
	From        mail.Identity    `query:"from" doc:"Reverse-path, or <>."`
	To          mail.RecipientID `query:"to" doc:"Recipient."`
	PageQuery
}

func (a *API) explainLimits(ctx context.Context, q ExplainQuery) (p Page[ratelimit.Explanation], err error) {
	id := access.Of(ctx)
	switch {
	case q.Client == "" || q.From == "" || q.To == "":
		return p, invalid("client, from and to are needed")
	case id.Role == access.Owner && q.Client != id.Client:
		return p, forbidden("client %s is not yours", q.Client)
	}
	if err := wholeSubmitter(q.Submitter); err != nil {
		return p, err
	}
	facts := ratelimit.Facts{Client: q.Client, User: q.User, ClientIP: q.ClientIP, Submitter: q.Submitter, SubmitterIP: q.SubmitterIP, Sender: q.From}
	if err := a.parts.Complete(&facts); err != nil {
		return p, missing("%v", err)
	}
	list, err := a.parts.Limiter.Explain(ctx, facts, ratelimit.Recipient{Address: q.To})
	if err != nil {
		return p, fault(err)
	}
	for i := range list {
		if x := &list[i]; x.Applies && !a.mayReadKey(id, x.Key) {
			x.Key, x.Windows, x.Top, x.Use = "", nil, nil, 0 // what others share with the client
		}
	}
	of := q
	of.PageQuery = PageQuery{}
	return pageOf(list, func(x *ratelimit.Explanation) string { return keyOf(x.Limit, x.Key, x.Stream) }, q.PageQuery, of)
}

// MayReadKey reports whether somebody may see the budget of a key, for who keeps a list
// of budgets for several.
func (a *API) MayReadKey(id access.Caller, key string) bool { return a.mayReadKey(id, key) }
