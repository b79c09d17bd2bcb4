package api

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"postern/internal/access"
	"postern/internal/audit"
	"postern/internal/find"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
)

// Undo asks to take an act back.
type Undo struct {
	Act
	ID string `json:"-" path:"id" doc:"Id of the act, as the answer to it and the audit have it."`
}

// Undone is an act that was taken back.
type Undone struct {
	ID     string `json:"id"`
	Verb   string `json:"verb"`
	Target string `json:"target"`
	// Now is the state of the target behind it, as the act that did so tells it.
	Now json.RawMessage `json:"now,omitempty"`
}

// past is an act of the audit that is to be taken back.
type past struct {
	audit.Act
	how Act // of who takes it back
}

// never says why acts cannot be taken back.
var never = map[string]string{
	"reset":        "counts that were forgotten are gone; see: relay limits allow",
	"reload":       "the file is the truth; write in it what is to be, and reload",
	"alert_test":   "the notice was sent",
	"console_link": "links end by themselves within a minute",
	"token_new":    "see: relay token revoke",
	"token_revoke": "what the token was stands nowhere; see: relay token new",
	"undo":         "do anew what was taken back",
}

// undoable are the verbs whose acts can be taken back, of those an owner may do too.
var undoable = map[string]bool{"suspend": true, "extend": true, "release": true, "allow": true, "suppress": false, "unsuppress": false, "backoff_end": false, "resume": false}

// MayUndo reports whether acts such as that of a line can be taken back by somebody. What
// has changed since shows when he tries.
func MayUndo(id access.Caller, l *audit.Line) bool {
	owned, ok := undoable[l.Verb]
	return ok && l.Result == audit.Done && (id.May(access.Operate) || id.Role == access.Owner && owned)
}

func (a *API) undo(ctx context.Context, o *Undo) (e effect[Undone], err error) {
	leave, err := a.enter(ctx) // the audit may be long, too
	if err != nil {
		return e, err
	}
	defer leave()
	p := &past{how: o.Act}
	err = find.Aside(func() (err error) {
		p.Act, err = a.parts.Audit.Find(o.ID)
		return err
	})
	id := access.Of(ctx)
	switch {
	case errors.Is(err, audit.ErrNoAct), err == nil && !a.mayReadAct(id, p.first()):
		return e, missing("the audit has no act %q%s", o.ID, map[bool]string{true: " of yours"}[id.Role == access.Owner])
	case err != nil:
		return e, fault(err)
	}
	if err := p.check(id); err != nil {
		return e, err
	}
	switch verb := p.Ended.Verb; verb {
	case "suspend", "extend":
		e, err = a.undoSuspend(ctx, p)
	case "release":
		e, err = a.undoRelease(ctx, p)
	case "allow":
		e, err = a.undoAllow(ctx, p)
	case "suppress":
		e, err = a.undoSuppress(p)
	case "unsuppress":
		e, err = a.undoUnsuppress(p)
	case "backoff_end", "resume":
		e, err = a.undoBackoffEnd(p)
	default:
		return e, conflict("%s cannot be taken back: %s", verb, never[verb])
	}
	if err == nil {
		e.target, e.undoes = p.Ended.Target, o.ID
	}
	return e, err
}

// mayReadAct reports whether somebody may know of an act: an owner of what he did himself,
// with the token that he has now.
func (a *API) mayReadAct(id access.Caller, l *audit.Line) bool {
	if id.Role != access.Owner {
		return true
	}
	if l.Actor != id.By() || l.Role != string(access.Owner) {
		return false
	}
	tokens, err := a.parts.Tokens.List()
	i := slices.IndexFunc(tokens, func(t access.Token) bool { return t.Name == id.Name })
	return err == nil && i >= 0 && tokens[i].Client == id.Client && (l.Time.IsZero() || !l.Time.Before(tokens[i].Created))
}

// first is a line of the act.
func (p *past) first() *audit.Line {
	if p.Begun.ID != "" {
		return &p.Begun
	}
	return &p.Ended
}

// check says why an act cannot be taken back whatever it was.
func (p *past) check(id access.Caller) error {
	switch {
	case p.Undone.ID != "":
		return conflict("it was taken back already, by %s: %s", p.Undone.Actor, p.Undone.ID)
	case p.Ended.ID == "":
		return conflict("how it ended is not known")
	case p.Ended.Result != audit.Done:
		return conflict("it did not succeed: %s", p.Ended.Result)
	case id.Role == access.Owner && !undoable[p.Ended.Verb] && never[p.Ended.Verb] == "":
		return forbidden("an owner does not take %s back", p.Ended.Verb)
	}
	return nil
}

// read reads a state of the audit; false: there is none. One that was too long for a line
// is an error.
func read(state json.RawMessage, to any) (bool, error) {
	if len(state) == 0 || string(state) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(state, to); err != nil {
		return false, conflict("the audit does not hold what was before: it was too long for a line")
	}
	return true, nil
}

// instead makes an undo of what takes the act back.
func instead[T any](p *past, by effect[T], err error) (e effect[Undone], _ error) {
	if err != nil {
		return e, err
	}
	e = effect[Undone]{before: by.before, would: p.undone(by.would)}
	e.run = func(ctx context.Context) (Undone, error) {
		out, err := by.run(ctx)
		if err == nil && by.told != nil {
			return p.undone(by.told(out)), nil
		}
		return p.undone(out), err
	}
	return e, nil
}

func (p *past) undone(now any) Undone {
	return Undone{ID: p.Ended.ID, Verb: p.Ended.Verb, Target: p.Ended.Target, Now: audit.State(now)}
}

// stands is the state of exactly this name; nil: there is none.
func (a *API) stands(scope, name string) *outlier.State {
	for _, s := range a.parts.Watch.States(outlier.Observed) {
		if s.Scope == scope && s.Name == name {
			return &s
		}
	}
	return nil
}

// nameOfState is how target reads the name that a state has.
func nameOfState(s *outlier.State) string {
	name := s.Name
	if s.Scope == outlier.UserSender {
		user, sender := outlier.Names(name)
		name = user + " " + sender
	}
	return s.Scope + ":" + name
}

// undoSuspend ends a suspension, or gives it the end that it had, where it stands as it
// was made.
func (a *API) undoSuspend(ctx context.Context, p *past) (e effect[Undone], err error) {
	var made, before outlier.State
	if ok, err := read(p.Ended.After, &made); err != nil || !ok {
		return e, errors.Join(err, conflict("the audit does not hold what was done"))
	}
	now := a.stands(made.Scope, made.Name)
	switch {
	case now == nil || now.Level != outlier.Suspended:
		return e, conflict("%s %s is not suspended any more", made.Scope, made.Name)
	case !now.Since.Equal(made.Since) || !now.Until.Equal(made.Until) || now.By != made.By:
		return e, conflict("the suspension of %s %s was changed since", made.Scope, made.Name)
	}
	was, err := read(p.Begun.Before, &before)
	if err != nil {
		return e, err
	}
	scope, name, err := a.operable(ctx, nameOfState(&made))
	if err != nil {
		return e, err
	}
	if was && before.Level == outlier.Suspended && before.Scope == made.Scope && before.Name == made.Name {
		left, err := a.left(before.Until)
		if err != nil {
			return e, err
		}
		by, err := a.planSuspension(ctx, scope, name, &Suspend{Act: p.how, For: left})
		return instead(p, by, err)
	}
	if other := a.ofUsers(&made); other != nil {
		return e, conflict("%s %s is suspended, throttled or on record, too, and a release would end that as well; see: relay release", other.Scope, other.Name)
	}
	by, err := a.release(ctx, &Release{Act: p.how, Name: nameOfState(&made)})
	return instead(p, by, err)
}

// ofUsers is the state of a sender as some user sends with it; nil: there is none.
func (a *API) ofUsers(s *outlier.State) *outlier.State {
	for _, other := range a.parts.Watch.States(outlier.Observed) {
		if s.Scope != outlier.Sender || other.Scope != outlier.UserSender {
			continue
		}
		if _, sender := outlier.Names(other.Name); sender == s.Name {
			return &other
		}
	}
	return nil
}

// left is the time until an end; 0 where there is none.
func (a *API) left(until time.Time) (Span, error) {
	if until.IsZero() {
		return 0, nil
	}
	left := until.Sub(a.parts.Now())
	if left <= 0 {
		return 0, conflict("what was before would have ended by now")
	}
	return Span(left), nil
}

// undoRelease suspends again for the rest of the time. A throttle or an alarm is the
// watch's own, and nobody sets it by hand.
func (a *API) undoRelease(ctx context.Context, p *past) (e effect[Undone], err error) {
	var before outlier.State
	switch ok, err := read(p.Begun.Before, &before); {
	case err != nil:
		return e, err
	case !ok:
		return e, conflict("nobody was suspended or throttled; what the watch has learned stays")
	case before.Level != outlier.Suspended:
		return e, conflict("%s %s was not suspended, and only a suspension can be put back", before.Scope, before.Name)
	}
	if now := a.stands(before.Scope, before.Name); now != nil && now.Level == outlier.Suspended {
		return e, conflict("%s %s is suspended again", before.Scope, before.Name)
	}
	left, err := a.left(before.Until)
	if err != nil {
		return e, err
	}
	scope, name, err := a.operable(ctx, nameOfState(&before))
	if err != nil {
		return e, err
	}
	by, err := a.planSuspension(ctx, scope, name, &Suspend{Act: p.how, For: left})
	return instead(p, by, err)
}

// undoAllow gives a budget the allowance that it had, or none.
func (a *API) undoAllow(ctx context.Context, p *past) (e effect[Undone], err error) {
	var made, before ratelimit.Allowance
	if ok, err := read(p.Ended.After, &made); err != nil || !ok {
		return e, errors.Join(err, conflict("the audit does not hold what was done"))
	}
	had, err := read(p.Begun.Before, &before)
	if err != nil {
		return e, err
	}
	now, err := a.allowed(ctx, &made)
	if err != nil {
		return e, err
	}
	future := func(t time.Time) bool { return t.After(a.parts.Now()) }
	switch {
	case made.Add > 0 && !future(made.Until):
		return e, conflict("the allowance has ended by itself")
	case made.Add > 0 && (now == nil || now.Add != made.Add || !now.Until.Equal(made.Until) || !now.Made.Equal(made.Made)), made.Add == 0 && now != nil:
		return e, conflict("the allowance was changed since")
	case made.Add == 0 && !had:
		return e, conflict("there was no allowance to end")
	case made.Add == 0 && !future(before.Until):
		return e, conflict("what was before would have ended by now")
	}
	unit := made.Unit
	o := &Allow{Act: p.how, BudgetOf: BudgetOf{Limit: made.Limit, Key: made.Key, Unknown: true}, Unit: &unit, Window: Span(made.Window)}
	if had && future(before.Until) {
		o.Add, o.Until = before.Add, before.Until
	}
	by, err := a.allow(ctx, o)
	return instead(p, by, err)
}

func (a *API) undoSuppress(p *past) (e effect[Undone], err error) {
	var made, before reputation.Suppression
	if ok, err := read(p.Ended.After, &made); err != nil || !ok || made.Since.IsZero() {
		return e, errors.Join(err, conflict("the audit does not hold what was done"))
	}
	had, err := read(p.Begun.Before, &before)
	if err != nil {
		return e, err
	}
	if a.parts.Suppressions == nil {
		return e, conflict(noSuppressions)
	}
	now := a.suppressed(made.Stream, made.Recipient)
	switch {
	case now == nil:
		return e, conflict("%s is not suppressed any more", made.Recipient)
	case !now.Since.Equal(made.Since) || !now.Until.Equal(made.Until):
		return e, conflict("the suppression of %s was changed since", made.Recipient)
	}
	by := effect[*reputation.Suppression]{before: now, run: func(context.Context) (*reputation.Suppression, error) {
		a.parts.Suppressions.Remove(made.Stream, made.Recipient)
		if had && before.Until.After(a.parts.Now()) {
			a.parts.Suppressions.Restore([]reputation.Suppression{before})
		}
		return a.suppressed(made.Stream, made.Recipient), nil
	}}
	return instead(p, by, nil)
}

func (a *API) undoUnsuppress(p *past) (e effect[Undone], err error) {
	var before []reputation.Suppression
	if _, err := read(p.Begun.Before, &before); err != nil {
		return e, err
	}
	if a.parts.Suppressions == nil {
		return e, conflict(noSuppressions)
	}
	before = slices.DeleteFunc(before, func(s reputation.Suppression) bool { return !s.Until.After(a.parts.Now()) })
	if len(before) == 0 {
		return e, conflict("what was before would have ended by now")
	}
	for i := range before {
		if a.suppressed(before[i].Stream, before[i].Recipient) != nil {
			return e, conflict("%s is suppressed again", before[i].Recipient)
		}
	}
	by := effect[[]reputation.Suppression]{would: before, run: func(context.Context) ([]reputation.Suppression, error) {
		a.parts.Suppressions.Restore(before)
		return before, nil
	}}
	return instead(p, by, nil)
}

// undoBackoffEnd has mail wait again that was let go on: to destinations until their
// times, of a paused stream where a listing still speaks for the pause.
func (a *API) undoBackoffEnd(p *past) (e effect[Undone], err error) {
	var before []reputation.BackoffEntry
	if p.Ended.Verb == "resume" {
		before = make([]reputation.BackoffEntry, 1)
		if ok, err := read(p.Begun.Before, &before[0]); err != nil || !ok {
			return e, errors.Join(err, conflict("the audit does not hold what was before"))
		}
	} else if _, err := read(p.Begun.Before, &before); err != nil {
		return e, err
	}
	before = slices.DeleteFunc(before, func(b reputation.BackoffEntry) bool { return !b.Until.After(a.parts.Now()) })
	if len(before) == 0 {
		return e, conflict("what was before would have ended by now")
	}
	no := conflict("nothing that had paused the stream speaks for it any more")
	by := effect[[]reputation.BackoffEntry]{would: before, run: func(context.Context) ([]reputation.BackoffEntry, error) {
		n := a.parts.Backoff.Restore(before)
		for i := range before {
			if b := &before[i]; b.Destination() == "" && a.parts.Stream(b.Stream) == nil && a.parts.Monitor.Pause(b.Stream, b.Until) {
				n++
			}
		}
		if n == 0 {
			return nil, no
		}
		return before, nil
	}}
	return instead(p, by, nil)
}
