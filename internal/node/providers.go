package node

import (
	"cmp"
	"context"
	"strings"

	"postern/internal/phrase"
	"postern/mail"
	"postern/reputation/bygroup"
)

// providerOf is the group of receivers that a domain is in, for mail by an upstream
// with mx = true; "" for other mail.
func (n *Node) providerOf(ctx context.Context, upstream, domain string) string {
	if r := n.inForce.Load(); r != nil {
		return r.Provider(ctx, upstream, domain)
	}
	return ""
}

// groupOfHost is the group of receivers that a host is one of, by the name that
// mail.Event has of it, such as "mx1.example.net[192.0.2.25]:25"; "" for none.
func (n *Node) groupOfHost(host string) string {
	name, _, ok := strings.Cut(host, "[")
	r := n.inForce.Load()
	if !ok || r == nil {
		return ""
	}
	if g := r.File.Groups().OfHost(name); g != nil {
		return g.Name
	}
	return ""
}

// clientsOf is how many clients a stream has.
func (n *Node) clientsOf(stream string) (count int) {
	for _, c := range n.file().Client {
		if c.Stream == stream {
			count++
		}
	}
	return count
}

// observeGroups learns what hosts of groups of receivers say of us. Only what they say
// themselves, under their own names, counts.
func (rs *receivers) observeGroups(e *mail.Event) {
	for _, s := range e.AllSaid() {
		if wantsLess(s) {
			rs.backoff.Groups.Refused(hearing(e, s, s.Reply))
		}
	}
	for i := range e.To {
		r := &e.To[i]
		switch {
		case r.Rule != "upstream" || r.Provider == "":
		case r.Code/100 == 2:
			if group := rs.groupOf(cmp.Or(r.Host, e.Host)); group != "" {
				rs.backoff.Groups.Took(e.Stream, group, domainOf(r.Address), r.Trial)
			}
		case r.Said != nil && wantsLess(r.Said):
			rs.backoff.Groups.Refused(hearing(e, r.Said, upstreamReply(r)))
		}
	}
}

// wantsLess reports whether a host of a group says that it wants less of us.
func wantsLess(s *mail.Evidence) bool {
	return s.Provider != "" && !s.Remote && s.About == mail.AboutUs && s.Class == mail.ClassRateLimited
}

func hearing(e *mail.Event, s *mail.Evidence, reply string) *bygroup.Refusal {
	return &bygroup.Refusal{Stream: e.Stream, Client: e.Client, Group: s.Provider, Domain: s.Domain, At: s.At, Named: s.Wait, Reply: phrase.Printable(reply)}
}
