package relay

import (
	"context"
	"time"

	"postern/upstream"
)

// deadline is a context with a deadline that whoever does I/O under it has to
// keep, as package upstream does: no timer ends the context itself.
type deadline struct {
	context.Context
	at time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.at, true }

// until is ctx with a deadline, without the cost of a timer.
func until(ctx context.Context, at time.Time) context.Context { return deadline{ctx, at} }

// term is the context of what a transaction asks the upstream: that of its
// session, until at.
type term struct {
	deadline
	s *session
}

var _ upstream.Watched = (*term)(nil)

// AfterFunc is what upstream.Watched asks for. Package context has a use for a
// method of that name, too, but never calls this one, since it finds the
// session's own context behind it first: the place for f is the connection's
// alone.
func (t *term) AfterFunc(f func()) (stop func() bool) { return t.s.afterCut(f) }
