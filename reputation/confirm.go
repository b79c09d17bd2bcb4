package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/mail"
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
	if networks := m.resolver.Load().networks(ctx, j.domain); len(networks) > 0 {
		m.noteNetworks(j.target, j.witness, networks)
	}
}

func (m *Monitor) noteNetworks(target Target, witness string, networks []string) {
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
	z := zoneNamed(m.poller.zones, j.zone)
	r := m.resolver.Load()
	m.mu.Unlock()
	if z == nil || z.believed(ctx, r, familyOf(j.target)) != nil {
		return
	}
	a := z.look(ctx, r, j.target)
	if a.state != listListed {
		return
	}
	text := z.reason(ctx, r, j.target)
	m.mu.Lock()
	z.states[j.target] = &polledTarget{listed: true, since: m.now(), codes: a.codes, text: text}
	events := m.settleLocked(m.noteZoneLocked(&z.zone, j.target, a.codes, text, true))
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
	e := Event{Kind: EventRefusal, Status: Warn, Subject: strings.TrimSpace(j.domain + " " + addressText(j.address)),
		Text: "a receiver refused (" + clip(printable(j.reply), 200) + "), but our checks find nothing wrong"}
	findings := CheckAddress(ctx, m.resolver.Load(), id, j.domain, j.address, m.now)
	if f := cause(findings, j.class); f != nil {
		e.Status, e.Finding = f.Status, f
		e.Text = fmt.Sprintf("a receiver refused (%s): %s %s: %s; %s", clip(printable(j.reply), 200), f.Check, f.Subject, f.Seen, f.Change)
	}
	m.tell(e)
}

// cause is the finding that a class of refusals is most likely about: the worst
// of those checks, else the worst of all. Findings come worst first.
func cause(fs []Finding, class mail.Class) *Finding {
	about := []string{"spf", "dkim", "dmarc"}
	if class == mail.ClassPTR {
		about = []string{"ptr", "ehlo"}
	}
	var other *Finding
	for i := range fs {
		f := &fs[i]
		switch {
		case f.Status != Fail && f.Status != Warn:
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
	p, targets := m.poller, m.setup.Identity.targets()
	m.mu.Unlock()
	due := p.ask(ctx, targets)
	if ctx.Err() != nil || len(due) == 0 {
		return
	}
	m.mu.Lock()
	if m.poller != p { // reloaded meanwhile: the new one asks anew
		m.mu.Unlock()
		return
	}
	changes := p.settle(due, targets)
	m.mu.Unlock()
	for i := range changes {
		if c := &changes[i]; c.listed {
			c.text = clip(c.zone.reason(ctx, m.resolver.Load(), c.target), maxReasonSize)
		}
	}
	m.carryOut(m.changedZones(changes))
	for _, c := range changes {
		if (c.target == Target{}) && !c.zone.config.Mute {
			m.tell(zoneEvent(c))
		}
	}
}

// changedZones takes what a poll has changed into the book.
func (m *Monitor) changedZones(changes []zoneChange) []outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	var touched []*Listing
	for _, c := range changes {
		switch {
		case c.target == Target{} || c.zone.config.Mute:
		case c.listed:
			touched = append(touched, m.noteZoneLocked(c.zone, c.target, c.codes, c.text, false))
		default:
			touched = append(touched, m.book.zoneEnds(c.target, c.zone.name))
		}
	}
	return m.settleLocked(touched...)
}

func zoneEvent(c zoneChange) Event {
	of := [...]string{"IPv4 addresses", "IPv6 addresses", "domains"}[c.family]
	if c.believed {
		return Event{Kind: EventZone, Status: Pass, Subject: c.zone.name, Text: "its answers about " + of + " are believed again"}
	}
	return Event{Kind: EventZone, Status: Unknown, Subject: c.zone.name, Text: "its answers about " + of + " are not believed: " + c.problem}
}

func (m *Monitor) noteZoneLocked(z *zone, t Target, codes []string, text string, sure bool) *Listing {
	return m.book.note(t, Evidence{Source: "zone " + z.name, List: z.name, Zone: z.name, Time: m.now(), Codes: codes,
		Text: text, Weight: z.config.Weight}, sure)
}
