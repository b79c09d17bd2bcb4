package console

import (
	"fmt"

	"postern/internal/access"
	"postern/internal/api"
	"postern/internal/console/peers"
	"postern/mail"
)

// otherNodes adds what the other nodes say needs somebody; one that is silent is named.
func (v *visit) otherNodes(p *needsPart) {
	for _, a := range v.states() {
		if a.Err != nil {
			p.Conditions = append(p.Conditions, conditionItem{Text: fmt.Sprintf("Node %s is silent: %s. What it alone knows is missing here.", clean(a.Name), v.words(a.Err.Error()))})
			continue
		}
		for _, r := range a.Value.Status.Reasons {
			p.Conditions = append(p.Conditions, conditionItem{Bad: true, Text: v.onNode(a.Name, r.Text), Since: v.moment(r.Since)})
		}
		for _, r := range a.Value.Status.Degraded {
			p.Conditions = append(p.Conditions, conditionItem{Text: v.onNode(a.Name, r.Text), Since: v.moment(r.Since)})
		}
		for i := range a.Value.Listings {
			item := v.listing(&a.Value.Listings[i])
			item.Target += " (seen by " + clean(a.Name) + ")"
			p.Listings = append(p.Listings, item)
		}
	}
}

func (v *visit) onNode(name, text string) string { return clean(name) + ": " + v.words(text) }

// states are what the other nodes say of themselves.
func (v *visit) states() []peers.Answer[peers.NodeState] {
	if v.nodes == nil {
		v.nodes = v.peers.States()
	}
	return v.nodes
}

// otherUpstreams are those of the other nodes.
func (v *visit) otherUpstreams(p *upstreamsPart) {
	for _, a := range v.states() {
		if a.Err != nil {
			continue
		}
		rows := map[string]int{}
		of := func(upstream string) int {
			at, ok := rows[upstream]
			if !ok {
				at = len(p.Rows)
				rows[upstream] = at
				p.Rows = append(p.Rows, upstreamRow{Name: clean(upstream), Node: clean(a.Name)})
			}
			return at
		}
		for upstream, groups := range byUpstream(a.Value.Providers) {
			at := of(upstream)
			v.addGroups(&p.Rows[at], groups)
		}
		for i := range a.Value.Status.Upstreams {
			h := &a.Value.Status.Upstreams[i]
			at := of(h.Upstream)
			p.Rows[at].Hosts = append(p.Rows[at].Hosts, v.hostRow(&Host{Upstream: h.Upstream, Host: h.Host, Up: h.Up, Since: h.Since, LastSuccess: h.LastSuccess, LastFailure: h.LastFailure, LastError: h.LastError, Connections: h.InUse, Idle: h.Idle, Max: h.Max}))
		}
	}
}

// otherEvents begins a search at the other nodes, as who looks may see it.
func (v *visit) otherEvents(q *asked) <-chan []group {
	found := make(chan []group, 1)
	ask := q.EventsQuery
	if v.isOwner() {
		ask.Client = v.Client
	}
	if ask.Cursor != "" { // it is of this node's journal
		found <- nil
		return found
	}
	title, to := q.title, q.To
	go func() {
		var groups []group
		for _, a := range v.peers.Events(ask) {
			g := group{Title: clean(title + " on " + a.Name)}
			if title == "" {
				g.Title = "On " + clean(a.Name)
			}
			switch {
			case a.Err != nil:
				g.Why = v.words(a.Name + ": " + a.Err.Error())
			case a.Value.Next != "":
				g.Why = "There are more; the console of " + clean(a.Name) + " shows them."
			}
			for i := range a.Value.Items {
				if e := &a.Value.Items[i]; v.maySee(e) {
					row := v.foundRow(e, to)
					row.Node = clean(a.Name)
					g.Rows = append(g.Rows, row)
				}
			}
			groups = append(groups, g)
		}
		found <- groups
	}()
	return found
}

// maySee holds a message of another node, which has answered as its token may see, to who
// looks here.
func (v *visit) maySee(e *mail.Event) bool {
	if v.Masked() {
		api.MaskEvent(e)
	}
	return v.Role != access.Owner || e.Client == v.Client
}
