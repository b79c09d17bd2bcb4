package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"postern/mail"
	"postern/ratelimit"
)

// LimitKey names one budget: by its key, or by what it counts on.
type LimitKey struct {
	Limit string `json:"limit"`
	Key   string `json:"key,omitempty"` // as limits show writes it; blank: found by the others
	ratelimit.Filter
	// Unknown: names may be such as the configuration does not have.
	Unknown bool `json:"unknown,omitempty"`
}

// ResetOrder is what the path /limits/reset takes.
type ResetOrder struct {
	Budget LimitKey `json:"budget"`
	Reason string   `json:"reason"`
}

// AllowOrder is what the path /limits/allow takes.
type AllowOrder struct {
	Budget LimitKey       `json:"budget"`
	Unit   ratelimit.Unit `json:"unit"`
	Window time.Duration  `json:"window"` // nanoseconds; 0: every window of the unit
	Add    int64          `json:"add"`    // 0 takes a raise back
	Until  time.Time      `json:"until"`
	Reason string         `json:"reason"`
}

// Limits serves the counts of limits. complete fills in what follows from the
// client: its stream, upstream and source address; its error is for the one who
// asks. known says which name of a key the configuration does not have.
func (c *Control) Limits(l *ratelimit.Limiter, complete func(*ratelimit.Facts) error, known func(*ratelimit.Filter) error) {
	c.Query("/limits", func(ctx context.Context, get func(string) string) (any, error) {
		n, err := strconv.Atoi(get("n"))
		if get("n") != "" && err != nil {
			return nil, Misuse("n is not a number")
		}
		states, err := l.Show(ctx, filterOf(get), n)
		return states, knownLimit(l, get("limit"), err)
	})
	c.Query("/limits/raises", func(ctx context.Context, _ func(string) string) (any, error) { return l.Raises(ctx) })
	c.Query("/limits/explain", func(ctx context.Context, get func(string) string) (any, error) {
		f := filterOf(get)
		facts := f.Facts()
		if err := complete(&facts); err != nil {
			return nil, Misuse(err.Error())
		}
		return l.Explain(ctx, facts, ratelimit.Recipient{Address: mail.RecipientID(get("to")), Domain: get("recipient_domain")})
	})
	Act(c, "/limits/reset", func(ctx context.Context, o ResetOrder) (any, error) {
		if o.Reason == "" {
			return nil, Misuse("a reason is needed")
		}
		key, err := keyOf(l, &o.Budget, complete, known)
		if err != nil {
			return nil, Misuse(err.Error())
		}
		was, err := l.Reset(ctx, o.Budget.Limit, key)
		return was, knownLimit(l, o.Budget.Limit, err)
	})
	Act(c, "/limits/allow", func(ctx context.Context, o AllowOrder) (any, error) {
		key, err := keyOf(l, &o.Budget, complete, known)
		if err != nil {
			return nil, Misuse(err.Error())
		}
		made, err := l.Allow(ctx, ratelimit.Raise{
			Limit: o.Budget.Limit, Key: key, Unit: o.Unit, Window: o.Window, Add: o.Add, Until: o.Until, Reason: withBy(ctx, o.Reason),
		})
		var down interface{ Unwrap() error }
		if err != nil && !errors.As(err, &down) {
			return nil, Misuse(err.Error())
		}
		return made, err
	})
}

// withBy puts the one who asked behind a reason, where there is one.
func withBy(ctx context.Context, reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf("%s (%s)", reason, By(ctx))
}

// knownLimit makes the error about an unknown limit one of the asker.
func knownLimit(l *ratelimit.Limiter, limit string, err error) error {
	if err == nil || limit == "" {
		return err
	}
	for _, name := range l.Limits().Names() {
		if name == limit {
			return err
		}
	}
	return Misuse(err.Error())
}

func filterOf(get func(string) string) ratelimit.Filter {
	f := ratelimit.Filter{Limit: get("limit")}
	for _, d := range ratelimit.Dimensions() {
		*f.Of(d) = get(d.String())
	}
	return f
}

// keyOf is the key that an order means.
func keyOf(l *ratelimit.Limiter, k *LimitKey, complete func(*ratelimit.Facts) error, known func(*ratelimit.Filter) error) (string, error) {
	if k.Key != "" {
		return k.Key, nil
	}
	if err := known(&k.Filter); err != nil && !k.Unknown {
		return "", fmt.Errorf("%w; nothing was done; -unknown does it all the same", err)
	}
	facts := k.Filter.Facts()
	if facts.Client != "" && !k.Unknown {
		if err := complete(&facts); err != nil {
			return "", err
		}
	}
	return l.KeyOf(k.Limit, facts, k.RecipientDomain)
}
