package reputation

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/resolve"
	"postern/internal/text"
	"postern/mail"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// take counts one transaction and reads what its refusals say.
func (m *Monitor) take(t *Transaction) {
	var touched []*Listing
	var outcomes []outcome
	m.mu.Lock()
	m.history.Add(t)
	for _, s := range t.Said {
		touched = append(touched, m.heardLocked(t, &Recipient{Reply: s.Reply, Said: s}))
	}
	var seen map[string]bool
	for i := range t.Recipients {
		r := &t.Recipients[i]
		if r.Relayed && len(m.book.listings) == 0 {
			continue // no listing that this could end
		}
		switch {
		case r.Relayed:
			if r.Trial {
				outcomes = append(outcomes, m.trialPassedLocked(t.Stream)...)
			}
			domain := ownedDomain(r.Domain)
			if !seen[domain] {
				if seen == nil {
					seen = map[string]bool{}
				}
				seen[domain] = true
				touched = append(touched, m.acceptedLocked(t, t.Upstream+" "+domain)...)
			}
		case r.Said != nil:
			touched = append(touched, m.heardLocked(t, r))
		}
	}
	outcomes = append(outcomes, m.settleLocked(touched...)...)
	m.mu.Unlock()
	m.carryOut(outcomes)
}

// heardLocked takes in what was said about us; a refusal about anybody else says
// nothing here.
func (m *Monitor) heardLocked(t *Transaction, r *Recipient) *Listing {
	switch {
	case r.Said.About != mail.AboutUs:
	case r.Said.Class == mail.ClassListedIP || r.Said.Class == mail.ClassListedDomain:
		return m.refusedLocked(t, r)
	case r.Said.Class == mail.ClassPolicyAuth || r.Said.Class == mail.ClassPTR:
		m.askIdentityLocked(t, r)
	}
	return nil
}

// refusedLocked takes a refusal for a listing as evidence.
func (m *Monitor) refusedLocked(t *Transaction, r *Recipient) *Listing {
	target, ours := m.targetOfLocked(t, r)
	e := Evidence{List: r.Said.List, Time: t.Time, Text: resolve.Printable(r.Reply), Weight: 1, Transactions: []string{t.ID},
		Clients: []string{t.Client}, Hearsay: r.Said.Remote || !ours}
	// What answers no single recipient is the upstream's word, and no receiver's,
	// except where the host is the receiver's own.
	if r.Said.Domain != "" {
		e.Domain = ownedDomain(r.Said.Domain)
	} else if (r.Said.At == "rcpt" || r.Said.At == "dot") && !r.Said.Several && r.Domain != "" {
		e.Domain = ownedDomain(r.Domain)
	}
	e.Source, e.Destination = "reply of "+cmp.Or(e.Domain, "upstream "+t.Upstream), t.Upstream+" "+e.Domain
	open := m.book.open(target) != nil
	l := m.book.note(target, e, false)
	if e.Domain != "" && !e.Hearsay {
		m.askNetworksLocked(target, e.Domain, cmp.Or(r.Said.Domain, r.Domain))
	}
	if !open {
		if z := m.zoneOfLocked(target, r); z != "" {
			m.enqueueLocked(job{transaction: t.ID, target: target, zone: z})
		}
	}
	return l
}

// askNetworksLocked has the networks of a witness looked up, unless they are
// known or were just asked for.
func (m *Monitor) askNetworksLocked(target dnsbl.Target, witness, domain string) {
	known := func(e *Evidence) bool { return e.Domain == witness && len(e.Networks) > 0 }
	if l := m.book.open(target); l != nil {
		for i := range l.Evidence {
			if known(&l.Evidence[i]) {
				return
			}
		}
	}
	if slices.ContainsFunc(m.book.pending[target], known) || !m.firstAskLocked("networks "+target.Name+" "+witness) {
		return
	}
	m.enqueueLocked(job{target: target, witness: witness, domain: domain})
}

// firstAskLocked reports whether DNS was not asked for the same a while ago.
func (m *Monitor) firstAskLocked(key string) bool {
	now := m.now()
	if last, ok := m.asked[key]; ok && now.Sub(last) < askAgain {
		return false
	}
	if len(m.asked) >= maxAsked {
		clear(m.asked)
	}
	m.asked[key] = now
	return true
}

// targetOfLocked is what a refusal says is listed: one of ours that its text
// names, else that by which the mail left. ours is false where it names an
// address, and none of ours: it may be that of somebody in between.
func (m *Monitor) targetOfLocked(t *Transaction, r *Recipient) (_ dnsbl.Target, ours bool) {
	if r.Said.Class == mail.ClassListedDomain {
		return m.domainOfLocked(t, strings.ToLower(r.Reply)), true
	}
	all := m.addressesLocked(t.Stream)
	said := addressesIn(r.Reply)
	for _, ip := range said {
		if slices.Contains(all, ip) || len(all) == 0 && ip == t.SourceIP {
			return dnsbl.AddressTarget(ip), true
		}
	}
	ours = len(said) == 0
	switch {
	case slices.Contains(all, t.SourceIP):
		return dnsbl.AddressTarget(t.SourceIP), ours
	case len(all) > 0:
		return dnsbl.AddressTarget(all[0]), ours
	case t.SourceIP.IsValid():
		return dnsbl.AddressTarget(t.SourceIP), ours
	}
	return dnsbl.Target{Kind: dnsbl.Addresses, Name: "stream " + t.Stream}, ours
}

// domainOfLocked is the domain of ours that a text names, else the first of the
// message, else the EHLO name.
func (m *Monitor) domainOfLocked(t *Transaction, text string) dnsbl.Target {
	var names []string
	for _, d := range append(slices.Clone(t.Domains), m.ehloLocked(t.Stream)) {
		if d = strings.ToLower(d); d != "" && (m.ownsLocked(d) || d == strings.ToLower(m.ehloLocked(t.Stream))) {
			names = append(names, d)
		}
	}
	for _, d := range names {
		if containsName(text, d) {
			return dnsbl.DomainTarget(d)
		}
	}
	return dnsbl.DomainTarget(cmp.Or(append(names, t.Stream)...))
}

// ownsLocked reports whether a domain is one that clients send as, or that signs.
func (m *Monitor) ownsLocked(domain string) bool {
	id := &m.setup.Identity
	return slices.ContainsFunc(id.Domains, func(d identity.DomainIdentity) bool {
		return !d.Below && d.Name == domain || d.Below && strings.HasSuffix(domain, "."+d.Name)
	}) || slices.ContainsFunc(id.Keys, func(k identity.KeyIdentity) bool { return k.Domain == domain })
}

func (m *Monitor) stream(name string) *identity.StreamIdentity {
	for i := range m.setup.Identity.Streams {
		if s := &m.setup.Identity.Streams[i]; s.Name == name {
			return s
		}
	}
	return &identity.StreamIdentity{}
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
		if (i == 0 || !resolve.IsNameByte(text[i-1]) && text[i-1] != '.') && (end == len(text) || !resolve.IsNameByte(text[end])) {
			return true
		}
		from = i + 1
	}
}

// addressesIn finds the addresses that some words hold, at most ten.
func addressesIn(words string) (as []netip.Addr) {
	isPart := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == ':' || c == '.'
	}
	for word := range strings.FieldsFuncSeq(text.Clip(words, 4096), func(c rune) bool { return !isPart(c) }) {
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
func (m *Monitor) zoneOfLocked(t dnsbl.Target, r *Recipient) string {
	text := strings.ToLower(r.Reply)
	family, _, _ := strings.Cut(r.Said.List, "-")
	for _, z := range m.poller.Zones {
		if !z.Asks(t.Kind) {
			continue
		}
		if containsName(text, z.Name) || family != "" && slices.Contains(strings.Split(z.Name, "."), family) {
			return z.Name
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
	target, _ := m.targetOfLocked(t, r)
	ip, _ := netip.ParseAddr(target.Name)
	if m.firstAskLocked(domain + " " + ip.String()) {
		m.enqueueLocked(job{transaction: t.ID, domain: domain, address: ip, class: r.Said.Class, reply: r.Reply})
	}
}

func (m *Monitor) enqueueLocked(j job) {
	if len(m.jobs) < maxJobs {
		m.jobs = append(m.jobs, j)
		m.signal()
	}
}

// acceptedLocked notes that a destination took mail, and with it the upstream.
func (m *Monitor) acceptedLocked(t *Transaction, destination string) (touched []*Listing) {
	for _, l := range m.book.listings {
		if l.Open() && slices.Contains(l.Streams, t.Stream) {
			touched = append(touched, m.book.accepted(l.Target, destination), m.book.accepted(l.Target, t.Upstream+" "))
		}
	}
	return touched
}
