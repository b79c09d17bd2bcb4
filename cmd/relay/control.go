package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/admin"
	"postern/config"
	"postern/ratelimit"
)

// openControl opens the control socket and puts behind it what the commands of
// operators ask for.
func (n *node) openControl(file *config.File) error {
	l, err := admin.ListenControl(file.Control.Socket)
	if errors.Is(err, admin.ErrControlInUse) && file.Redis.Enabled() {
		n.log.Error("no control socket", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	n.control = admin.NewControl(n.log)
	stream := func(name string) error { return known(n.file(), aStream, name) }
	n.control.Suppressions(n.judges.suppressions, stream)
	n.control.Held(n.judges.held)
	n.control.Watch(n.watch, n.guide())
	n.control.Status(n.status)
	n.control.Limits(n.limiter, n.completeFacts, n.limited)
	n.reputation.serveListings(n.control, stream)
	s := n.control.Server()
	n.serving.Go(func() { s.Serve(l) })
	n.opened.add(func(ctx context.Context) { s.Shutdown(ctx) })
	return nil
}

// completeFacts fills in what mail of a client has besides: its stream, the
// upstream and the source address.
func (n *node) completeFacts(f *ratelimit.Facts) error {
	rules := n.inForce.Load()
	c, ok := rules.file.Client[f.Client]
	if !ok {
		return fmt.Errorf("no client %q; there are: %s", f.Client, strings.Join(slices.Sorted(maps.Keys(rules.file.Client)), ", "))
	}
	f.Stream = c.Stream
	if r := rules.snapshot.Routes[c.Stream]; r != nil {
		f.Upstream, f.SourceIP = r.Name, r.SourceKey
	}
	return nil
}
