package direct

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/mail"
	"postern/mx"
	"postern/mx/provider"
	"postern/upstream"
)

// search goes through the addresses of a domain.
type search struct {
	t        *Transaction
	began    time.Time
	policy   error // why TLS that is asked for could not be had; nil: it could, or nothing is asked for
	sessions int   // hosts that answered and took no transaction
	errs     []error
	said     *mail.Evidence // by the last of them
}

// try asks the host at one address; done is false where the next one may be tried.
func (s *search) try(ctx context.Context, w way, rs []mail.Recipient) (got []mail.Reply, done bool, err error) {
	t, target := s.t, w.Target
	if s.sessions >= maxSessions || len(s.errs) > 0 && time.Since(s.began) >= t.u.cfg.FindTimeout {
		return nil, false, nil
	}
	if w.err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", target, w.err))
		s.policy = w.err
		t.failed(&w, netip.Addr{}, w.err)
		return nil, false, nil
	}
	route := t.route
	from, ok := Source(route.SourceIPs, t.domain, target.Address.Addr())
	if !ok {
		s.errs = append(s.errs, fmt.Errorf("%s: %w: none of the stream's is of its family", target, upstream.ErrSource))
		return nil, false, nil
	}
	group := t.u.opt.Groups.OfHost(target.Host)
	t.asked, t.from = target.Host, from
	if group != nil && group.TLS != provider.Opportunistic {
		w.level.group = group.TLS
	}
	if group == nil && !t.visit.To(target.Address.Addr().String()) {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", target, errSlow))
		return nil, false, nil
	}
	wait, err := t.enter(ctx, from)
	switch over := t.warmup.Way(); {
	case err != nil || wait > 0 && over == nil:
		return t.warming(rs, wait, err), true, nil
	case wait > 0:
		if from, ok = Source(over.Sources, t.domain, target.Address.Addr()); !ok {
			return t.warming(rs, wait, nil), true, nil
		}
		route = upstream.Route{SourceIPs: over.Sources, EHLO: over.EHLO}
		t.from = from
	}
	h, err := t.u.pool.take(ctx, t.u.pool.keyFor(target.Address, from, target.Host, w.level, time.Now()), w.level, group, t.env, mx.Owner(t.domain))
	switch {
	case errors.Is(err, errOwnTurn):
		return slices.Repeat([]mail.Reply{replySeveral()}, len(rs)), true, nil
	case err != nil:
		s.errs = append(s.errs, fmt.Errorf("%s: %w", target, err))
		if errors.Is(err, errTurn) {
			s.sessions = maxSessions // the domain's other hosts are mostly of that group, too
		}
		return nil, false, nil
	}
	return s.ask(ctx, &w, h, route, from, rs)
}

// ask begins a transaction at a host and asks it about the recipients; the results are
// those of try.
func (s *search) ask(ctx context.Context, w *way, h *host, route upstream.Route, from netip.Addr, rs []mail.Recipient) (got []mail.Reply, done bool, err error) {
	t, target := s.t, w.Target
	via := upstream.Route{EHLO: ehlo(route, t.u.opt.Hostname)}
	if from.IsValid() {
		via.SourceIPs = []netip.Addr{from}
	}
	in := h.up.Begin(via, t.env)
	got, err = in.Recipients(ctx, rs, nil)
	if err == nil {
		t.u.finder.Worked(t.domain, target.Address.Addr())
		if in.FellBack() {
			t.u.pool.fellBack(target.Address, time.Now())
		}
		t.host, t.in, t.target, t.level = h, in, target, w.level
		t.began(w, h, in)
		t.note(got)
		return got, true, nil
	}
	in.Close()
	t.u.pool.give(h, t.env, mx.Owner(t.domain), false)
	if ctx.Err() != nil {
		return nil, true, fmt.Errorf("upstream %s: %s: %w", t.u.name, target, ctx.Err())
	}
	if w.level.policy() && aboutTLS(err) {
		s.policy = err
	}
	s.failed(w, err, in.SourceIP().IsValid())
	t.failed(w, from, err)
	return nil, false, nil
}

// failed notes why an address took no transaction; session: MAIL or RCPT had been said.
func (s *search) failed(w *way, err error, session bool) {
	s.errs = append(s.errs, fmt.Errorf("%s: %w", w.Host, err))
	if said := upstream.Said(s.t.said(err)); said != nil {
		s.said = said
	}
	if errors.Is(err, upstream.ErrSource) || errors.Is(err, upstream.ErrBusy) {
		return // says nothing about the host
	}
	op := (*net.OpError)(nil)
	answered := !errors.As(err, &op) || op.Op != "dial"
	if answered {
		s.sessions++
	}
	if session || answered && w.level.ownWay() || aboutTLS(err) {
		// The owner of the domain may name hosts of others, which know nothing of it, or
		// have other TLS than it asks for.
		s.t.u.finder.FailedFor(s.t.domain, w.Address.Addr())
		return
	}
	s.t.u.finder.Failed(w.Address.Addr())
}

// aboutTLS reports whether there was no session since TLS could not be had.
func aboutTLS(err error) bool {
	return errors.Is(err, upstream.ErrHandshake) || errors.Is(err, upstream.ErrNoTLS) || errors.Is(err, upstream.ErrInjected)
}

// fault is why no address took a transaction.
func (s *search) fault() error {
	err := fmt.Errorf("no host takes mail: %w", faults(s.errs))
	if s.policy != nil {
		return fmt.Errorf("%w: %w", errPolicy, err)
	}
	return err
}

// faults are errors of one after another try, told on one line.
type faults []error

func (f faults) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (f faults) Unwrap() []error { return f }
