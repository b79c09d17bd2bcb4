package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/text"
	"postern/outlier"
)

// Span is a time such as "24h" or "7d"; 0 is "".
type Span time.Duration

// UnmarshalText reads what MarshalText writes.
func (s *Span) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*s = 0
		return nil
	}
	d, err := text.ParseDuration(string(b))
	*s = Span(d)
	return err
}

// MarshalText writes the time as the configuration has it.
func (s Span) MarshalText() ([]byte, error) {
	if s == 0 {
		return nil, nil
	}
	return []byte(text.FormatDuration(time.Duration(s))), nil
}

// Suspend asks to defer all mail of somebody.
type Suspend struct {
	Act
	Name string `json:"name" doc:"An address, user:NAME, client:NAME, or a name that the configuration has."`
	For  Span   `json:"for,omitempty" doc:"How long, such as 24h; missing: until released."`
	// Unknown: the name may be one that the configuration does not have.
	Unknown bool `json:"unknown,omitempty" doc:"true: also a name that the configuration does not have."`
}

// Release asks to end a suspension, throttle or alarm.
type Release struct {
	Act
	Name  string `json:"name" doc:"As with suspensions."`
	Learn bool   `json:"learn,omitempty" doc:"true: what was sent was legitimate and goes into the record."`
}

// maxSpan bounds a suspension; one without an end may be longer.
const maxSpan = 10 * 366 * 24 * time.Hour

func (a *API) addSuspensions() {
	who := rights{access.Operate, true}
	a.Suspend = act(a, "/suspensions", "suspend", "Defer all mail of a sender, user or client.", who, true, a.suspend)
	a.Extend = act(a, "/suspensions/extend", "extend", "Give a suspension another end: so long from now.", who, true, a.extend)
	a.Release = act(a, "/suspensions/release", "release", "End a suspension, throttle or alarm.", who, false, a.release)
}

func (a *API) suspend(ctx context.Context, o *Suspend) (e effect[outlier.State], err error) {
	scope, name, err := a.operable(ctx, o.Name)
	if err != nil {
		return e, err
	}
	if err := a.parts.Guide.Known(scope, name); err != nil && !o.Unknown {
		return e, missing("%v; nothing was suspended; -unknown suspends it all the same", err)
	}
	return a.planSuspension(ctx, scope, name, o)
}

func (a *API) extend(ctx context.Context, o *Suspend) (e effect[outlier.State], err error) {
	scope, name, err := a.operable(ctx, o.Name)
	if err != nil {
		return e, err
	}
	state := a.stateOf(scope, name)
	if state == nil || state.Level != outlier.Suspended {
		return e, conflict("%s %s is not suspended", scope, name)
	}
	return a.planSuspension(ctx, scope, name, o)
}

// planSuspension plans a suspension, new or with another end.
func (a *API) planSuspension(ctx context.Context, scope, name string, o *Suspend) (e effect[outlier.State], err error) {
	if o.For < 0 || time.Duration(o.For) > maxSpan {
		return e, invalid("for: is longer than ten years; leave it out to suspend until released")
	}
	by := access.Of(ctx)
	before := a.stateOf(scope, name)
	if err := mayEnd(by, before); err != nil {
		return e, err
	}
	now := a.parts.Now()
	e = effect[outlier.State]{target: scope + " " + name, would: outlier.State{Scope: scope, Name: name, Level: outlier.Suspended, Rule: outlier.RuleManual, Reason: o.Reason, Since: now, By: by.By()}}
	if before != nil {
		e.before = before
	}
	if o.For > 0 {
		e.would.Until = now.Add(time.Duration(o.For))
	}
	e.run = func(context.Context) (outlier.State, error) {
		return a.parts.Watch.Suspend(outlier.Order{Scope: scope, Name: name, For: time.Duration(o.For), Reason: o.Reason, By: by.By()})
	}
	return e, nil
}

func (a *API) release(ctx context.Context, o *Release) (e effect[admin.Released], err error) {
	scope, name, err := a.operable(ctx, o.Name)
	if err != nil {
		return e, err
	}
	before, by := a.stateOf(scope, name), access.Of(ctx)
	if err := mayEnd(by, before); err != nil {
		return e, err
	}
	still := a.still(ctx, scope, name)
	if before == nil && !o.Learn {
		return e, conflict("%s %s %v%s", scope, name, outlier.ErrNoState, otherwise(still))
	}
	e = effect[admin.Released]{target: scope + " " + name, would: admin.Released{State: outlier.State{Scope: scope, Name: name, By: by.By(), Reason: o.Reason}, Still: still}}
	if before != nil {
		e.before = before
	}
	e.run = func(ctx context.Context) (r admin.Released, err error) {
		r.State, err = a.parts.Watch.Release(outlier.Order{Scope: scope, Name: name, Reason: o.Reason, By: by.By(), Learn: o.Learn})
		if errors.Is(err, outlier.ErrNoState) {
			return r, conflict("%v%s", err, otherwise(still))
		}
		r.Still = a.still(ctx, scope, name)
		return r, err
	}
	return e, nil
}

// operable is target for who wants to do something: an owner may with the senders and
// users of his client, and not with the client itself.
func (a *API) operable(ctx context.Context, text string) (scope, name string, err error) {
	scope, name, err = a.target(ctx, text)
	if err == nil && access.Of(ctx).Role == access.Owner && scope == outlier.Client {
		err = forbidden("an owner operates on senders and users, not on the client")
	}
	return scope, name, err
}

// stateOf is the state of somebody who is under alarm, throttled or suspended; of a sender
// the hardest of those of its users where it has none itself. nil: there is none.
func (a *API) stateOf(scope, name string) (hardest *outlier.State) {
	for _, s := range a.parts.Watch.States(outlier.Observed) {
		of := s.Scope == scope && s.Name == name
		if scope == outlier.Sender && s.Scope == outlier.UserSender {
			_, sender := outlier.Names(s.Name)
			of = sender == name
		}
		if of && (hardest == nil || s.Level > hardest.Level) {
			hardest = &s
		}
	}
	return hardest
}

// mayEnd keeps an owner from undoing what an operator has done by hand.
func mayEnd(id access.Caller, s *outlier.State) error {
	if id.Role == access.Owner && s != nil && s.By != "" && s.By != id.By() {
		return forbidden("%s %s was suspended by %s; ask there", s.Scope, s.Name, s.By)
	}
	return nil
}

// otherwise tells somebody who released the wrong name where to look.
func otherwise(still []admin.Hindrance) string {
	if len(still) == 0 {
		return ", and nothing else stops its mail"
	}
	var b strings.Builder
	b.WriteString("; what stops its mail:")
	for _, h := range still {
		fmt.Fprintf(&b, "\n  %s", h.What)
		if h.Command != "" {
			fmt.Fprintf(&b, "\n      %s", h.Command)
		}
	}
	return b.String()
}
