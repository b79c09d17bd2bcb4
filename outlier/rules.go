package outlier

import (
	"fmt"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// rules is a Config made ready for use. It never changes.
type rules struct {
	Config
	place         *time.Location
	exemptClients map[string]bool
	shadowClients map[string]bool
	bulkStreams   map[string]bool
	noRetries     map[string]bool
	exempt        mail.Patterns
	internal      mail.Patterns
	senders       map[mail.Identity]Expectation // Config.Sender
	decoys        map[mail.RecipientID]bool
}

func newRules(c Config, parse func(string) (mail.Address, error)) (*rules, error) {
	r := &rules{Config: c, exemptClients: set(c.ExemptClients), shadowClients: set(c.ShadowClients), bulkStreams: set(c.BulkStreams), noRetries: set(c.NoRetries), senders: map[mail.Identity]Expectation{}}
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
	if r.decoys, err = readDecoys(c.Decoys, parse); err != nil {
		return nil, err
	}
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
func (r *rules) mode(who detector.Who, client string) Mode {
	watched := r.policy(client).Mode
	if r.exemptClients[client] || watched == Exempt {
		return Exempt
	}
	scope, name := who.Scope, who.Name
	if scope == UserSender {
		_, name = detector.SplitNames(name)
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
	if watched != "" {
		return watched
	}
	return r.Mode
}

// isInternal reports whether a recipient, as Address.Key has it, is in one of our
// own domains.
func (r *rules) isInternal(recipient string) bool {
	return !r.internal.Empty() && r.internal.MatchDomain(mail.Identity(recipient).Domain())
}

// expect gives what an operator expects of each at a time; nil when nothing of
// anybody.
func (r *rules) expect(now time.Time) detector.Expect {
	if len(r.senders) == 0 && len(r.Client) == 0 {
		return nil
	}
	return func(who detector.Who) detector.Expected { return r.expected(who, now) }
}

// expected is what an operator expects of a sender or client at a time.
func (r *rules) expected(who detector.Who, now time.Time) (x detector.Expected) {
	var e Expectation
	switch who.Scope {
	case Sender:
		e = r.senders[mail.Identity(who.Name)]
	case Client:
		e = r.Client[who.Name]
	}
	if len(e.Expected) == 0 || !e.holds(now.In(r.place)) {
		return detector.Expected{}
	}
	for _, p := range e.Expected {
		if p.Window == time.Hour {
			x.Hour = max(x.Hour, float32(p.Recipients))
		}
		x.Day = max(x.Day, float32(p.Recipients))
	}
	if x.Hour == 0 {
		x.Hour = x.Day // nothing said that it would be spread over the day
	}
	return x
}

// declared are the volumes that an operator expects of who at times.
func (r *rules) declared(who detector.Who) []Pace {
	switch who.Scope {
	case UserSender:
		_, sender := detector.SplitNames(who.Name)
		return r.senders[mail.Identity(sender)].Expected
	case Sender:
		return r.senders[mail.Identity(who.Name)].Expected
	case Client:
		return r.Client[who.Name].Expected
	}
	return nil
}

func (e *Expectation) holds(at time.Time) bool {
	if !e.Hours.has(at.Hour()) {
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
func (l *Thresholds) level(score float64) Level {
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
