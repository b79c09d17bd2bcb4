package direct

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"postern/mail"
	"postern/upstream"
)

// Fan is one mail transaction with exchangers of several domains at the same time: a
// Transaction for each domain, never one for domains that happen to share a host
// (large receivers refuse such). One goroutine at a time uses it.
type Fan struct {
	// OneDomain: while it is set, no recipients of a further domain are taken.
	OneDomain bool

	u     *Upstream
	route upstream.Route
	env   *mail.Envelope
	legs  []*leg       // in the order in which their domains came
	first *Transaction // of the domain that was asked first; nil before
	ended bool
}

// leg is the transaction with one domain.
type leg struct {
	*Transaction
	lost error // why nothing can be sent to it any more; nil: it can
}

// group are recipients of one domain that are asked about together.
type group struct {
	leg    *leg // nil: the domain has none yet
	domain string
	rs     []mail.Recipient
	which  []int // where their replies belong
	got    []mail.Reply
}

// Fan starts a transaction for several domains. As for Begin, env must stay as it is
// until its end, but for env.To, and the caller calls Close in the end.
func (u *Upstream) Fan(r upstream.Route, env *mail.Envelope) *Fan {
	return &Fan{u: u, route: r, env: env}
}

// Recipients asks for a verdict on each of rs, the domains at the same time, and
// appends one reply for each to out. As many domains as max_domains says can have
// recipients that were taken; those of further ones are told 452 4.5.3. A domain
// whose session is lost or that does not answer in time has a reply of ours.
//
// The error says that nothing is left of the transaction.
func (f *Fan) Recipients(ctx context.Context, rs []mail.Recipient, out []mail.Reply) ([]mail.Reply, error) {
	if f.ended {
		return out, upstream.ErrClosed
	}
	base := len(out)
	out = append(out, make([]mail.Reply, len(rs))...)
	answered := false
	for open := f.groups(rs); len(open) > 0; {
		now, later := f.admit(open)
		if len(now) == 0 {
			for _, g := range later {
				g.refuse()
			}
			now, later = later, nil
		} else {
			answered = f.ask(ctx, now) || answered
		}
		for _, g := range now {
			for i, w := range g.which {
				out[base+w] = g.got[i]
			}
		}
		open = later
	}
	if err := f.fault(ctx, answered); err != nil {
		return out[:base], err
	}
	return out, nil
}

// groups divides recipients by domain, in the order in which the domains come.
func (f *Fan) groups(rs []mail.Recipient) (all []*group) {
	by := map[string]*group{}
	for i := range rs {
		g := by[rs[i].Domain]
		if g == nil {
			g = &group{domain: rs[i].Domain, leg: f.of(rs[i].Domain)}
			by[g.domain] = g
			all = append(all, g)
		}
		g.rs, g.which = append(g.rs, rs[i]), append(g.which, i)
	}
	return all
}

func (f *Fan) of(domain string) *leg {
	for _, l := range f.legs {
		if l.domain == domain {
			return l
		}
	}
	return nil
}

// most is how many domains may have recipients that were taken.
func (f *Fan) most() int {
	if f.OneDomain {
		return 1
	}
	return f.u.cfg.MaxDomains
}

// admit begins a leg for the groups that have none, as far as there is room; the
// others come later. A domain that took nobody leaves its room to the next one.
func (f *Fan) admit(open []*group) (now, later []*group) {
	room := f.most() - f.taking()
	for _, g := range open {
		if g.leg == nil {
			g.leg = f.of(g.domain)
		}
		switch {
		case g.leg != nil && g.leg.taken > 0:
			now = append(now, g)
		case room > 0:
			room--
			now = append(now, g)
		default:
			later = append(later, g)
		}
	}
	f.begin(now)
	return now, later
}

// taking counts the domains that have recipients that were taken.
func (f *Fan) taking() (n int) {
	for _, l := range f.legs {
		if l.taken > 0 {
			n++
		}
	}
	return n
}

// begin makes legs for those of groups that have none. Where there are many, those
// that took nobody end.
func (f *Fan) begin(groups []*group) {
	fresh := 0
	for _, g := range groups {
		if g.leg == nil {
			fresh++
		}
	}
	if fresh > 0 && len(f.legs)+fresh > f.most() {
		f.dropIdle(groups)
	}
	for _, g := range groups {
		if g.leg != nil {
			continue
		}
		g.leg = &leg{Transaction: f.u.Begin(f.route, f.env)}
		g.leg.domain = g.domain
		f.legs = append(f.legs, g.leg)
		if f.first == nil {
			f.first = g.leg.Transaction
		}
	}
}

// dropIdle ends the legs that have taken nobody, but for those of groups.
func (f *Fan) dropIdle(groups []*group) {
	wanted := map[*leg]bool{}
	for _, g := range groups {
		wanted[g.leg] = true
	}
	var idle []*leg
	f.legs = slices.DeleteFunc(f.legs, func(l *leg) bool {
		if l.taken > 0 || wanted[l] {
			return false
		}
		idle = append(idle, l)
		return true
	})
	atOnce(idle, func(l *leg) { l.Close() })
}

// ask puts each group to its leg, all at the same time; answered: at least one
// domain has answered.
func (f *Fan) ask(ctx context.Context, groups []*group) (answered bool) {
	atOnce(groups, func(g *group) {
		if g.leg.lost == nil {
			g.got, g.leg.lost = g.leg.Recipients(ctx, g.rs, nil)
		}
		if err := g.leg.lost; err != nil {
			g.got = g.leg.fault(g.rs, err, upstream.Said(err))
		}
	})
	for _, g := range groups {
		answered = answered || g.leg.lost == nil
	}
	return answered
}

// atOnce calls f for all of a list at the same time.
func atOnce[T any](all []T, f func(T)) {
	if len(all) == 1 {
		f(all[0])
		return
	}
	var wg sync.WaitGroup
	for _, x := range all {
		wg.Go(func() { f(x) })
	}
	wg.Wait()
}

// refuse tells the recipients to come in another transaction.
func (g *group) refuse() {
	for range g.rs {
		g.got = append(g.got, replySeveral())
	}
}

// fault is why nothing is left: the caller has no more patience, or every domain
// that there was is lost. answered: a domain has had a word since.
func (f *Fan) fault(ctx context.Context, answered bool) (err error) {
	for _, l := range f.legs {
		switch {
		case l.lost != nil && err == nil:
			err = l.lost
		case l.lost == nil && l.taken > 0:
			answered = true
		}
	}
	if answered && ctx.Err() != context.Canceled {
		return nil
	}
	return err
}

// Resume has all domains take their connections again after Park, at the same time, as
// Resume of upstream.Transaction does. Send reports what was lost on the way.
func (f *Fan) Resume(ctx context.Context, size int64) (parked bool, err error) {
	f.unpark(ctx)
	var mu sync.Mutex
	atOnce(f.legs, func(l *leg) {
		if l.lost != nil {
			return
		}
		var was bool
		was, l.lost = l.Resume(ctx, size)
		mu.Lock()
		parked = parked || was
		mu.Unlock()
	})
	return parked, f.fault(ctx, false)
}

// unpark takes room with each group of receivers again after Park, for all domains of a
// group at once: one that had room already would not wait for that of another.
func (f *Fan) unpark(ctx context.Context) {
	by := map[*lane][]*leg{}
	for _, l := range f.legs {
		if l.lost == nil && l.parked {
			by[l.host.lane] = append(by[l.host.lane], l)
		}
	}
	atOnce(slices.Collect(maps.Keys(by)), func(way *lane) {
		err := way.rooms(ctx, f.env, len(by[way]), f.u.cfg.WaitTimeout)
		for _, l := range by[way] {
			if l.parked = err != nil; err != nil {
				l.lost = fmt.Errorf("upstream %s: %s: %w", f.u.name, l.target, err)
			}
		}
		if err == nil {
			f.u.pool.thin(way)
		}
	})
}

// Send hands the content to every domain that has taken recipients, at the same
// time, and returns what became of it at each. None waits for another.
func (f *Fan) Send(ctx context.Context, body upstream.Content) []upstream.Verdict {
	f.dropIdle(nil)
	body.Shared = len(f.legs) > 1
	all := make([]upstream.Verdict, len(f.legs))
	at := make([]int, len(f.legs))
	for i := range at {
		at[i] = i
	}
	atOnce(at, func(i int) {
		l, v := f.legs[i], &all[i]
		if v.Err = l.lost; v.Err == nil {
			v.Reply, v.Err = l.Send(ctx, body)
		}
		v.Domain, v.Host, v.SourceIP, v.TLS = l.domain, l.Host(), l.SourceIP(), l.TLS()
	})
	return all
}

// Park gives all connections back for a while, as Park of upstream.Transaction does.
func (f *Fan) Park() error {
	for _, l := range f.legs {
		if l.lost == nil {
			l.lost = l.Park()
		}
	}
	return f.fault(context.Background(), false)
}

// Wanted reports whether other transactions wait for one of the connections.
func (f *Fan) Wanted() bool {
	for _, l := range f.legs {
		if l.Wanted() {
			return true
		}
	}
	return false
}

// place is the transaction whose host stands for all.
func (f *Fan) place() *Transaction {
	for _, l := range f.legs {
		if l.taken > 0 {
			return l.Transaction
		}
	}
	return f.first
}

// Host is the host of the first domain that took a recipient, else of the first that
// was asked; "" before that.
func (f *Fan) Host() string {
	if t := f.place(); t != nil {
		return t.Host()
	}
	return ""
}

// SourceIP is our address on the connection with Host.
func (f *Fan) SourceIP() netip.Addr {
	if t := f.place(); t != nil {
		return t.SourceIP()
	}
	return netip.Addr{}
}

// TLS is the version of TLS in use with Host, as that of Transaction.
func (f *Fan) TLS() string {
	if t := f.place(); t != nil {
		return t.TLS()
	}
	return ""
}

// Close ends the transactions, all at the same time, since each may have to ask the store
// of a warm-up. Host, SourceIP and TLS still return what they did.
func (f *Fan) Close() {
	f.ended = true
	atOnce(f.legs, func(l *leg) { l.Close() })
}
