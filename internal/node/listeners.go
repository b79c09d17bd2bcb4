package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"syscall"

	"postern/internal/config"
	"postern/relay/smtpd"
)

// listening is one listener at work.
type listening struct {
	*smtpd.Listener
	cfg  smtpd.ListenerConfig
	stop context.CancelFunc // no more connections; those that are open go on
}

// listen opens all ports before any is served.
func (n *Node) listen(file *config.File) error {
	n.listeners = map[string]*listening{}
	for _, name := range slices.Sorted(maps.Keys(file.Listener)) {
		if err := n.open(name, file.Listener[name]); err != nil {
			n.closeListeners(n.listeners)
			return err
		}
	}
	return nil
}

func (n *Node) open(name string, cfg smtpd.ListenerConfig) error {
	l, err := smtpd.Listen(name, cfg)
	if err != nil {
		return explainListen(cfg.Address.String(), err)
	}
	n.listeners[name] = &listening{Listener: l, cfg: cfg}
	return nil
}

func (n *Node) closeListeners(all map[string]*listening) {
	for _, l := range all {
		l.Close()
	}
}

// explainListen adds the remedy to what the system says about a port.
func explainListen(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; stop the process that has %s, or choose another address", err, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 need CAP_NET_BIND_SERVICE, see examples/postern.service", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; choose an address that this machine has", err)
	}
	return err
}

// serve begins to take connections on a listener.
func (n *Node) serve(name string) {
	l := n.listeners[name]
	ctx, cancel := context.WithCancel(n.background)
	l.stop = cancel
	n.log.Info("listening", "listener", name, "address", l.Addr().String(), "tls", string(l.cfg.TLS))
	n.serving.Go(func() {
		defer cancel()
		if err := n.server.Serve(ctx, l.Listener); !errors.Is(err, smtpd.ErrStopped) {
			select {
			case n.failed <- err:
			default:
			}
		}
	})
}

// relisten makes the listeners those of a new configuration. Ports that are new
// or whose certificates cannot be read are found out before anything changes.
func (n *Node) relisten(next map[string]smtpd.ListenerConfig) error {
	opened := map[string]*listening{}
	for name, cfg := range next {
		old := n.listeners[name]
		if old != nil && old.cfg.Address == cfg.Address {
			continue
		}
		l, err := smtpd.Listen(name, cfg)
		if err != nil {
			n.closeListeners(opened)
			return explainListen(cfg.Address.String(), err)
		}
		opened[name] = &listening{Listener: l, cfg: cfg}
	}
	for name, cfg := range next {
		old := n.listeners[name]
		if opened[name] != nil || reflect.DeepEqual(old.cfg, cfg) {
			continue
		}
		if err := old.Change(cfg); err != nil {
			n.closeListeners(opened)
			return err
		}
		old.cfg = cfg
	}
	for name, old := range n.listeners {
		if _, stays := next[name]; !stays || opened[name] != nil {
			old.stop()
			old.Close()
			delete(n.listeners, name)
			n.log.Info("no longer listening", "listener", name, "address", old.Addr().String())
		}
	}
	for name, l := range opened {
		n.listeners[name] = l
		n.serve(name)
	}
	n.noteListeners()
	return nil
}
