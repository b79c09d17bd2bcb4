package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/resolve"
	"postern/internal/text"
	"postern/mail"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// runJobs looks at what refusals asked for.
func (m *Monitor) runJobs(ctx context.Context) {
	m.mu.Lock()
	n := min(len(m.jobs), jobsAtOnce)
	jobs := slices.Clone(m.jobs[:n])
	m.jobs = slices.Delete(m.jobs, 0, n)
	more := len(m.jobs) > 0
	m.mu.Unlock()
	for _, j := range jobs {
		if ctx.Err() != nil {
			return
		}
		switch {
		case j.zone != "":
			m.confirm(ctx, j)
		case j.witness != "":
			m.findNetworks(ctx, j)
		default:
			m.explain(ctx, j)
		}
	}
	if more {
		m.signal()
	}
}

// findNetworks looks up by which networks a witness takes its mail.
func (m *Monitor) findNetworks(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, networksBound)
	defer cancel()
	if networks := networks(ctx, m.resolver.Load(), j.domain); len(networks) > 0 {
		m.noteNetworks(j.target, j.witness, networks)
	}
}

func (m *Monitor) noteNetworks(target dnsbl.Target, witness string, networks []string) {
	m.mu.Lock()
	for _, e := range m.book.pending[target] {
		e.learn(witness, networks)
	}
	l := m.book.open(target)
	if l != nil {
		for i := range l.Evidence {
			l.Evidence[i].learn(witness, networks)
		}
	}
	outcomes := m.settleLocked(l)
	m.mu.Unlock()
	m.carryOut(outcomes)
}

// learn notes the networks of the witness whose registered domain is given.
func (e *Evidence) learn(domain string, networks []string) {
	if e.Domain == domain && len(e.Networks) == 0 {
		e.Networks = networks
	}
}

// confirm asks the zone that a refusal names. When it says so too, one refusal
// is enough for a listing.
func (m *Monitor) confirm(ctx context.Context, j job) {
	m.mu.Lock()
	z := m.poller.ZoneNamed(j.zone)
	r := m.resolver.Load()
	m.mu.Unlock()
	if z == nil || z.Believed(ctx, r, dnsbl.FamilyOf(j.target)) != nil {
		return
	}
	a := z.Lookup(ctx, r, j.target)
	if a.State != dnsbl.Listed {
		return
	}
	text := z.Reason(ctx, r, j.target)
	m.mu.Lock()
	z.Mark(j.target, m.now(), a.Codes, text)
	events := m.settleLocked(m.noteZoneLocked(&z.Zone, j.target, a.Codes, text, true))
	m.mu.Unlock()
	m.carryOut(events)
}

// explain runs the checks on what a receiver complains of, and names what they
// find.
func (m *Monitor) explain(ctx context.Context, j job) {
	m.mu.Lock()
	id := m.setup.Identity
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, checkBound)
	defer cancel()
	e := Event{Kind: EventRefusal, Status: identity.Warn, Subject: strings.TrimSpace(j.domain + " " + addressText(j.address)),
		Text: "a receiver refused (" + text.Clip(resolve.Printable(j.reply), 200) + "), but our checks find nothing wrong"}
	findings := identity.CheckAddress(ctx, m.resolver.Load(), id, j.domain, j.address, m.now)
	if f := cause(findings, j.class); f != nil {
		e.Status, e.Finding = f.Status, f
		e.Text = fmt.Sprintf("a receiver refused (%s): %s %s: %s; %s", text.Clip(resolve.Printable(j.reply), 200), f.Check, f.Subject, f.Seen, f.Change)
	}
	m.tell(e)
}

// cause is the finding that a class of refusals is most likely about: the worst
// of those checks, else the worst of all. Findings come worst first.
func cause(fs []identity.Finding, class mail.Class) *identity.Finding {
	about := []string{"spf", "dkim", "dmarc"}
	if class == mail.ClassPTR {
		about = []string{"ptr", "ehlo"}
	}
	var other *identity.Finding
	for i := range fs {
		f := &fs[i]
		switch {
		case f.Status != identity.Fail && f.Status != identity.Warn:
		case slices.Contains(about, f.Check):
			return f
		case other == nil:
			other = f
		}
	}
	return other
}

func addressText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// poll asks the blocklists that are due.
func (m *Monitor) poll(ctx context.Context) {
	m.mu.Lock()
	p, targets := m.poller, targetsOf(&m.setup.Identity)
	m.mu.Unlock()
	due := p.Ask(ctx, targets)
	if ctx.Err() != nil || len(due) == 0 {
		return
	}
	m.mu.Lock()
	if m.poller != p { // reloaded meanwhile: the new one asks anew
		m.mu.Unlock()
		return
	}
	changes := p.Settle(due, targets)
	m.mu.Unlock()
	for i := range changes {
		if c := &changes[i]; c.Listed {
			c.Text = text.Clip(c.Zone.Reason(ctx, m.resolver.Load(), c.Target), dnsbl.MaxReasonSize)
		}
	}
	m.carryOut(m.changedZones(changes))
	for _, c := range changes {
		if (c.Target == dnsbl.Target{}) && !c.Zone.Config.Mute {
			m.tell(zoneEvent(c))
		}
	}
}

// changedZones takes what a poll has changed into the book.
func (m *Monitor) changedZones(changes []dnsbl.Change) []outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	var touched []*Listing
	for _, c := range changes {
		switch {
		case c.Target == dnsbl.Target{} || c.Zone.Config.Mute:
		case c.Listed:
			touched = append(touched, m.noteZoneLocked(c.Zone, c.Target, c.Codes, c.Text, false))
		default:
			touched = append(touched, m.book.zoneEnds(c.Target, c.Zone.Name))
		}
	}
	return m.settleLocked(touched...)
}

func zoneEvent(c dnsbl.Change) Event {
	of := [...]string{"IPv4 addresses", "IPv6 addresses", "domains"}[c.Family]
	if c.Believed {
		return Event{Kind: EventZone, Status: identity.Pass, Subject: c.Zone.Name, Text: "its answers about " + of + " are believed again"}
	}
	return Event{Kind: EventZone, Status: identity.Unknown, Subject: c.Zone.Name, Text: "its answers about " + of + " are not believed: " + c.Problem}
}

func (m *Monitor) noteZoneLocked(z *dnsbl.Zone, t dnsbl.Target, codes []string, text string, sure bool) *Listing {
	return m.book.note(t, Evidence{Source: "zone " + z.Name, List: z.Name, Zone: z.Name, Time: m.now(), Codes: codes,
		Text: text, Weight: z.Config.Weight}, sure)
}
