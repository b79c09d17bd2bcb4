package outlier

import (
	"fmt"
	"time"

	"postern/mail"
)

// rules is a Config made ready for use. It never changes.
type rules struct {
	Config
	place         *time.Location
	exemptClients map[string]bool
	shadowClients map[string]bool
	bulkStreams   map[string]bool
	exempt        mail.Patterns
	internal      mail.Patterns
	senders       map[mail.Identity]Expectation // Config.Sender
}

func newRules(c Config) (*rules, error) {
	r := &rules{Config: c, exemptClients: set(c.ExemptClients), shadowClients: set(c.ShadowClients), bulkStreams: set(c.BulkStreams), senders: map[mail.Identity]Expectation{}}
	for i, text := range c.ExemptSenders {
		p, err := mail.ParsePattern(text, nil)
		if err != nil {
			return nil, fmt.Errorf("outlier.exempt_senders.%d: %q %w", i, text, err)
		}
		r.exempt.Add(p)
	}
	for name, e := range c.Sender {
		r.senders[mail.IdentityOf(name)] = e
	}
	for _, d := range c.InternalDomains {
		if p, err := mail.ParsePattern("@"+d, nil); err == nil { // the others are for package config to report
			r.internal.Add(p)
		}
	}
	var err error
	if r.place, err = time.LoadLocation(c.TimeZone); err != nil {
		return nil, fmt.Errorf("outlier.time_zone: %w", err)
	}
	return r, nil
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// mode says what a state of this scope does to mail. client is "" when unknown.
func (r *rules) mode(scope, name, client string) Mode {
	if r.exemptClients[client] {
		return Exempt
	}
	if scope == UserSender {
		_, name = pairOf(name)
		scope = Sender
	}
	if scope == Sender {
		id := mail.Identity(name)
		if r.exempt.Match(id) {
			return Exempt
		}
		if e, ok := r.senders[id]; ok && e.Mode != "" {
			return e.Mode
		}
	}
	if e, ok := r.Client[client]; ok && e.Mode != "" {
		return e.Mode
	}
	if r.shadowClients[client] {
		return Shadow
	}
	return r.Mode
}

// isInternal reports whether a recipient, as Address.Key has it, is in one of our
// own domains.
func (r *rules) isInternal(recipient string) bool {
	return !r.internal.Empty() && r.internal.MatchDomain(mail.Identity(recipient).Domain())
}

// floors gives what an operator expects of each at a time; nil when nothing of
// anybody.
func (r *rules) floors(now time.Time) func(sc scope, name string) *table {
	if len(r.senders) == 0 && len(r.Client) == 0 {
		return nil
	}
	return func(sc scope, name string) *table { return r.floor(sc, name, now) }
}

// floorOf is floor for what a state is of.
func (r *rules) floorOf(k stateKey, now time.Time) *table {
	sc, name := k.meterScope(), k.name
	if k.scope == UserSender {
		sc = ofSender
		_, name = pairOf(name)
	}
	return r.floor(sc, name, now)
}

// floor is what an operator expects of a sender or client at a time; nil when
// nothing.
func (r *rules) floor(sc scope, name string, now time.Time) *table {
	var e Expectation
	switch sc {
	case ofSender:
		e = r.senders[mail.Identity(name)]
	case ofClient:
		e = r.Client[name]
	}
	if len(e.Expected) == 0 || !e.holds(now.In(r.place)) {
		return nil
	}
	var hourly, daily float32
	for _, p := range e.Expected {
		if p.Window == time.Hour {
			hourly = max(hourly, float32(p.Recipients))
		}
		daily = max(daily, float32(p.Recipients))
	}
	if hourly == 0 {
		hourly = daily // nothing said that it would be spread over the day
	}
	expected := [windows]float32{hour: hourly, day: daily, leaky: daily * leakTime / daySeconds}
	return &table{sent: expected, fresh: expected}
}

func (e *Expectation) holds(at time.Time) bool {
	if !e.Hours.Has(at.Hour()) {
		return false
	}
	for _, d := range e.Days {
		if time.Weekday(d) == at.Weekday() {
			return true
		}
	}
	return len(e.Days) == 0
}

// level is the hardest action that a score leads to.
func (l *Ladder) level(score float64) Level {
	for _, t := range [...]struct {
		from float64
		to   Level
	}{{l.Suspend, Suspended}, {l.Throttle, Throttled}, {l.Alert, Alerted}, {l.Observe, Observed}} {
		if t.from > 0 && score >= t.from {
			return t.to
		}
	}
	return Normal
}
