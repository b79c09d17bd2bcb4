package reputation

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// take counts one transaction and reads what its refusals say.
func (m *Monitor) take(t *Transaction) {
	var opened, ended []*Listing
	m.mu.Lock()
	m.history.Add(t)
	var seen map[string]bool
	for i := range t.Recipients {
		r := &t.Recipients[i]
		if r.Relayed && len(m.book.listings) == 0 {
			continue // no listing that this could end
		}
		destination := t.Upstream + " " + r.Domain
		switch {
		case r.Relayed:
			if !seen[destination] {
				if seen == nil {
					seen = map[string]bool{}
				}
				seen[destination] = true
				ended = append(ended, m.acceptedLocked(t, destination)...)
			}
		case r.Class == "listed-ip" || r.Class == "listed-domain":
			if l := m.refusedLocked(t, r, destination); l != nil {
				opened = append(opened, l)
			}
		case r.Class == "policy-auth" || r.Class == "ptr":
			m.askIdentityLocked(t, r)
		}
	}
	events := m.openedLocked(opened)
	events = append(events, m.endedLocked(ended)...)
	m.mu.Unlock()
	m.carryOut(events)
}

// refusedLocked takes a refusal for a listing as evidence.
func (m *Monitor) refusedLocked(t *Transaction, r *Recipient, destination string) *Listing {
	target := m.targetOfLocked(t, r)
	l := m.book.note(target, Evidence{
		Source: "reply of " + cmp.Or(r.Domain, t.Upstream), List: r.List, Time: t.Time, Text: printable(r.Reply),
		Weight: 1, Transactions: []string{t.ID}, Destination: destination,
	}, false)
	if l == nil && m.book.open(target) == nil {
		if z := m.zoneOfLocked(target, r); z != "" {
			m.enqueueLocked(job{transaction: t.ID, target: target, zone: z})
		}
	}
	return l
}

// targetOfLocked is what a refusal says is listed: one of ours that its text
// names, else that by which the mail left.
func (m *Monitor) targetOfLocked(t *Transaction, r *Recipient) Target {
	if r.Class == "listed-domain" {
		text := strings.ToLower(r.Reply)
		names := append(slices.Clone(t.Domains), m.ehloLocked(t.Stream))
		for _, d := range names {
			if d != "" && containsName(text, strings.ToLower(d)) {
				return DomainTarget(d)
			}
		}
		return DomainTarget(cmp.Or(append(names, t.Stream)...))
	}
	ours := m.addressesLocked(t.Stream)
	said := addressesIn(r.Reply)
	for _, ip := range said {
		if slices.Contains(ours, ip) || ip == t.SourceIP {
			return AddressTarget(ip)
		}
	}
	switch {
	case slices.Contains(ours, t.SourceIP):
		return AddressTarget(t.SourceIP)
	case len(ours) > 0:
		return AddressTarget(ours[0])
	case len(said) > 0:
		return AddressTarget(said[0])
	case t.SourceIP.IsValid():
		return AddressTarget(t.SourceIP)
	}
	return Target{Addresses, "stream " + t.Stream}
}

func (m *Monitor) stream(name string) *StreamIdentity {
	for i := range m.setup.Identity.Streams {
		if s := &m.setup.Identity.Streams[i]; s.Name == name {
			return s
		}
	}
	return &StreamIdentity{}
}

func (m *Monitor) ehloLocked(stream string) string            { return m.stream(stream).EHLO }
func (m *Monitor) addressesLocked(stream string) []netip.Addr { return m.stream(stream).Addresses }

// containsName reports whether a domain stands in a text by itself.
func containsName(text, name string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(name)
		if (i == 0 || !isNameByte(text[i-1]) && text[i-1] != '.') && (end == len(text) || !isNameByte(text[end])) {
			return true
		}
		from = i + 1
	}
}

// addressesIn finds the addresses that a text holds, at most ten.
func addressesIn(text string) (as []netip.Addr) {
	isPart := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == ':' || c == '.'
	}
	for word := range strings.FieldsFuncSeq(clip(text, 4096), func(c rune) bool { return !isPart(c) }) {
		if len(as) == 10 {
			break
		}
		if a, err := netip.ParseAddr(strings.Trim(word, ".")); err == nil && !a.IsUnspecified() {
			as = append(as, a.Unmap())
		}
	}
	return as
}

// zoneOfLocked is the configured zone that a refusal names, or "".
func (m *Monitor) zoneOfLocked(t Target, r *Recipient) string {
	text := strings.ToLower(r.Reply)
	family, _, _ := strings.Cut(r.List, "-")
	for _, z := range m.poller.zones {
		if !z.asks(t.Kind) {
			continue
		}
		if containsName(text, z.name) || family != "" && slices.Contains(strings.Split(z.name, "."), family) {
			return z.name
		}
	}
	return ""
}

// askIdentityLocked has the identity checks look at what a receiver complains
// of, once in a while for each domain and address.
func (m *Monitor) askIdentityLocked(t *Transaction, r *Recipient) {
	domain := ""
	if len(t.Domains) > 0 {
		domain = t.Domains[0]
	}
	target := m.targetOfLocked(t, &Recipient{Reply: r.Reply})
	ip, _ := netip.ParseAddr(target.Name)
	key, now := domain+" "+ip.String(), m.now()
	if last, ok := m.asked[key]; ok && now.Sub(last) < askAgain {
		return
	}
	if len(m.asked) >= maxAsked {
		clear(m.asked)
	}
	m.asked[key] = now
	m.enqueueLocked(job{transaction: t.ID, domain: domain, address: ip, class: r.Class, reply: r.Reply})
}

func (m *Monitor) enqueueLocked(j job) {
	if len(m.jobs) < maxJobs {
		m.jobs = append(m.jobs, j)
		m.signal()
	}
}

// acceptedLocked notes that a destination took mail.
func (m *Monitor) acceptedLocked(t *Transaction, destination string) (ended []*Listing) {
	for _, l := range m.book.listings {
		if l.Open() && slices.Contains(l.Streams, t.Stream) {
			ended = append(ended, m.book.accepted(l.Target, destination))
		}
	}
	return ended
}
