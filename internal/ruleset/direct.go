package ruleset

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"reflect"

	"postern/upstream/direct"
)

// makeDirect makes the upstreams with mx = true, and takes over those of old for
// which nothing has changed.
func (r *Set) makeDirect(old *Set, log *slog.Logger) error {
	self := r.File.Self()
	groups := old != nil && reflect.DeepEqual(old.File.Provider, r.File.Provider)
	same := groups && old.File.Hostname == r.File.Hostname && old.File.Reputation.Timeout == r.File.Reputation.Timeout && reflect.DeepEqual(old.File.Self(), self)
	var errs []error
	for name, cfg := range r.File.Upstream {
		switch {
		case !cfg.MX:
			continue
		case same && old.Direct[name] != nil && reflect.DeepEqual(old.File.Upstream[name].Config, cfg.Config):
			r.Direct[name] = old.Direct[name]
			continue
		}
		o := direct.Options{Hostname: r.File.Hostname, Self: self, STSFile: filepath.Join(r.File.StateDir, "mta-sts-"+name+".json"), DNSTimeout: r.File.Reputation.Timeout, Log: log, Rules: r.replies, Groups: r.File.Groups()}
		if groups {
			o.After = old.Direct[name]
		}
		u, err := direct.New(name, cfg.Config, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Direct[name] = u
	}
	return errors.Join(errs...)
}

// retireDirect closes those that next has not taken over.
func (r *Set) retireDirect(ctx context.Context, next *Set) {
	for name, u := range r.Direct {
		if next == nil || next.Direct[name] != u {
			u.Close(ctx)
		}
	}
}
