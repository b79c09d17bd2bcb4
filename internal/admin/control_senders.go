package admin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"postern/outlier"
)

// SenderList is the answer of the path /senders.
type SenderList struct {
	Rows []outlier.Row `json:"rows"`
	All  int           `json:"all"` // without the limit of rows
}

// SuspendOrder is what the paths /suspend and /release take.
type SuspendOrder struct {
	Name   string        `json:"name"` // an address, "user:NAME", "client:NAME"
	For    time.Duration `json:"for"`  // nanoseconds; 0: until released
	Reason string        `json:"reason"`
	Learn  bool          `json:"learn"`
	// Unknown: the name may be one that the configuration does not have.
	Unknown bool `json:"unknown,omitempty"`
}

// Watch serves what the outlier watch knows, and takes suspensions by hand.
func (c *Control) Watch(w *outlier.Watch, g *Guide) {
	c.Query("/senders", func(_ context.Context, get func(string) string) (any, error) {
		q := outlier.Query{Scope: get("scope"), Match: get("match"), Sort: get("sort")}
		if get("state") != "" {
			if err := q.State.UnmarshalText([]byte(get("state"))); err != nil {
				return nil, Misuse(err.Error())
			}
		}
		if n := get("n"); n != "" {
			var err error
			if q.Limit, err = strconv.Atoi(n); err != nil || q.Limit < 0 {
				return nil, Misuse("n is not a number")
			}
		}
		rows, all := w.List(q)
		return SenderList{rows, all}, nil
	})
	c.Query("/senders/show", func(ctx context.Context, get func(string) string) (any, error) {
		scope, name, err := g.Target(w, get("name"))
		if err != nil {
			return nil, Misuse(err.Error())
		}
		d, err := w.Show(scope, name)
		if err != nil {
			return nil, unknownTarget(err)
		}
		return SenderDetail{d, g.Still(ctx, scope, name), g.Journal()}, nil
	})
	Act(c, "/suspend", func(ctx context.Context, o SuspendOrder) (any, error) { return g.suspend(ctx, w, o) })
	Act(c, "/release", func(ctx context.Context, o SuspendOrder) (any, error) { return g.release(ctx, w, o) })
}

func unknownTarget(err error) error {
	if errors.Is(err, outlier.ErrUnknown) || errors.Is(err, outlier.ErrNotHeld) {
		return Misuse(err.Error())
	}
	return err
}
