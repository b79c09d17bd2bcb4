package admin

import (
	"context"
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

// SenderList is what relay senders prints.
type SenderList struct {
	Rows []outlier.Row `json:"rows"`
	All  int           `json:"all"` // without the limit of rows
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
