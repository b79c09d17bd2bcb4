package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/config"
	"postern/internal/health"
	"postern/internal/statefile"
	"postern/ratelimit"
)

// openControl opens the control socket and puts behind it what the commands of
// operators ask for. A folder that is missing or cannot be written is tried
// again: mail does not need the commands.
func (n *Node) openControl(file *config.File) error {
	path := file.Control.Socket
	l, err := admin.ListenControl(path)
	switch {
	case errors.Is(err, admin.ErrControlInUse) && file.Redis.Enabled():
		n.log.Error("no control socket", "err", err)
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !statefile.IsDiskTrouble(err):
		return err
	case err != nil:
		n.health.Report(health.Control, "socket", err)
	}
	s := admin.ControlServer(api.Behind(api.OnSocket(admin.By), n.api.Handler()), n.log)
	n.opened.add(func(ctx context.Context) { s.Shutdown(ctx) })
	serve := func(l net.Listener) { n.serving.Go(func() { s.Serve(l) }) }
	if l != nil {
		serve(l)
	}
	n.run(func(ctx context.Context) {
		n.every(ctx, probeEvery, func() {
			if ctx.Err() == nil {
				n.keepControl(path, serve)
			}
		})
	})
	return nil
}

// keepControl makes the control socket again where it is gone, as with a folder
// below /run that was cleaned.
func (n *Node) keepControl(path string, serve func(net.Listener)) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	l, err := admin.ListenControl(path)
	if err == nil {
		serve(l)
	}
	n.health.Report(health.Control, "socket", err)
}

// completeFacts fills in what mail of a client has besides: its stream, the
// upstream and the source address.
func (n *Node) completeFacts(f *ratelimit.Facts) error {
	rules := n.inForce.Load()
	c, ok := rules.File.Client[f.Client]
	if !ok {
		return fmt.Errorf("no client %q; there are: %s", f.Client, strings.Join(slices.Sorted(maps.Keys(rules.File.Client)), ", "))
	}
	f.Stream, f.Tells, f.Names = c.Stream, c.Tells(), c.Names()
	if r := rules.Snapshot.Routes[c.Stream]; r != nil {
		f.Upstream, f.SourceIP = r.Name, r.SourceKey
	}
	return nil
}
