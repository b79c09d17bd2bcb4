package api

import (
	"cmp"
	"context"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/audit"
	"postern/internal/find"
	"postern/mail"
	"postern/reputation"
)

// Suppress asks to send no mail to a recipient, or to send it again.
type Suppress struct {
	Act
	Stream    string `json:"stream" doc:"For mail of this stream; * is all. On removal blank is any."`
	Recipient string `json:"recipient" doc:"An address in any spelling."`
	For       Span   `json:"for,omitempty" doc:"How long, such as 7d; missing: as configured."`
}

// Suppressed is what was asked for.
type Suppressed struct {
	Stream    string           `json:"stream"`
	Recipient mail.RecipientID `json:"recipient"`
	For       Span             `json:"for,omitempty"`
}

// EndBackoff asks to let mail go on. Domain counts where there is no such stream.
type EndBackoff struct {
	Act
	Stream string `json:"stream,omitempty" doc:"Of this stream."`
	Domain string `json:"domain,omitempty" doc:"To this domain, in A-labels, or to this group of receivers."`
}

// BackoffEnded is what went on.
type BackoffEnded struct {
	Destinations int  `json:"destinations"`
	Stream       bool `json:"stream,omitempty"` // a paused one
}

// Resume asks to let a stream go on that a listing has paused.
type Resume struct {
	Act
	Stream string `json:"-" path:"name" doc:"Name of the stream."`
}

// TestAlert asks to send a notice to a channel at once.
type TestAlert struct {
	Act
	Channel string `json:"channel" doc:"Name of the channel, as in [alert.NAME]."`
}

// Reload asks to read the configuration again.
type Reload struct{ Act }

// OpenConsole asks for a link to the console.
type OpenConsole struct{ Act }

// Link is one.
type Link struct {
	URL string `json:"url"`
}

// Asked names what an order was about, where there is nothing else to tell.
type Asked struct {
	Name string `json:"name"`
}

func (a *API) addOthers() {
	operate, admins := rights{least: access.Operate}, rights{least: access.Admin}
	a.Suppress = act(a, "/suppressions", "suppress", "Send no mail to a recipient.", operate, false, a.suppress)
	a.Unsuppress = act(a, "/suppressions/remove", "unsuppress", "Send mail to a recipient again.", operate, false, a.unsuppress)
	a.EndBackoff = act(a, "/backoffs/end", "backoff_end", "Let mail to a domain, or of a stream, go on.", operate, false, a.endBackoff)
	a.Resume = act(a, "/streams/{name}/resume", "resume", "Let a stream go on that a listing has paused.", operate, false, a.resume)
	a.TestAlert = act(a, "/alerts/test", "alert_test", "Send a test notice to a channel of alerts.", operate, false, a.testAlert)
	a.Reload = act(a, "/reload", "reload", "Read the configuration again.", admins, false, a.reload)
	a.ConsoleLink = act(a, "/console/links", "console_link", "Make a link that logs in to the console as who asks, once, within a minute.", rights{access.View, true}, false, a.consoleLink)
	a.Audit = query(a, "/audit", "audit", "Who did what, and why, the newest first; to an owner what he did.", rights{access.Operate, true}, a.audit)
	a.Undo = act(a, "/audit/{id}/undo", "undo", "Take back what was done, as far as that can be.", rights{access.Operate, true}, false, a.undo)
}

func (a *API) recipientOf(text string) (mail.RecipientID, error) {
	if a.parts.Suppressions == nil {
		return "", conflict(noSuppressions)
	}
	if text == "" {
		return "", invalid("recipient: is missing")
	}
	address, err := find.Address(text)
	if err != nil || address == "<>" || address[0] == '@' {
		return "", invalid("recipient: %q is not an address", text)
	}
	return mail.RecipientOf(address), nil
}

func (a *API) suppress(ctx context.Context, o *Suppress) (e effect[Suppressed], err error) {
	to, err := a.recipientOf(o.Recipient)
	if err != nil {
		return e, err
	}
	switch {
	case o.Stream == "":
		return e, invalid("stream: is missing; * is all")
	case o.For < 0 || time.Duration(o.For) > maxSpan:
		return e, invalid("for: is longer than ten years")
	case o.Stream != reputation.AllStreams:
		if err := a.parts.Stream(o.Stream); err != nil {
			return e, missing("%v", err)
		}
	}
	reason := "added by " + access.Of(ctx).By() + ": " + o.Reason
	e = effect[Suppressed]{target: "recipient " + string(to) + " of stream " + o.Stream, would: Suppressed{o.Stream, to, o.For}}
	if before := a.suppressed(o.Stream, to); before != nil {
		e.before = before
	}
	e.told = func(Suppressed) any { return a.suppressed(o.Stream, to) }
	e.run = func(context.Context) (Suppressed, error) {
		a.parts.Suppressions.Add(o.Stream, to, reason, time.Duration(o.For))
		return e.would, nil
	}
	return e, nil
}

// suppressed is the suppression of a recipient for exactly this stream; nil: there is none.
func (a *API) suppressed(stream string, to mail.RecipientID) *reputation.Suppression {
	for _, s := range a.parts.Suppressions.List() {
		if s.Recipient == to && s.Stream == stream {
			return &s
		}
	}
	return nil
}

func (a *API) unsuppress(_ context.Context, o *Suppress) (e effect[Suppressed], err error) {
	to, err := a.recipientOf(o.Recipient)
	if err != nil {
		return e, err
	}
	var before []reputation.Suppression
	for _, s := range a.parts.Suppressions.List() {
		if s.Recipient == to && (o.Stream == "" || s.Stream == o.Stream) {
			before = append(before, s)
		}
	}
	no := missing("%s is not suppressed", o.Recipient)
	if len(before) == 0 {
		return e, no
	}
	e = effect[Suppressed]{target: "recipient " + string(to) + " of stream " + cmp.Or(o.Stream, "any"), before: before, would: Suppressed{o.Stream, to, 0}}
	e.run = func(context.Context) (Suppressed, error) {
		if !a.parts.Suppressions.Remove(o.Stream, to) {
			return e.would, no
		}
		return e.would, nil
	}
	return e, nil
}

func (a *API) endBackoff(_ context.Context, o *EndBackoff) (e effect[BackoffEnded], err error) {
	isStream := o.Stream != "" && a.parts.Stream(o.Stream) == nil
	if !isStream && o.Domain == "" {
		return e, invalid("name a stream or a domain of recipients")
	}
	no := missing("nothing of %s waits; see: relay backoff list", cmp.Or(o.Stream, o.Domain))
	var before []reputation.BackoffEntry
	for _, b := range a.parts.Backoff.List() {
		if isStream && b.Stream == o.Stream || !isStream && b.Destination() == o.Domain {
			before = append(before, b)
			if b.Destination() == "" {
				e.would.Stream = true
			} else {
				e.would.Destinations++
			}
		}
	}
	if len(before) == 0 {
		return e, no
	}
	e.target, e.before = cmp.Or(o.Domain, o.Stream), before
	if isStream {
		e.target = "stream " + o.Stream
	}
	e.run = func(context.Context) (ended BackoffEnded, err error) {
		if isStream {
			ended = BackoffEnded{Destinations: a.parts.Backoff.End(o.Stream, ""), Stream: a.parts.Monitor.Resume(o.Stream)}
		} else {
			ended = BackoffEnded{Destinations: a.parts.Backoff.End("", o.Domain)}
		}
		if ended == (BackoffEnded{}) {
			return ended, no
		}
		return ended, nil
	}
	return e, nil
}

func (a *API) resume(_ context.Context, o *Resume) (e effect[Asked], err error) {
	if err := a.parts.Stream(o.Stream); err != nil {
		return e, missing("%v", err)
	}
	no := conflict("stream %q is not paused", o.Stream)
	until, paused := a.parts.Backoff.Paused()[o.Stream]
	if !paused {
		return e, no
	}
	before := reputation.BackoffEntry{Stream: o.Stream, Until: until}
	return effect[Asked]{target: "stream " + o.Stream, before: before, would: Asked{o.Stream}, run: func(context.Context) (Asked, error) {
		if !a.parts.Monitor.Resume(o.Stream) {
			return Asked{o.Stream}, no
		}
		return Asked{o.Stream}, nil
	}}, nil
}

func (a *API) testAlert(ctx context.Context, o *TestAlert) (e effect[Asked], err error) {
	by := access.Of(ctx).By()
	if err := a.parts.Channel(o.Channel); err != nil {
		return e, missing("%v", err)
	}
	return effect[Asked]{target: "channel " + o.Channel, would: Asked{o.Channel}, run: func(ctx context.Context) (Asked, error) {
		return Asked{o.Channel}, a.parts.TestAlert(ctx, o.Channel, by)
	}}, nil
}

func (a *API) consoleLink(ctx context.Context, _ *OpenConsole) (e effect[Link], err error) {
	who, none := access.Of(ctx), conflict("there is no console; set [admin] address")
	if who.Door == access.Proxy || who.Door == access.Cert { // a session would outlive what they say of him
		return e, conflict("a proxy or a certificate says who you are at each request; open the console without a link")
	}
	return effect[Link]{target: "the console", told: func(Link) any { return nil }, run: func(context.Context) (l Link, err error) {
		if l.URL = a.parts.ConsoleLink(who); l.URL == "" {
			return l, none
		}
		return l, nil
	}}, nil
}

func (a *API) reload(context.Context, *Reload) (e effect[admin.ReloadStatus], err error) {
	return effect[admin.ReloadStatus]{target: "the configuration", look: a.parts.CheckReload, run: func(context.Context) (admin.ReloadStatus, error) {
		return a.parts.Reload(), nil
	}}, nil
}

// AuditQuery chooses lines of the audit.
type AuditQuery struct {
	Actor string `query:"actor" doc:"Only what this one did."`
	Verb  string `query:"verb" doc:"Only acts of this kind, such as release."`
	PageQuery
}

// AuditPage is a part of the audit, the newest first.
type AuditPage struct {
	Items []audit.Line `json:"items"` // never null
	Next  string       `json:"next,omitempty"`
}

func (a *API) audit(ctx context.Context, q AuditQuery) (p AuditPage, err error) {
	id := access.Of(ctx)
	of := q
	of.PageQuery = PageQuery{}
	limit, at, err := q.begin(of)
	if err != nil {
		return p, err
	}
	lines, err := audit.Latest(a.parts.Audit.Name(), int64(at.At), limit+1, func(l *audit.Line) bool {
		return (q.Actor == "" || l.Actor == q.Actor) && (q.Verb == "" || l.Verb == q.Verb) && a.mayReadAct(id, l)
	})
	if err != nil {
		return p, fault(err)
	}
	p.Items = append([]audit.Line{}, lines[:min(limit, len(lines))]...)
	if len(lines) > limit {
		p.Next = cursor{At: int(p.Items[limit-1].Seq), Query: at.Query}.String()
	}
	return p, nil
}
