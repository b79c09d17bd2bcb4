package node

import (
	"context"
	"strconv"

	"postern/internal/admin"
)

// serveListings answers relay listings on the control socket. known says why
// the configuration has no such stream.
func (w *reputationWatch) serveListings(c *admin.Control, known func(stream string) error) {
	c.Query("/listings", func(context.Context, func(string) string) (any, error) { return w.monitor.Listings(), nil })
	c.Query("/listings/zones", func(context.Context, func(string) string) (any, error) { return w.monitor.Zones(), nil })
	c.Query("/findings", func(context.Context, func(string) string) (any, error) {
		fs, at := w.monitor.Findings()
		return admin.FindingsAnswer{Checked: at, Findings: fs}, nil
	})
	admin.Act(c, "/listings/resume", func(_ context.Context, o admin.ResumeOrder) (any, error) {
		if err := known(o.Stream); err != nil {
			return nil, admin.Misuse(err.Error())
		}
		if !w.monitor.Resume(o.Stream) {
			return nil, admin.Misuse("stream " + strconv.Quote(o.Stream) + " is not paused")
		}
		return o, nil
	})
}
