package direct

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/mail"
	"postern/mx"
	"postern/mx/provider"
	"postern/mx/sts"
	"postern/upstream"
	"postern/upstream/patience"
	"postern/upstream/warmup"
)

// maxSessions is how many hosts are asked that answer at all, before the client
// is told to come again.
const maxSessions = 2

// rule is what decides where there is no host to ask, in events.
const rule = "mx"

// Transaction is one mail transaction with an exchanger of one domain. One
// goroutine at a time uses it. After a fault every call returns that fault.
type Transaction struct {
	u     *Upstream
	route upstream.Route
	env   *mail.Envelope

	domain string
	host   *host                 // nil before the first session and after the end
	in     *upstream.Transaction // with host; nil before
	target mx.Target
	level  level       // what the domain asks for of TLS
	says   *sts.Policy // of the domain, as it was found for this search; nil: none
	group  string      // of receivers that the domain is in
	asked  string      // the name of the host that was asked last
	from   netip.Addr  // our address to it
	warmup *warmup.Gate
	place  place // in the budget of a new address
	visit  *patience.Visit
	parked bool // the connection is given back for a while
	taken  int  // recipients that were accepted
	ended  bool
	err    error
}

// Host is the host that the transaction talks to, such as
// "mx1.example.net[192.0.2.25]:25"; "" before that.
func (t *Transaction) Host() string {
	if t.in == nil {
		return ""
	}
	return t.target.String()
}

// SourceIP is our address on that connection.
func (t *Transaction) SourceIP() netip.Addr {
	if t.in == nil {
		return netip.Addr{}
	}
	return t.in.SourceIP()
}

// TLS is the version in use, such as "TLSv1.3", and the policy that asks for it, as in
// "TLSv1.3 (MTA-STS)"; "" in plain text.
func (t *Transaction) TLS() string {
	if t.in == nil || t.in.TLS() == "" {
		return ""
	}
	return t.in.TLS() + t.level.String()
}

// Recipients asks for a verdict on each of rs and appends one reply for each to
// out. The first recipient that is taken settles the domain: those of others are
// told 452 4.5.3, so that the client sends them in a transaction of their own.
// Where a domain has no host that takes a session, its recipients get a reply of
// ours, which says so in Own.
//
// The error is a fault on a session that had taken recipients, or the end of ctx:
// nobody then knows a verdict, and the transaction is over.
func (t *Transaction) Recipients(ctx context.Context, rs []mail.Recipient, out []mail.Reply) ([]mail.Reply, error) {
	if t.ended {
		t.err = errors.Join(t.err, upstream.ErrClosed)
	}
	if t.err != nil {
		return out, t.err
	}
	base := len(out)
	out = append(out, make([]mail.Reply, len(rs))...)
	for i := range rs {
		if out[base+i].Code != 0 {
			continue
		}
		group, which := ofDomain(rs, rs[i].Domain)
		got, err := t.ask(ctx, rs[i].Domain, group)
		if err != nil {
			t.err = err
			return out[:base], err
		}
		for j, w := range which {
			out[base+w] = got[j]
			if t.domain == rs[i].Domain {
				out[base+w].Provider = t.group
			}
		}
	}
	return out, nil
}

// ofDomain are the recipients of a domain, and where they stand.
func ofDomain(rs []mail.Recipient, domain string) (group []mail.Recipient, which []int) {
	for i := range rs {
		if rs[i].Domain == domain {
			group, which = append(group, rs[i]), append(which, i)
		}
	}
	return group, which
}

// ask puts recipients of one domain to a host of it.
func (t *Transaction) ask(ctx context.Context, domain string, rs []mail.Recipient) ([]mail.Reply, error) {
	defer t.visit.Wait()()
	switch {
	case t.in != nil && t.domain == domain:
		if err := t.unpark(ctx); err != nil {
			return nil, err
		}
		got, err := t.in.Recipients(ctx, rs, nil)
		t.note(got)
		return got, t.said(err)
	case t.taken > 0:
		return slices.Repeat([]mail.Reply{replySeveral()}, len(rs)), nil
	}
	t.leave()
	t.domain = domain
	return t.begin(ctx, rs)
}

// begin finds a host of the domain that takes a session, and asks it.
func (t *Transaction) begin(ctx context.Context, rs []mail.Recipient) ([]mail.Reply, error) {
	began := time.Now()
	if !t.visit.To(mx.Owner(t.domain)) {
		t.group = t.u.known.group(t.domain)
		return t.fault(rs, errSlow, nil), nil
	}
	answer, err := t.find(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("upstream %s: %w", t.u.name, ctx.Err())
	case err != nil:
		t.group = t.u.known.group(t.domain)
		return t.fault(rs, err, nil), nil
	}
	g := t.u.opt.Groups.Of(answer.Hosts)
	if t.group = provider.NameOf(g); g != nil {
		t.visit.Leave() // a group has bounds of its own
	}
	if !answer.Named {
		t.u.known.note(t.domain, t.group)
	}
	if answer.Problem != mx.None {
		t.u.tellRefused(&answer)
		return problem(rs, answer.Problem), nil
	}
	s := search{t: t, began: began}
	ways := t.ways(ctx, &answer)
	if len(ways) == 0 {
		t.unnamed()
		return t.fault(rs, fmt.Errorf("%w: MTA-STS names none of the domain's hosts", errPolicy), nil), nil
	}
	for _, w := range ways {
		got, done, err := s.try(ctx, w, rs)
		if done || err != nil {
			return got, err
		}
	}
	return t.fault(rs, s.fault(), s.said), nil
}

// errSlow: the client has its part of transactions with a receiver that is slow.
var errSlow = errors.New("its hosts are slow, and this client has its part of messages with them")

// errPolicy: the TLS that a domain asks for cannot be had.
var errPolicy = errors.New("policy of TLS")

// way is a target with what its domain asks for there.
type way struct {
	mx.Target
	level level
	err   error // why it must not be used
}

// ways are those that may be tried. Where a host has TLSA records that can be used these
// count, else a policy of MTA-STS does (RFC 8461 s. 2).
func (t *Transaction) ways(ctx context.Context, a *mx.Answer) (ways []way) {
	ctx, cancel := context.WithTimeout(ctx, t.u.cfg.FindTimeout)
	defer cancel()
	dane, own := false, t.u.exception(t.domain)
	for _, target := range a.Targets {
		w := way{Target: target, level: level{own: own.tls}}
		if own.tlsa {
			w.level.tlsa, w.err = t.u.finder.TLSA(ctx, t.domain, target)
		}
		dane = dane || w.level.tlsa != nil || w.err != nil
		ways = append(ways, w)
	}
	if !dane && !a.Named {
		verified := t.policy(ctx, a)
		ways = nil
		for _, target := range a.Targets {
			ways = append(ways, way{Target: target, level: level{own: own.tls, verified: verified}})
		}
		return ways
	}
	p, ok := t.sts(ctx)
	if left := allowed(ways, a, &p, ok); len(left) > 0 || !ok {
		return left
	}
	p, ok = t.changed(ctx)
	return allowed(ways, a, &p, ok)
}

// allowed are the ways to hosts that have TLSA records of their own, that a policy names, or
// that the operator names: these get the mail, also where the policy does not name them.
func allowed(all []way, a *mx.Answer, p *sts.Policy, enforced bool) (ways []way) {
	for _, w := range all {
		named := p.Matches(w.Host)
		if w.level.verified = enforced && !w.level.dane() && (!a.Named || named); !w.level.verified || w.err != nil || named {
			ways = append(ways, w)
		}
	}
	return ways
}

// sts is the policy of the domain, if it enforces one.
func (t *Transaction) sts(ctx context.Context) (p sts.Policy, ok bool) {
	p, ok = t.known(ctx)
	return p, ok && p.Mode == sts.Enforce
}

// known is the policy of the domain, whatever it asks for.
func (t *Transaction) known(ctx context.Context) (p sts.Policy, ok bool) {
	if t.says = nil; t.u.sts == nil || !t.u.exception(t.domain).sts || strings.HasPrefix(t.domain, "[") {
		return p, false
	}
	if p, ok = t.u.sts.Policy(ctx, t.domain); ok {
		t.says = &p
	}
	return p, ok
}

// policy leaves only the hosts that a policy of the domain names, if it enforces
// one; verified: with them TLS must be, and their certificates valid.
func (t *Transaction) policy(ctx context.Context, a *mx.Answer) (verified bool) {
	p, ok := t.sts(ctx)
	if !ok {
		return false
	}
	all := a.Targets
	if t.u.finder.Only(a, p.Matches); len(a.Targets) > 0 {
		return true
	}
	if p, ok = t.changed(ctx); !ok {
		a.Targets = all
		return false
	}
	t.u.finder.Only(a, p.Matches)
	return true
}

// changed is sts where the policy names none of the hosts: it may have changed with them.
func (t *Transaction) changed(ctx context.Context) (p sts.Policy, ok bool) {
	if p, ok = t.u.sts.Refresh(ctx, t.domain); !ok {
		t.says = nil
		return p, false
	}
	t.says = &p
	return p, p.Mode == sts.Enforce
}

// problem is the reply for each recipient of a domain without a host.
func problem(rs []mail.Recipient, p mx.Problem) []mail.Reply {
	made := map[mx.Problem]func(mail.Address) mail.Reply{mx.NoDomain: replyNoDomain, mx.NullMX: replyNullMX, mx.NoAddress: replyNoAddress, mx.Loop: replyLoop}[p]
	own := &mail.Own{Rule: rule, Class: mail.ClassNoSuchUser}
	if p == mx.Loop {
		own.Class = mail.ClassOther
	}
	return each(rs, made, own)
}

// fault is the reply for each recipient of a domain whose hosts could not be
// found or reached.
func (t *Transaction) fault(rs []mail.Recipient, err error, said *mail.Evidence) []mail.Reply {
	own := &mail.Own{Rule: rule, Class: mail.ClassTemporaryFault, Domain: t.domain, Err: fmt.Errorf("upstream %s: %s: %w", t.u.name, t.domain, err), Said: said}
	made := replyUnreachable
	switch {
	case errors.Is(err, errPolicy):
		made, own.Class = replyPolicy, mail.ClassTLSRequired
	case errors.Is(err, errSlow):
		made = replySlow
	case errors.Is(err, mx.ErrDNS):
		made = replyDNS
	case errors.Is(err, mx.ErrFamily):
		made = replyFamily
	case said != nil:
		own.Class = said.Class
	}
	return each(rs, made, own)
}

func each(rs []mail.Recipient, made func(mail.Address) mail.Reply, own *mail.Own) []mail.Reply {
	all := make([]mail.Reply, len(rs))
	for i := range rs {
		all[i] = made(rs[i].Address)
		all[i].Own = own
	}
	return all
}

// note counts who was taken, and says whose word the refusals are.
func (t *Transaction) note(got []mail.Reply) {
	for i := range got {
		t.place.heard(&got[i])
		if got[i].Positive() {
			t.taken++
		} else {
			t.word(got[i].Said)
		}
	}
}

// word notes whose word a refusal is: that of the domain, by a host of a group where
// the name of the host says so.
func (t *Transaction) word(s *mail.Evidence) {
	if s == nil {
		return
	}
	s.Domain, s.SourceIP = t.domain, mail.AddrText(t.from)
	if g := t.u.opt.Groups.OfHost(t.asked); g != nil {
		s.Provider = g.Name
	}
}

// said notes in what a host said instead of a transaction whose word it is.
func (t *Transaction) said(err error) error {
	t.word(upstream.Said(err))
	return err
}

// Send hands over the content, as Send of upstream.Transaction does.
func (t *Transaction) Send(ctx context.Context, body upstream.Content) (mail.Reply, error) {
	switch {
	case t.err != nil:
		return mail.Reply{}, t.err
	case t.in == nil:
		return mail.Reply{}, errors.New("no recipient was accepted")
	}
	heard := t.visit.Wait()
	r, err := t.in.Send(ctx, body)
	heard()
	t.place.sent(&r, err)
	t.word(r.Said)
	r.Provider = t.group
	return r, t.said(err)
}

// Resume takes a connection again after Park, as Resume of upstream.Transaction does.
func (t *Transaction) Resume(ctx context.Context, size int64) (parked bool, err error) {
	if t.err != nil || t.in == nil {
		return false, t.err
	}
	if err := t.unpark(ctx); err != nil {
		return true, err
	}
	parked, err = t.in.Resume(ctx, size)
	return parked, t.said(err)
}

// unpark takes room with the receiver's group again after Park.
func (t *Transaction) unpark(ctx context.Context) error {
	if !t.parked {
		return nil
	}
	if err := t.host.lane.room(ctx, t.env, t.u.cfg.WaitTimeout); err != nil {
		return fmt.Errorf("upstream %s: %s: %w", t.u.name, t.target, err)
	}
	t.parked = false
	t.u.pool.thin(t.host.lane)
	return nil
}

// Park gives the connection back for a while, as Park of upstream.Transaction does.
func (t *Transaction) Park() error {
	if t.err != nil || t.in == nil {
		return t.err
	}
	err := t.in.Park()
	if !t.parked && t.host != nil {
		t.host.lane.leave(t.env)
		t.parked = true
	}
	return err
}

// Wanted reports whether other transactions wait for a connection such as this one holds.
func (t *Transaction) Wanted() bool {
	return t.in != nil && (t.in.Wanted() || t.host != nil && t.host.lane.wanted())
}

// Close ends the transaction. Host, SourceIP and TLS still return what they did.
func (t *Transaction) Close() {
	t.ended = true
	t.place.end()
	t.visit.End()
	if t.in != nil {
		t.in.Close()
	}
	if t.host != nil {
		t.u.pool.give(t.host, t.env, mx.Owner(t.domain), t.parked)
		t.host = nil
	}
}

// leave ends the session with a domain of which no recipient was taken.
func (t *Transaction) leave() {
	t.place.end()
	t.visit.Leave()
	if t.in == nil {
		return
	}
	t.in.Close()
	t.u.pool.give(t.host, t.env, mx.Owner(t.domain), t.parked)
	t.host, t.in, t.parked = nil, nil, false
}
