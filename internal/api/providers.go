package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/text"
	"postern/mx/provider"
	"postern/upstream/warmup"
)

// Provider is one group of receivers, such as google, as one upstream with mx = true
// uses it. There are no more than groups and upstreams in the configuration, whatever
// domains mail goes to.
type Provider struct {
	admin.ProviderLane
	// MaxConnections is how many the group is given from each of our addresses; missing:
	// any number.
	MaxConnections int    `json:"connections_max,omitempty"`
	Pace           string `json:"pace,omitempty"` // such as 100/1m from each address; missing: any
	// Waits are the streams whose mail to the group waits now.
	Waits []ProviderWait `json:"waits"`
	// Warmups are the budgets of our addresses that are warmed up there.
	Warmups []warmup.Row `json:"warmups"`
}

// Use says in words what is made of the group now, and what it is given.
func (p *Provider) Use() string {
	s := text.Count(p.Open, "connection", "connections")
	if p.MaxConnections > 0 {
		s = fmt.Sprintf("%d of %s", p.Open, text.Count(p.MaxConnections*max(p.Sources, 1), "connection", "connections"))
	}
	if p.Sources > 1 {
		s += fmt.Sprintf(" from %d addresses", p.Sources)
	}
	s += fmt.Sprintf(", %s under way", text.Count(p.InUse, "transaction", "transactions"))
	if p.Waiting > 0 {
		s += fmt.Sprintf(", %d waiting", p.Waiting)
	}
	if p.Pace != "" {
		s += ", pace " + p.Pace
		if p.Sources > 1 {
			s += " from each"
		}
	}
	if p.Refused > 0 {
		s += fmt.Sprintf(", %d found no room in time", p.Refused)
	}
	return s
}

// WarmupWords says how far a new address has come.
func WarmupWords(r *warmup.Row) string {
	if r.Budget == 0 {
		return fmt.Sprintf("no budget any more, %d messages in 24 hours", r.Sent)
	}
	return fmt.Sprintf("%d of %d messages in 24 hours, step %d of %d", r.Sent, r.Budget, r.Step, r.Steps)
}

// ProviderWait is a back-off of one stream from a group.
type ProviderWait struct {
	Stream string    `json:"stream"`
	Until  time.Time `json:"until"`
	Reply  string    `json:"reply,omitempty"` // that asked for it
}

// providers puts together what pools, the back-off and the gates of new addresses know.
func (a *API) providers(ctx context.Context, q PageQuery) (p Page[Provider], err error) {
	warm, err := a.parts.Warmups(ctx)
	if err != nil {
		return p, fault(err)
	}
	all := providerRows{groups: a.parts.Groups(), at: map[[2]string]int{}}
	for _, l := range a.parts.Lanes() {
		all.row(l.Upstream, l.Provider).ProviderLane = l
	}
	for i := range warm {
		r := all.row(warm[i].Upstream, warm[i].Provider)
		r.Warmups = append(r.Warmups, warm[i])
	}
	upstreams, masked := map[string]string{}, access.Of(ctx).Masked()
	for _, s := range a.parts.Status().Streams {
		upstreams[s.Name] = s.Upstream
	}
	for _, e := range a.parts.Backoff.Groups.List() {
		up, ok := upstreams[e.Stream]
		if !ok { // it went with a reload
			continue
		}
		if masked {
			e.Reply = MaskText(e.Reply)
		}
		r := all.row(up, e.Group)
		r.Waits = append(r.Waits, ProviderWait{e.Stream, e.Until, e.Reply})
	}
	slices.SortFunc(all.rows, func(x, y Provider) int {
		return cmp.Or(cmp.Compare(x.Upstream, y.Upstream), cmp.Compare(x.Provider, y.Provider))
	})
	return pageOf(all.rows, func(r *Provider) string { return keyOf(r.Upstream, r.Provider) }, q, "providers")
}

// providerRows are the rows so far.
type providerRows struct {
	groups *provider.Groups
	rows   []Provider
	at     map[[2]string]int
}

// row is the one of an upstream and a group. It holds until the next call.
func (p *providerRows) row(upstream, group string) *Provider {
	k := [2]string{upstream, group}
	i, ok := p.at[k]
	if !ok {
		i = len(p.rows)
		p.at[k] = i
		r := Provider{ProviderLane: admin.ProviderLane{Upstream: upstream, Provider: group}, Waits: []ProviderWait{}, Warmups: []warmup.Row{}}
		if g := p.groups.Named(group); g != nil {
			r.MaxConnections, r.Pace = g.Connections, g.Rate.String()
		}
		p.rows = append(p.rows, r)
	}
	return &p.rows[i]
}
