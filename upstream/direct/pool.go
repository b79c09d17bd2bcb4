package direct

import (
	"cmp"
	"container/list"
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"sync"
	"time"

	"postern/internal/tlsmin"
	"postern/mail"
	"postern/mx"
	"postern/mx/provider"
	"postern/upstream"
	"postern/upstream/replies"
)

// Bounds of what is kept of hosts.
const (
	// maxHosts is of how many hosts something is kept.
	maxHosts = 20_000
	// maxConnections is how many there are with all hosts together, those that are
	// idle included, as long as no more are in use.
	maxConnections = 2000
	// plainFor is how long a host whose TLS has failed gets plain text at once.
	plainFor   = 3 * 24 * time.Hour
	maxPlain   = 10_000
	countEvery = time.Second
)

// perOwner is the part of all transactions under way that domains of one owner have: who
// lets them wait for ten minutes each takes no more.
const perOwner = 4

// errOwnerFull: a quarter of them is with hosts that domains of one owner name.
var errOwnerFull = errors.New("as many connections as may be are in use for domains of one owner")

// errFull: as many transactions are under way as may be at one time.
var errFull = errors.New("as many connections to receivers are in use as may be")

// key is what connections are shared within.
type key struct {
	to     netip.AddrPort
	source netip.Addr         // zero: whichever the system chooses
	name   string             // that the certificate must be valid for, with TLS that must be; "": as the configuration has it
	tlsa   string             // of mx.TLSA, with the name for SNI; "": as name says
	must   bool               // TLS must be, the certificate is not looked at
	plain  bool               // STARTTLS is not used
	own    upstream.TLSPolicy // in place of the configuration's, where nothing above says more; "": that
	group  string             // of receivers, by the name of the host; "": none
}

// host is one address of somebody's exchangers with its connections.
type host struct {
	key   key
	up    *upstream.Upstream
	lane  *lane // nil: it is in no group
	inUse int   // transactions
	open  int   // connections when the last transaction ended
	place *list.Element
}

// pool keeps the hosts that were asked last.
type pool struct {
	name string
	cfg  upstream.Config
	opt  upstream.Options
	// strict is the oldest TLS where the certificate counts.
	strict tlsmin.Version

	mu      sync.Mutex
	hosts   map[key]*host
	order   *list.List // of hosts, the one that was used last in front
	lanes   map[laneKey]*lane
	inUse   int            // transactions with all hosts
	owners  map[string]int // of them, by owner of the recipients' domain
	open    int            // of all hosts
	counted time.Time      // when open was last counted
	plain   map[netip.AddrPort]time.Time
	// draining: nothing is kept any more. closed: nothing is given out any more.
	draining, closed bool
	ended            chan struct{} // while draining, closed and made anew when nothing is in use
	most             int           // connections with all hosts
}

func newPool(name string, cfg upstream.Config, o Options, roots *x509.CertPool) *pool {
	strict := cfg.TLSMin
	if cfg.TLS == upstream.EncryptOpportunistic {
		// Old TLS is better than the plain text that is left otherwise.
		cfg.TLSMin = tlsmin.V10
	}
	return &pool{
		name: name, cfg: cfg, opt: upstream.Options{Hostname: o.Hostname, Rules: o.Rules, Strangers: true, Roots: roots},
		strict: strict,
		hosts:  map[key]*host{}, lanes: map[laneKey]*lane{}, owners: map[string]int{}, order: list.New(), most: maxConnections, ended: make(chan struct{}), plain: map[netip.AddrPort]time.Time{},
	}
}

// level is what a receiver asks for of TLS.
type level struct {
	verified bool     // a certificate that is valid for the name of its host
	tlsa     *mx.TLSA // DANE; nil: nothing
	// group is what the group of the host wants; "": nothing.
	group provider.TLS
	// own is what the configuration has for the domain; "": nothing.
	own upstream.TLSPolicy
}

// policy reports whether it is the receiver who asks.
func (l level) policy() bool { return l.verified || l.tlsa != nil || l.own == "" && l.group != "" }

// ownWay reports whether sessions for the domain differ from those for others with the
// same host.
func (l level) ownWay() bool { return l.verified || l.tlsa != nil || l.own != "" }

// dane reports whether a TLSA record has to fit.
func (l level) dane() bool { return l.tlsa != nil && len(l.tlsa.Records) > 0 }

func (l level) String() string {
	switch {
	case l.dane():
		return " (DANE)"
	case l.verified:
		return " (MTA-STS)"
	}
	return ""
}

// keyFor says within what connections for a target are shared.
func (p *pool) keyFor(to netip.AddrPort, source netip.Addr, name string, l level, now time.Time) key {
	k, want := key{to: to, source: source}, p.wants(l)
	verified := l.verified || want == upstream.EncryptVerified
	switch {
	case l.dane():
		k.name, k.tlsa = l.tlsa.Base, l.tlsa.Key()
	case l.tlsa != nil && !verified:
		k.name, k.must = l.tlsa.Base, true
	case verified:
		k.name = name
	case want == upstream.EncryptRequired && p.cfg.TLS != upstream.EncryptRequired:
		k.name, k.must = name, true
	case want == upstream.EncryptOpportunistic:
		if want != p.cfg.TLS {
			k.own = want
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		k.plain = now.Before(p.plain[to])
	case want != p.cfg.TLS:
		k.own = want
	}
	return k
}

// inPlain reports whether connections of a key do not even try TLS.
func (p *pool) inPlain(k key) bool {
	return k.plain || k.own == upstream.EncryptOff || k.own == "" && k.name == "" && !k.must && p.cfg.TLS == upstream.EncryptOff
}

// take returns the host of a key, for one transaction of a message; give ends its
// use. g is the group of the host; nil: none. owner is that of the recipients' domain.
func (p *pool) take(ctx context.Context, k key, l level, g *provider.Group, env *mail.Envelope, owner string) (*host, error) {
	k.group = ""
	if g != nil {
		k.group = g.Name
	}
	way := p.lane(k.source, g)
	if err := way.enter(ctx, env, p.cfg.WaitTimeout); err != nil {
		return nil, err
	}
	h, err := p.claimAlone(k, l, way, owner)
	if err != nil {
		way.leave(env)
		return nil, err
	}
	return h, nil
}

// claimAlone claims a host and closes what is too much then. In a lane one does that at a
// time: another one would see what is about to be closed as closed.
func (p *pool) claimAlone(k key, l level, way *lane, owner string) (*host, error) {
	if way != nil {
		way.claiming.Lock()
		defer way.claiming.Unlock()
	}
	h, old, err := p.claim(k, l, way, owner)
	closeAll(old)
	if err == nil {
		p.closeSurplus(way)
	}
	return h, err
}

// give ends the use of a host by a transaction; parked: its connection has been given
// back before.
func (p *pool) give(h *host, env *mail.Envelope, owner string, parked bool) {
	p.release(h, owner)
	if !parked {
		h.lane.leave(env)
	}
}

// lane is the way from one of our addresses to a group.
func (p *pool) lane(source netip.Addr, g *provider.Group) *lane {
	if g == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := laneKey{g.Name, source}
	if p.lanes[k] == nil {
		p.lanes[k] = newLane(g, p.cfg.WaitTimeout)
	}
	return p.lanes[k]
}

// thin closes idle connections of a lane that has too many.
func (p *pool) thin(way *lane) {
	if way == nil {
		return
	}
	way.claiming.Lock()
	defer way.claiming.Unlock()
	p.closeSurplus(way)
}

// closeSurplus is thin, with way.claiming held.
func (p *pool) closeSurplus(way *lane) {
	p.mu.Lock()
	old := way.surplus()
	p.mu.Unlock()
	for _, h := range old {
		h.up.CloseIdle()
	}
}

// claim is take; old are hosts that have to go for it.
func (p *pool) claim(k key, l level, way *lane, owner string) (h *host, old []*host, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch h = p.hosts[k]; {
	case p.closed:
		return nil, nil, upstream.ErrClosed
	case p.inUse >= p.most:
		return nil, nil, errFull
	case p.owners[owner] >= max(1, p.most/perOwner):
		return nil, nil, errOwnerFull
	case h == nil:
		opt := p.opt
		if k.tlsa != "" {
			opt.Verify = l.tlsa.Verify
		}
		up, err := upstream.New(p.name, p.config(k, way), opt)
		if err != nil {
			return nil, nil, err
		}
		h = &host{key: k, up: up, lane: way}
		h.place = p.order.PushFront(h)
		p.hosts[k] = h
	}
	p.order.MoveToFront(h.place)
	h.inUse++
	p.inUse++
	p.owners[owner]++
	if way != nil {
		way.hosts[h] = true
	}
	return h, p.surplus(), nil
}

// config is that of one host. It is known by its address, so that no name is
// looked up again and what is dialled is what has been judged.
func (p *pool) config(k key, way *lane) upstream.Config {
	cfg := p.cfg
	if way != nil {
		cfg.MessagesPerConnection = cmp.Or(way.group.MessagesPerConnection, cfg.MessagesPerConnection)
	}
	cfg.MX, cfg.Hosts, cfg.ServerName = false, []string{k.to.String()}, k.name
	switch {
	case k.must:
		cfg.TLS, cfg.TLSMin = upstream.EncryptRequired, p.strict
	case k.name != "":
		cfg.TLS, cfg.TLSMin = upstream.EncryptVerified, p.strict
	case k.plain:
		cfg.TLS = upstream.EncryptOff
	case k.own == upstream.EncryptOpportunistic:
		cfg.TLS, cfg.TLSMin = k.own, tlsmin.V10
	case k.own != "":
		cfg.TLS = k.own
	}
	return cfg
}

// release ends the use of a host by a transaction.
func (p *pool) release(h *host, owner string) {
	n := h.up.Connections()
	p.mu.Lock()
	h.inUse--
	p.inUse--
	if p.owners[owner]--; p.owners[owner] <= 0 {
		delete(p.owners, owner)
	}
	p.open += n - h.open
	h.open = n
	old := p.surplus()
	if p.draining {
		old = append(old, p.unused()...)
		if p.inUse == 0 {
			close(p.ended)
			p.ended = make(chan struct{})
		}
	}
	p.mu.Unlock()
	closeAll(old)
}

// surplus takes out the hosts that nobody has used for the longest time, as long
// as there are too many of them or of connections; p.mu is held.
func (p *pool) surplus() (old []*host) {
	if p.open+p.inUse > p.most {
		p.count(time.Now())
	}
	for e := p.order.Back(); e != nil && (len(p.hosts) > maxHosts || p.open+p.inUse > p.most); {
		h := e.Value.(*host)
		e = e.Prev()
		if h.inUse > 0 || len(p.hosts) <= maxHosts && h.open == 0 {
			continue
		}
		p.remove(h)
		p.open -= h.open
		old = append(old, h)
	}
	return old
}

// count takes account of the connections that have ended since by themselves, at
// most once in a while; p.mu is held.
func (p *pool) count(now time.Time) {
	if now.Sub(p.counted) < countEvery {
		return
	}
	p.counted, p.open = now, 0
	for _, h := range p.hosts {
		h.open = h.up.Connections()
		p.open += h.open
	}
}

// closeAll closes hosts that nobody uses.
func closeAll(old []*host) {
	for _, h := range old {
		h.up.Close(context.Background())
	}
}

// fellBack notes that TLS with a host has failed.
func (p *pool) fellBack(to netip.AddrPort, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.plain) >= maxPlain {
		for a, until := range p.plain {
			if !now.Before(until) || len(p.plain) > maxPlain*9/10 {
				delete(p.plain, a)
			}
		}
	}
	p.plain[to] = now.Add(plainFor)
}

func (p *pool) setRules(r *replies.Classifier) {
	if r == nil {
		r = replies.BuiltIn()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opt.Rules = r
	for _, h := range p.hosts {
		h.up.SetRules(r)
	}
}

func (p *pool) connections() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hosts {
		n += h.up.Connections()
	}
	return n
}

// close closes idle connections at once and the others as their transactions end.
// Transactions that begin meanwhile are still served, until ctx ends.
func (p *pool) close(ctx context.Context) error {
	p.mu.Lock()
	p.draining = true
	old := p.unused()
	p.mu.Unlock()
	closeAll(old)
	var err error
	for err == nil {
		p.mu.Lock()
		if p.closed = p.inUse == 0; p.closed {
			p.mu.Unlock()
			return nil
		}
		ended := p.ended
		p.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	p.mu.Lock()
	p.closed = true
	var all []*host
	for _, h := range p.hosts {
		all = append(all, h)
	}
	p.mu.Unlock()
	for _, h := range all {
		h.up.Close(ctx)
	}
	return err
}

// unused takes out all hosts that no transaction uses; p.mu is held.
func (p *pool) unused() (old []*host) {
	for _, h := range p.hosts {
		if h.inUse == 0 {
			p.remove(h)
			old = append(old, h)
		}
	}
	return old
}

// remove takes a host out; p.mu is held.
func (p *pool) remove(h *host) {
	p.order.Remove(h.place)
	delete(p.hosts, h.key)
	if h.lane != nil {
		delete(h.lane.hosts, h)
	}
}
