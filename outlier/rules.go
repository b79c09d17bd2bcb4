package outlier

import (
	"strings"
	"time"
)

// rules is a Config made ready for use. It never changes.
type rules struct {
	Config
	place         *time.Location
	exemptClients map[string]bool
	shadowClients map[string]bool
	bulkStreams   map[string]bool
	exempt        map[string]bool // senders, and domains as "@example.org"
	exemptBelow   []string        // "@*.example.org" as ".example.org"
	internal      map[string]bool
	internalBelow []string // "*.example.org" as ".example.org"
}

func newRules(c Config) (*rules, error) {
	r := &rules{Config: c, exemptClients: set(c.ExemptClients), shadowClients: set(c.ShadowClients), bulkStreams: set(c.BulkStreams), exempt: map[string]bool{}}
	for _, p := range c.ExemptSenders {
		if below, ok := strings.CutPrefix(p, "@*"); ok {
			r.exemptBelow = append(r.exemptBelow, strings.ToLower(below))
		} else {
			r.exempt[foldDomain(p)] = true
		}
	}
	r.internal = map[string]bool{}
	for _, d := range c.InternalDomains {
		if below, ok := strings.CutPrefix(strings.ToLower(d), "*."); ok {
			r.internalBelow = append(r.internalBelow, "."+below)
		} else {
			r.internal[strings.ToLower(d)] = true
		}
	}
	var err error
	r.place, err = time.LoadLocation(c.TimeZone)
	return r, err
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// foldDomain puts the domain in lower case, as Address.Key has it.
func foldDomain(address string) string {
	local, domain, ok := cutLast(address, '@')
	if !ok {
		return address
	}
	return local + "@" + strings.ToLower(domain)
}

// mode says what a state of this scope does to mail. client is "" when unknown.
func (r *rules) mode(scope, name, client string) Mode {
	if r.exemptClients[client] {
		return Exempt
	}
	if scope == Sender {
		if r.exemptSender(name) {
			return Exempt
		}
		if e, ok := r.Sender[name]; ok && e.Mode != "" {
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

func (r *rules) exemptSender(name string) bool {
	if len(r.exempt) == 0 && len(r.exemptBelow) == 0 {
		return false
	}
	_, domain, ok := cutLast(name, '@')
	if !ok {
		return false
	}
	if r.exempt[name] || r.exempt["@"+domain] {
		return true
	}
	for _, below := range r.exemptBelow {
		if strings.HasSuffix(domain, below) {
			return true
		}
	}
	return false
}

// isInternal reports whether a recipient, as Address.Key has it, is in one of our
// own domains.
func (r *rules) isInternal(recipient string) bool {
	if len(r.internal) == 0 && len(r.internalBelow) == 0 {
		return false
	}
	_, domain, _ := cutLast(recipient, '@')
	domain = strings.ToLower(domain)
	if r.internal[domain] {
		return true
	}
	for _, below := range r.internalBelow {
		if strings.HasSuffix(domain, below) {
			return true
		}
	}
	return false
}

// floors gives what an operator expects of each at a time; nil when nothing of
// anybody.
func (r *rules) floors(now time.Time) func(sc scope, name string) *table {
	if len(r.Sender) == 0 && len(r.Client) == 0 {
		return nil
	}
	return func(sc scope, name string) *table { return r.floor(sc, name, now) }
}

// floor is what an operator expects of a sender or client at a time; nil when
// nothing.
func (r *rules) floor(sc scope, name string, now time.Time) *table {
	var e Expectation
	switch sc {
	case ofSender:
		e = r.Sender[name]
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
