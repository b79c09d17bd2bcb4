package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/access"
	"postern/outlier"
	"postern/ratelimit"
)

// BudgetOf names one budget: by its key, or by what it counts on.
type BudgetOf struct {
	Limit            string `json:"-" path:"name" doc:"Name of the limit."`
	Key              string `json:"key,omitempty" doc:"The key as limits has it, in place of the parts."`
	ratelimit.Filter `query:"-"`
	// Unknown: names may be such as the configuration does not have.
	Unknown bool `json:"unknown,omitempty" doc:"true: also names that the configuration does not have."`
}

// Reset asks to forget the counts of a budget.
type Reset struct {
	Act
	BudgetOf
}

// Allow asks to give a budget more room for a time.
type Allow struct {
	Act
	BudgetOf
	Unit   *ratelimit.Unit `json:"unit" doc:"messages, recipients, bytes or distinct_recipients."`
	Window Span            `json:"window,omitempty" doc:"In this window only, such as 1h; missing: in all of the unit."`
	Add    int64           `json:"add" doc:"How many more; 0 ends the allowance."`
	Until  time.Time       `json:"until" doc:"When it ends."`
}

func (a *API) addBudgets() {
	who := rights{access.Operate, true}
	a.Allow = act(a, "/limits/{name}/allowances", "allow", "Give one budget more room for a time.", who, false, a.allow)
	a.Reset = act(a, "/limits/{name}/reset", "reset", "Forget the counts of one budget.", who, false, a.reset)
}

func (a *API) reset(ctx context.Context, o *Reset) (e effect[ratelimit.Usage], err error) {
	key, err := a.keyOf(ctx, &o.BudgetOf)
	if err != nil {
		return e, err
	}
	was, err := a.parts.Limiter.Peek(ctx, o.Limit, key)
	if err != nil {
		return e, fault(err)
	}
	return effect[ratelimit.Usage]{target: o.Limit + " " + key, before: was, would: was, run: func(ctx context.Context) (ratelimit.Usage, error) {
		return a.parts.Limiter.Reset(ctx, o.Limit, key)
	}}, nil
}

func (a *API) allow(ctx context.Context, o *Allow) (e effect[ratelimit.Allowance], err error) {
	key, err := a.keyOf(ctx, &o.BudgetOf)
	if err != nil {
		return e, err
	}
	if o.Unit == nil {
		return e, invalid("unit: is missing; write messages, recipients, bytes or distinct_recipients")
	}
	allowance := ratelimit.Allowance{Limit: o.Limit, Key: key, Unit: *o.Unit, Window: time.Duration(o.Window), Add: o.Add, Until: o.Until,
		Reason: fmt.Sprintf("%s (%s)", o.Reason, access.Of(ctx).By())}
	would, err := a.parts.Limiter.Plan(allowance)
	if err != nil {
		return e, invalid("%v", err)
	}
	before, err := a.allowed(ctx, &would)
	if err != nil {
		return e, err
	}
	if before != nil { // a nil pointer would be a state
		e.before = before
	}
	e.target, e.would = o.Limit+" "+key, would
	e.run = func(ctx context.Context) (ratelimit.Allowance, error) {
		made, err := a.parts.Limiter.Allow(ctx, allowance)
		var down interface{ Unwrap() error }
		if err != nil && !errors.As(err, &down) {
			return made, invalid("%v", err)
		}
		return made, err
	}
	return e, nil
}

// allowed is the allowance that stands where another one would be; nil: there is none.
func (a *API) allowed(ctx context.Context, r *ratelimit.Allowance) (*ratelimit.Allowance, error) {
	all, err := a.parts.Limiter.Allowances(ctx)
	if err != nil {
		return nil, fault(err)
	}
	for i := range all {
		if x := &all[i]; x.Limit == r.Limit && x.Key == r.Key && x.Unit == r.Unit && x.Window == r.Window {
			return x, nil
		}
	}
	return nil, nil
}

// keyOf is the key that an order means, if whoever asks may operate on it.
func (a *API) keyOf(ctx context.Context, b *BudgetOf) (key string, err error) {
	if err := a.knownLimit(b.Limit); err != nil {
		return "", err
	}
	if other := b.Filter.Limit; other != "" && other != b.Limit {
		return "", invalid("limit: %q is not the one of the path", other)
	}
	id := access.Of(ctx)
	if key, err = a.namedKey(b); err != nil {
		return "", err
	}
	if id.Role == access.Owner && !a.mayOperateKey(id, key) {
		return "", forbidden("%s does not count for one of your senders or users alone", key)
	}
	return key, nil
}

func (a *API) namedKey(b *BudgetOf) (string, error) {
	if b.Key != "" {
		if _, ok := ratelimit.FilterOf(b.Key); !ok {
			return "", invalid(`%q is no key; write it as limits show does, as "sender=news@example.org"`, b.Key)
		}
		return b.Key, nil
	}
	if err := wholeSubmitter(b.Submitter); err != nil {
		return "", err
	}
	if err := a.parts.Known(&b.Filter); err != nil && !b.Unknown {
		return "", missing("%v; nothing was done; -unknown does it all the same", err)
	}
	facts := b.Filter.Facts()
	if facts.Client != "" && !b.Unknown {
		if err := a.parts.Complete(&facts); err != nil {
			return "", missing("%v", err)
		}
	}
	key, err := a.parts.Limiter.KeyOf(b.Limit, facts, b.RecipientDomain)
	if err != nil {
		return "", invalid("%v", err)
	}
	return key, nil
}

// mayOperateKey reports whether a budget is one sender's or user's of an owner; that of
// his client holds for him.
func (a *API) mayOperateKey(id access.Caller, key string) bool {
	f, ok := ratelimit.FilterOf(key)
	switch {
	case !ok || f.Client != "" && f.Client != id.Client:
		return false
	case f.Submitter != "":
		return a.owns(id.Client, outlier.Mailbox, f.Submitter)
	case f.Sender != "":
		return a.owns(id.Client, outlier.Sender, string(f.Sender))
	}
	return f.User != "" && a.owns(id.Client, outlier.User, f.User)
}
