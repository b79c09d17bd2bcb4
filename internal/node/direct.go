package node

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
func (r *ruleset) makeDirect(old *ruleset, log *slog.Logger) error {
	self := r.file.Self()
	same := old != nil && old.file.Hostname == r.file.Hostname && old.file.Reputation.Timeout == r.file.Reputation.Timeout && reflect.DeepEqual(old.file.Self(), self) && reflect.DeepEqual(old.file.Provider, r.file.Provider)
	var errs []error
	for name, cfg := range r.file.Upstream {
		switch {
		case !cfg.MX:
			continue
		case same && old.direct[name] != nil && reflect.DeepEqual(old.file.Upstream[name].Config, cfg.Config):
			r.direct[name] = old.direct[name]
			continue
		}
		u, err := direct.New(name, cfg.Config, direct.Options{Hostname: r.file.Hostname, Self: self, STSFile: filepath.Join(r.file.StateDir, "mta-sts-"+name+".json"), DNSTimeout: r.file.Reputation.Timeout, Log: log, Rules: r.replies, Groups: r.file.Groups()})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.direct[name] = u
	}
	return errors.Join(errs...)
}

// retireDirect closes those that next has not taken over.
func (r *ruleset) retireDirect(ctx context.Context, next *ruleset) {
	for name, u := range r.direct {
		if next == nil || next.direct[name] != u {
			u.Close(ctx)
		}
	}
}
