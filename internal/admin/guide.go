package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/outlier"
)

// Guide is what the control socket asks the node about a name.
type Guide struct {
	// Find is the scope of a name that an operator wrote without one, "" when the
	// configuration has neither a user nor a client of that name.
	Find func(name string) (scope string)
	// Known says why the configuration has no such sender, user or client; nil
	// when it has.
	Known func(scope, name string) error
	// Journal is the file of the journal; "" when none is kept.
	Journal func() string
	// Still lists what keeps mail of a name from passing, its own suspension left
	// out.
	Still func(ctx context.Context, scope, name string) []Hindrance
}

// Hindrance is one thing that keeps mail from passing.
type Hindrance struct {
	What string `json:"what"`
	// Command ends it, or shows it where it ends by itself; blank: no command
	// does.
	Command string `json:"command,omitempty"`
}

// Released is the answer to a release.
type Released struct {
	outlier.State
	Still []Hindrance `json:"still"`
}

// SenderDetail is the answer to a question about one name.
type SenderDetail struct {
	*outlier.Detail
	Still   []Hindrance `json:"still"`
	Journal string      `json:"journal"` // where its mail can be counted; "": nowhere
}

// Target reads what an operator calls somebody.
func (g *Guide) Target(w *outlier.Watch, text string) (scope, name string, err error) {
	if !strings.ContainsAny(text, "@:") {
		if scope := g.Find(text); scope != "" {
			text = scope + ":" + text
		}
	}
	return w.FindTarget(text)
}

// suspend carries an order out if the configuration knows the name.
func (g *Guide) suspend(ctx context.Context, w *outlier.Watch, o SuspendOrder) (any, error) {
	if o.Reason == "" {
		return nil, Misuse("a reason is needed")
	}
	scope, name, err := g.Target(w, o.Name)
	if err != nil {
		return nil, Misuse(err.Error())
	}
	if err := g.Known(scope, name); err != nil && !o.Unknown {
		return nil, Misuse(err.Error() + "; nothing was suspended; -unknown suspends it all the same")
	}
	s, err := w.Suspend(o.order(ctx, scope, name))
	return s, unknownTarget(err)
}

// release carries an order out, and says what else stops mail of that name.
func (g *Guide) release(ctx context.Context, w *outlier.Watch, o SuspendOrder) (any, error) {
	scope, name, err := g.Target(w, o.Name)
	if err != nil {
		return nil, Misuse(err.Error())
	}
	s, err := w.Release(o.order(ctx, scope, name))
	still := g.Still(ctx, scope, name)
	if errors.Is(err, outlier.ErrNotHeld) {
		return nil, Misuse(err.Error() + otherwise(still))
	}
	if err != nil {
		return nil, err
	}
	return Released{s, still}, nil
}

// otherwise tells somebody who released the wrong name where to look.
func otherwise(still []Hindrance) string {
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

func (o *SuspendOrder) order(ctx context.Context, scope, name string) outlier.Order {
	return outlier.Order{Scope: scope, Name: name, For: o.For, Reason: o.Reason, By: By(ctx), Learn: o.Learn}
}
