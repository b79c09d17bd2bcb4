package main

import (
	"context"
	"errors"

	"postern/admin"
	"postern/config"
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
	n.control.Suppressions(n.judges.suppressions)
	n.control.Held(n.judges.held)
	n.reputation.serveListings(n.control)
	s := n.control.Server()
	n.serving.Go(func() { s.Serve(l) })
	n.opened.add(func(ctx context.Context) { s.Shutdown(ctx) })
	return nil
}
