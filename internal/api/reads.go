package api

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
	"postern/upstream/warmup"
)

// addReads adds the operations that change nothing.
func (a *API) addReads() {
	all, own := rights{least: access.View}, rights{access.View, true}
	a.WhoAmI = query(a, "/whoami", "whoami", "Who asks, with which role.", own, func(ctx context.Context, _ None) (access.Caller, error) { return access.Of(ctx), nil })
	a.Status = query(a, "/status", "status", "How the relay does.", all, func(ctx context.Context, _ None) (admin.Status, error) {
		return hideStatus(access.Of(ctx), a.parts.Status()), nil
	})
	a.Senders = query(a, "/senders", "senders", "Senders, users and clients with their numbers of today and their usual ones.", own, a.senders)
	a.Sender = query(a, "/senders/{name}", "sender", "All about one sender, user or client.", own, a.sender)
	a.Suspensions = query(a, "/suspensions", "suspensions", "Who is suspended or throttled, in all scopes.", own, a.suspensions)
	a.Limits = query(a, "/limits", "limits", "Budgets in use, the fullest first.", own, a.limits)
	a.ExplainLimit = query(a, "/limits/explain", "limits_explain", "What each limit would make of one message now.", own, a.explainLimits)
	a.Allowances = query(a, "/allowances", "allowances", "What is allowed beyond limits for a time.", own, a.allowances)
	a.Suppressions = query(a, "/suppressions", "suppressions", "Recipients to whom no mail is sent.", all, a.suppressions)
	a.Backoffs = query(a, "/backoffs", "backoffs", "Streams and destinations whose mail waits.", all, a.backoffs)
	a.Warmups = query(a, "/warmups", "warmups", "Budgets of source addresses that are warmed up, with each group of receivers.", all, func(ctx context.Context, q PageQuery) (p Page[warmup.Row], err error) {
		rows, err := a.parts.Warmups(ctx)
		if err != nil {
			return p, fault(err)
		}
		return pageOf(rows, func(r *warmup.Row) string { return keyOf(r.Upstream, r.Source, r.Provider) }, q, "warmups")
	})
	a.Upstreams = query(a, "/upstreams", "upstreams", "Upstream hosts.", all, func(ctx context.Context, q PageQuery) (Page[admin.UpstreamHost], error) {
		return pageOf(hideHosts(access.Of(ctx), a.parts.Status().Upstreams), func(h *admin.UpstreamHost) string { return keyOf(h.Upstream, h.Host) }, q, "upstreams")
	})
	a.Providers = query(a, "/providers", "providers", "Groups of receivers of upstreams with mx = true: connections, back-offs, and budgets of new addresses.", all, a.providers)
	a.TLS = query(a, "/tls", "tls", "How TLS with receivers went, by upstream.", all, func(_ context.Context, q PageQuery) (Page[admin.TLSUse], error) {
		return pageOf(a.parts.TLS(), func(u *admin.TLSUse) string { return u.Upstream }, q, "tls")
	})
	a.Streams = query(a, "/streams", "streams", "Streams, and which are paused.", all, func(_ context.Context, q PageQuery) (Page[admin.StreamStatus], error) {
		return pageOf(a.parts.Status().Streams, func(s *admin.StreamStatus) string { return s.Name }, q, "streams")
	})
	a.Scanners = query(a, "/scanners", "scanners", "Scanners.", all, func(_ context.Context, q PageQuery) (Page[admin.ScannerStatus], error) {
		return pageOf(a.parts.Status().Scanners, func(s *admin.ScannerStatus) string { return s.Name }, q, "scanners")
	})
	a.Listings = query(a, "/listings", "listings", "Where we are listed or were, the newest first.", all, a.listings)
	a.Listing = query(a, "/listings/{id}", "listing", "One listing.", all, a.listing)
	a.Zones = query(a, "/zones", "zones", "The blocklist zones that are asked.", all, func(_ context.Context, q PageQuery) (Page[dnsbl.ZoneStatus], error) {
		return pageOf(a.parts.Monitor.Zones(), func(z *dnsbl.ZoneStatus) string { return z.Zone }, q, "zones")
	})
	a.Findings = query(a, "/findings", "findings", "What the last run of the identity checks has found.", all, a.findings)
	a.Alerts = query(a, "/alerts", "alerts", "Conditions that hold, and how the channels of alerts do.", all, func(ctx context.Context, _ None) (admin.AlertStatus, error) {
		return hideAlerts(access.Of(ctx), a.parts.Alerts()), nil
	})
	a.Events = query(a, "/events", "events", "Transactions of the journal, the newest first.", own, a.events)
	a.Event = query(a, "/events/{id}", "event", "One transaction of the journal.", own, a.event)
	a.Config = query(a, "/config", "config", "The configuration in force; secrets are hidden.", rights{least: access.Operate}, func(context.Context, None) (map[string]any, error) {
		return a.parts.Config(), nil
	})
}

// SendersQuery chooses from what the watch knows.
type SendersQuery struct {
	Scope  string        `query:"scope" doc:"sender (also as users send with it), user+sender, user, submitter or client."`
	State  outlier.Level `query:"state" doc:"This state or a harder one: observe, brake, alert, throttle, suspend."`
	Match  string        `query:"match" doc:"Only names with this text."`
	Client string        `query:"client" doc:"Only those of this client."`
	Sort   string        `query:"sort" doc:"score, day, name, last or alarm; otherwise by state, then score."`
	Others int           `query:"others" doc:"How many at most beside those that are suspended or throttled; 0: all."`
	PageQuery
}

func (a *API) senders(ctx context.Context, q SendersQuery) (p Page[outlier.Row], err error) {
	switch {
	case q.Sort != "" && !slices.Contains(outlier.Sorts, q.Sort):
		return p, invalid("sort: %q is unknown; write one of %v", q.Sort, outlier.Sorts)
	case q.Scope != "" && !slices.Contains([]string{outlier.Sender, outlier.UserSender, outlier.User, outlier.Mailbox, outlier.Client}, q.Scope):
		return p, invalid("scope: %q is unknown; write sender, user+sender, user, submitter or client", q.Scope)
	case q.Others < 0:
		return p, invalid("others: %d is negative", q.Others)
	}
	id := access.Of(ctx)
	others := q.Others
	if others == 0 && q.Cursor == "" { // who turns no page needs no more
		limit, err := q.limit()
		if err != nil {
			return p, err
		}
		others = limit + 1
	}
	if others == 0 || q.Client != "" || id.Role == access.Owner {
		others = maxRows
	}
	rows, all, err := a.rows(ctx, outlier.Query{Scope: q.Scope, State: q.State, Match: q.Match, Sort: q.Sort, Limit: others})
	if err != nil {
		return p, err
	}
	if q.Client != "" || id.Role == access.Owner {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r outlier.Row) bool {
			return q.Client != "" && r.Client != q.Client || !a.mayRead(id, r.Scope, r.Name)
		})
		all = len(rows)
	}
	of := q
	of.PageQuery = PageQuery{}
	p, err = pageOf(rows, func(r *outlier.Row) string { return keyOf(r.Scope, r.Name) }, q.PageQuery, of)
	p.Total = all
	return p, err
}

// maxRows bounds a list of senders.
const maxRows = 1 << 20

// Named names one sender, user or client.
type Named struct {
	Name string `path:"name" doc:"An address, user:NAME, client:NAME, or a name that the configuration has."`
}

func (a *API) sender(ctx context.Context, q Named) (d admin.SenderDetail, err error) {
	scope, name, err := a.target(ctx, q.Name)
	if err != nil {
		return d, err
	}
	detail, err := a.parts.Watch.Show(scope, name)
	switch {
	case errors.Is(err, outlier.ErrUnknown):
		return d, missing("%v", err)
	case err != nil:
		return d, err
	}
	d = admin.SenderDetail{Detail: detail, Still: a.still(ctx, scope, name), Journal: a.parts.Guide.Journal()}
	if access.Of(ctx).Role == access.Owner {
		d.Journal = ""
	}
	return d, nil
}

// still is what else keeps mail of somebody from passing. The commands that end it are
// not for an owner: they need the machine.
func (a *API) still(ctx context.Context, scope, name string) []admin.Hindrance {
	list := a.parts.Guide.Still(ctx, scope, name)
	if access.Of(ctx).Role == access.Owner {
		for i := range list {
			list[i].Command = ""
		}
	}
	return list
}

// target is who is meant by a name, if whoever asks may know of him.
func (a *API) target(ctx context.Context, text string) (scope, name string, err error) {
	scope, name, err = a.parts.Guide.Target(a.parts.Watch, text)
	if err != nil {
		return "", "", missing("%v", err)
	}
	if !a.mayRead(access.Of(ctx), scope, name) {
		return "", "", forbidden("%s %s does not belong to your client alone", scope, name)
	}
	return scope, name, nil
}

// owns reports whether a sender or user belongs to one client alone, or is that client.
func (a *API) owns(client, scope, name string) bool {
	owners := a.parts.Owners(scope, name)
	return client != "" && len(owners) == 1 && owners[0] == client
}

// mayRead reports whether somebody may see what is about a sender, user or client.
func (a *API) mayRead(id access.Caller, scope, name string) bool {
	return id.Role != access.Owner || a.owns(id.Client, scope, name)
}

// SuspensionsQuery chooses from those under alarm, throttled or suspended.
type SuspensionsQuery struct {
	State outlier.Level `query:"state" doc:"throttle: also who is throttled; suspend, or missing: who is suspended."`
	PageQuery
}

func (a *API) suspensions(ctx context.Context, q SuspensionsQuery) (p Page[outlier.State], err error) {
	least := outlier.Suspended
	switch q.State {
	case outlier.Normal, outlier.Suspended:
	case outlier.Throttled:
		least = outlier.Throttled
	default:
		return p, invalid("state: write throttle or suspend")
	}
	id := access.Of(ctx)
	states := slices.DeleteFunc(a.parts.Watch.States(least), func(s outlier.State) bool { return !a.mayRead(id, s.Scope, s.Name) })
	slices.SortStableFunc(states, func(x, y outlier.State) int { return y.Since.Compare(x.Since) })
	return pageOf(states, func(s *outlier.State) string { return keyOf(s.Scope, s.Name) }, q.PageQuery, least)
}

// SuppressionsQuery chooses from the recipients to whom no mail is sent.
type SuppressionsQuery struct {
	Stream    string `query:"stream" doc:"Only those of a stream; * are those of all."`
	Recipient string `query:"recipient" doc:"Only this address, in any spelling."`
	PageQuery
}

const noSuppressions = "suppressions are not kept; set reputation.suppress_for"

func (a *API) suppressions(ctx context.Context, q SuppressionsQuery) (p Page[reputation.Suppression], err error) {
	if a.parts.Suppressions == nil {
		return p, conflict(noSuppressions)
	}
	to := mail.RecipientOf(q.Recipient)
	list := slices.DeleteFunc(a.parts.Suppressions.List(), func(s reputation.Suppression) bool {
		return q.Stream != "" && s.Stream != q.Stream || q.Recipient != "" && s.Recipient != to
	})
	of := q
	of.PageQuery = PageQuery{}
	p, err = pageOf(list, func(s *reputation.Suppression) string { return keyOf(s.Stream, string(s.Recipient)) }, q.PageQuery, of)
	if access.Of(ctx).Masked() {
		for i := range p.Items {
			s := &p.Items[i]
			s.Recipient, s.Reason = mail.RecipientID(mask(string(s.Recipient))), MaskText(s.Reason)
		}
	}
	return p, err
}

func (a *API) backoffs(ctx context.Context, q PageQuery) (p Page[reputation.BackoffEntry], err error) {
	p, err = pageOf(a.parts.Backoff.List(), func(e *reputation.BackoffEntry) string {
		return keyOf(e.Stream, e.Provider, e.Domain, e.Client, string(e.Sender))
	}, q, "backoffs")
	if access.Of(ctx).Masked() {
		for i := range p.Items {
			p.Items[i].Reply = MaskText(p.Items[i].Reply)
		}
	}
	return p, err
}

// ListingsQuery chooses from the listings.
type ListingsQuery struct {
	Open bool `query:"open" doc:"true: only those that have not ended."`
	PageQuery
}

func (a *API) listings(ctx context.Context, q ListingsQuery) (p Page[reputation.Listing], err error) {
	list := slices.DeleteFunc(a.parts.Monitor.Listings(), func(l reputation.Listing) bool { return q.Open && !l.Open() })
	slices.Reverse(list)
	p, err = pageOf(list, func(l *reputation.Listing) string { return strconv.Itoa(l.ID) }, q.PageQuery, q.Open)
	if access.Of(ctx).Masked() {
		for i := range p.Items {
			hideListing(&p.Items[i])
		}
	}
	return p, err
}

// Numbered names a listing.
type Numbered struct {
	ID int `path:"id" doc:"Its number."`
}

func (a *API) listing(ctx context.Context, q Numbered) (reputation.Listing, error) {
	for _, l := range a.parts.Monitor.Listings() {
		if l.ID != q.ID {
			continue
		}
		if access.Of(ctx).Masked() {
			hideListing(&l)
		}
		return l, nil
	}
	return reputation.Listing{}, missing("there is no listing %d", q.ID)
}

func (a *API) findings(_ context.Context, q PageQuery) (f FindingsPage, err error) {
	list, at := a.parts.Monitor.Findings()
	f.Checked = at
	f.Page, err = pageOf(list, func(f *identity.Finding) string { return keyOf(f.Key(), f.Asked, f.Seen) }, q, "findings")
	return f, err
}

func (a *API) allowances(ctx context.Context, q PageQuery) (p Page[ratelimit.Allowance], err error) {
	list, err := a.parts.Limiter.Allowances(ctx)
	if err != nil {
		return p, err
	}
	id := access.Of(ctx)
	list = slices.DeleteFunc(list, func(r ratelimit.Allowance) bool { return !a.mayReadKey(id, r.Key) })
	return pageOf(list, func(r *ratelimit.Allowance) string { return keyOf(r.Limit, r.Key, r.Unit.String(), r.Window.String()) }, q, "allowances")
}
