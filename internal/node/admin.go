package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
)

// adminConnections is how many the port of [admin] has open at once. Each needs a file
// handle, which mail needs, too.
const adminConnections = 256

// openAdmin serves metrics, health and the console.
func (n *Node) openAdmin(cfg config.AdminConfig) error {
	if !cfg.Address.IsValid() {
		return nil
	}
	secure, err := n.adminTLS()
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	ln, err := net.Listen("tcp", cfg.Address.String())
	if err != nil {
		return explainListen(cfg.Address.String(), fmt.Errorf("admin: %w", err))
	}
	ln = admin.NewCrowd(ln, adminConnections)
	h := n.guardMetrics(admin.Handler(n.metrics, n.readiness, func() []string {
		f := n.inForce.Load().File
		return append([]string{f.Hostname}, f.Admin.Hosts...)
	}, n.alerts.links().Serve, n.servePort, n.console.Serve))
	if secure != nil {
		ln, h = tls.NewListener(ln, secure.Config()), secure.Recheck(h)
	}
	n.serveHTTP(ln, h)
	return nil
}

// serveHTTP serves h on ln until the node stops.
func (n *Node) serveHTTP(ln net.Listener, h http.Handler) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.serving.Go(func() { s.Serve(ln) })
	n.opened.add(func(ctx context.Context) { s.Shutdown(ctx) })
}
