package outlier

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/outlier/detector"
)

// Config is the table [outlier].
type Config struct {
	// Mode is what a state does to mail: "enforce" defers (450) what a
	// throttled or suspended sender, user or client submits; "shadow" reports
	// the same events and defers nothing. Default: enforce.
	Mode Mode `toml:"mode"`
	// Sensitivity multiplies every score: 2 alarms at half the evidence, 0.5
	// at twice as much; 0.1 to 10. Default: 1, about one false alarm in seven
	// sender-years.
	Sensitivity float64 `toml:"sensitivity"`
	// FalseAlarms is how many false alarms are accepted, of all that send through the
	// relay together, such as "20/year"; 1 to 100,000. It stands in the place of
	// Sensitivity, which the relay then finds out from its own journal, see package
	// tune. Blank: Sensitivity holds. Default: blank.
	FalseAlarms FalseAlarms `toml:"false_alarms"`
	// Brake is the part of the score of an alert from which on mail to recipients
	// that the client has never written to waits, apart from five an hour; 0.1 to 1,
	// 0 is off. Default: 0.4.
	Brake float64 `toml:"brake"`
	// NoRetries are the clients that cannot try again later, whose mail the brake
	// leaves alone: those with retries = false, which package config fills in. Blank:
	// none.
	NoRetries []string `toml:"-"`
	// Pairs: who is known to each sender is remembered beside who is known to its
	// client, which takes as many places again. Package config sets it where a limit has
	// strangers_of = "sender".
	Pairs bool `toml:"-"`
	// Growth is the share by which the record of a sender may grow in a day
	// without an operator's word; 0.01 to 1. In the first weeks of a sender, and
	// of a client, it may grow faster. Default: 0.1.
	Growth float64 `toml:"growth"`
	// HalfLife is how long a record takes to be forgotten by half when it is
	// not reached again; 7d to 365d. Default: 120d.
	HalfLife time.Duration `toml:"half_life"`
	// MaxSenders is how many senders, users and clients are remembered, each
	// at up to 300 bytes, and 260 more for one that ever had unusual volume; 1,000
	// to 10,000,000. Beyond it those that were idle
	// longest are forgotten, first the ones that sent least. A client has at
	// most half of the places. Default: 200000.
	MaxSenders int `toml:"max_senders"`
	// MaxKnown is for how many pairs of client and recipient the sketch of
	// known recipients has room, at two bytes each; 10,000 to 100,000,000.
	// Beyond it the oldest pairs are forgotten. Default: 4000000.
	MaxKnown int `toml:"max_known"`
	// ExemptSenders are never judged: "a@example.org" in every spelling,
	// "@example.org" or "@*.example.org". U-labels are for package config, which
	// writes A-labels in their place. Blank: none.
	ExemptSenders []string `toml:"exempt_senders"`
	// ExemptClients are names of [client] tables that are never judged, and
	// neither are their users and senders. Blank: none.
	ExemptClients []string `toml:"exempt_clients"`
	// ShadowClients are names of [client] tables whose mail is judged as under
	// mode = "shadow". Blank: none.
	ShadowClients []string `toml:"shadow_clients"`
	// BulkStreams are names of [stream] tables whose senders are judged only
	// against themselves: their mail counts neither for their user nor for
	// their client. Blank: none.
	BulkStreams []string `toml:"bulk_streams"`
	// InternalDomains are our own domains, "example.org" or "*.example.org":
	// those of the key internal_domains, which package config fills in. A burst
	// to known recipients in them is throttled and not suspended. Blank: none.
	InternalDomains []string `toml:"-"`
	// TimeZone is the place whose days and hours the expectations mean, as
	// "Europe/Berlin". Blank: UTC.
	TimeZone string `toml:"time_zone"`
	// Spam is the plain rule on verdicts of scanners: so many messages in which one
	// found spam or a virus within a time, such as "5/10m", suspend who has submitted
	// them; 1 to 1000, 1m to 24h. Blank: never. Default: blank.
	Spam Verdicts `toml:"spam"`
	// Decoys are files of addresses that nobody writes to, one a line: one message to one
	// suspends who has submitted it; automatic mail, an application and a sender that
	// several users share alert. A reload reads them again. Default empty.
	Decoys []string `toml:"decoys" form:"path"`
	// ASTable is a file that says which autonomous system (AS) each network belongs to, in
	// the forms of package astable: then all networks of an AS are one for [outlier.networks].
	// A reload reads it again. Blank: none. Default: blank.
	ASTable string `toml:"as_table" form:"path"`
	// SuspendedMay are recipients to whom a suspended or throttled sender may still
	// write, as in senders of a client, beside the postmaster: the address that the
	// key postmaster names, and postmaster of internal_domains. Then mail of such a
	// sender is refused at RCPT and not at MAIL. Default empty.
	SuspendedMay []string `toml:"suspended_may"`
	// HelpURL is a page about suspensions, which the reply to a suspended sender
	// names; http or https, at most 200 octets. Blank: none. Default: blank.
	HelpURL string `toml:"help_url"`
	// Policy holds the tables that a client may name by watch. Blank: none beside
	// "none" (not watched), "standard" (as here) and "strict" (one and a half times the
	// score, and two messages with spam in ten minutes suspend).
	Policy map[string]Policy `toml:"policy"`
	// Watch is the policy of each client that names one, by its name, which package
	// config fills in. Blank: "standard" for all.
	Watch map[string]string `toml:"-"`
	// Volume holds the thresholds on the score of volume, new and refused recipients.
	Volume Thresholds `toml:"volume"`
	// Names holds the thresholds on the number of sender names of a client.
	Names Thresholds `toml:"names"`
	// Refused is the plain rule on the share of refused recipients.
	Refused RefusedRule `toml:"refused"`
	// Networks says what a new network of a user is worth.
	Networks Networks `toml:"networks"`
	// Expiry says how long each state lasts.
	Expiry Expiry `toml:"expiry"`
	// Sender holds what is declared about single senders, by address; spellings
	// of one sender are one, and package config refuses two of them. Blank:
	// nothing.
	Sender map[string]Expectation `toml:"sender"`
	// Client holds what is declared about clients, by the name of their table.
	// Blank: nothing.
	Client map[string]Expectation `toml:"client"`
}

// SetDefaults fills c with the documented defaults.
func (c *Config) SetDefaults() {
	c.Mode = Enforce
	c.Sensitivity = 1
	c.Brake = 0.4
	c.Growth = 0.1
	c.HalfLife = 120 * 24 * time.Hour
	c.MaxSenders = 200_000
	c.MaxKnown = 4_000_000
	c.Volume.SetDefaults()
	c.Names.SetDefaults()
	c.Refused.SetDefaults()
	c.Networks.SetDefaults()
	c.Expiry.SetDefaults()
}

// Check reports every problem of the table, apart from those of the tables
// inside it. That named clients and streams exist, and that senders are such, is
// for package config.
func (c *Config) Check(report func(key, problem string)) {
	between(report, "sensitivity", c.Sensitivity, 0.1, 10)
	if c.Brake != 0 {
		between(report, "brake", c.Brake, 0.1, 1)
	}
	between(report, "growth", c.Growth, 0.01, 1)
	between(report, "half_life", c.HalfLife, 7*24*time.Hour, 365*24*time.Hour)
	between(report, "max_senders", c.MaxSenders, 1000, 10_000_000)
	between(report, "max_known", c.MaxKnown, 10_000, 100_000_000)
	for _, l := range []struct {
		key   string
		names []string
	}{{"exempt_clients", c.ExemptClients}, {"shadow_clients", c.ShadowClients}, {"bulk_streams", c.BulkStreams}} {
		if i := slices.Index(l.names, ""); i >= 0 {
			report(fmt.Sprintf("%s.%d", l.key, i), "is empty; write the name of a table or leave it out")
		}
	}
	for _, name := range [...]string{watchNone, watchStandard, watchStrict} {
		if _, ok := c.Policy[name]; ok {
			report("policy."+name, "has the name of a policy that is there without a table; write another name, there and in watch")
		}
	}
	if problem := checkHelp(c.HelpURL); problem != "" {
		report("help_url", problem)
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil {
		report("time_zone", `is not a known time zone; write it as in "Europe/Berlin", or leave it out for UTC`)
	}
}

// checkHelp says why an address cannot stand in a reply; "" when it can.
func checkHelp(page string) string {
	plain := !strings.ContainsFunc(page, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	u, err := url.Parse(page)
	if page != "" && (err != nil || !plain || len(page) > 200 || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return `is not a page; write an address of at most 200 ASCII characters, such as "https://example.org/help/mail"`
	}
	return ""
}

// Thresholds holds the scores from which each action is taken; a score of 1 is the
// first alarm. Zero switches an action off.
type Thresholds struct {
	// Observe makes an event and nothing else. Default: 0, off.
	Observe float64 `toml:"observe"`
	// Alert makes an event, a line in the log at level warn and a metric.
	// Default: 1.
	Alert float64 `toml:"alert"`
	// Throttle lets the sender go on at its own usual pace; what is beyond is
	// deferred with 450 and the time to wait. Default: 1.5.
	Throttle float64 `toml:"throttle"`
	// Suspend defers all mail of the sender with 450. Default: 3.
	Suspend float64 `toml:"suspend"`
}

// SetDefaults fills l with the documented defaults.
func (l *Thresholds) SetDefaults() {
	*l = Thresholds{Alert: 1, Throttle: 1.5, Suspend: 3}
}

// Check reports thresholds that are out of range or not in ascending order.
func (l *Thresholds) Check(report func(key, problem string)) {
	last, lastKey := 0.0, ""
	for _, t := range []struct {
		key   string
		value float64
	}{{"observe", l.Observe}, {"alert", l.Alert}, {"throttle", l.Throttle}, {"suspend", l.Suspend}} {
		if t.value == 0 {
			continue
		}
		between(report, t.key, t.value, 0.1, 1000)
		if t.value < last {
			report(t.key, fmt.Sprintf("is below %s; a harder action needs at least the score of a softer one", lastKey))
		}
		last, lastKey = t.value, t.key
	}
}

// settings are the numbers that the detector takes from c.
func (c *Config) settings() detector.Settings {
	return detector.Settings{
		Sensitivity: c.Sensitivity, Growth: c.Growth, HalfLife: c.HalfLife, MaxSenders: c.MaxSenders, MaxKnown: c.MaxKnown, Pairs: c.Pairs,
		Refused: detector.Shares{MinRecipients: c.Refused.MinRecipients, Alarming: c.Refused.Alert, Excessive: c.Refused.Suspend},
	}
}

// RefusedRule is the table [outlier.refused]: shares of the recipients of the
// last day that the upstream refused for reasons that the sender can help.
type RefusedRule struct {
	// MinRecipients is from how many recipients on the share counts; 10 to
	// 1,000,000. Default: 50.
	MinRecipients int `toml:"min_recipients"`
	// Alert is the share that alerts; 0 to 1, 0 is off. Default: 0.05.
	Alert float64 `toml:"alert"`
	// Suspend is the share that suspends; 0 to 1, 0 is off. Default: 0.10.
	Suspend float64 `toml:"suspend"`
}

// SetDefaults fills r with the documented defaults.
func (r *RefusedRule) SetDefaults() {
	*r = RefusedRule{MinRecipients: 50, Alert: 0.05, Suspend: 0.10}
}

// Check reports every problem of the table.
func (r *RefusedRule) Check(report func(key, problem string)) {
	between(report, "min_recipients", r.MinRecipients, 10, 1_000_000)
	between(report, "alert", r.Alert, 0, 1)
	between(report, "suspend", r.Suspend, 0, 1)
	if r.Suspend > 0 && r.Suspend < r.Alert {
		report("suspend", "is below alert; a harder action needs at least the share of a softer one")
	}
}

// Expiry is the table [outlier.expiry].
type Expiry struct {
	// Alert is how long an alert stands after its cause was last seen; 1m to
	// 30d. Default: 4h.
	Alert time.Duration `toml:"alert"`
	// Throttle is how long a sender is kept to its usual pace; 1m to 30d.
	// Default: 4h.
	Throttle time.Duration `toml:"throttle"`
	// Suspend are the durations of the first, second ... suspension; 1m to 30d
	// each. A suspension beyond the list stands until an operator releases it;
	// an empty list makes the first one do so. Default: ["1h", "4h"].
	Suspend []time.Duration `toml:"suspend"`
	// Repeat is for how long an earlier suspension or throttling is held
	// against the sender: a second throttling within it suspends, a further
	// suspension takes the next duration of the list; 1h to 365d. Default: 7d.
	Repeat time.Duration `toml:"repeat"`
}

// SetDefaults fills e with the documented defaults.
func (e *Expiry) SetDefaults() {
	*e = Expiry{
		Alert:    4 * time.Hour,
		Throttle: 4 * time.Hour,
		Suspend:  []time.Duration{time.Hour, 4 * time.Hour},
		Repeat:   7 * 24 * time.Hour,
	}
}

// Check reports every problem of the table.
func (e *Expiry) Check(report func(key, problem string)) {
	between(report, "alert", e.Alert, time.Minute, 30*24*time.Hour)
	between(report, "throttle", e.Throttle, time.Minute, 30*24*time.Hour)
	for i, d := range e.Suspend {
		between(report, fmt.Sprintf("suspend.%d", i), d, time.Minute, 30*24*time.Hour)
	}
	between(report, "repeat", e.Repeat, time.Hour, 365*24*time.Hour)
}

// Expectation is a table [outlier.sender."address"] or [outlier.client.name]:
// what an operator knows about it beforehand.
type Expectation struct {
	// Mode replaces the mode for it: "exempt", "shadow" or "enforce". Blank:
	// that of its client, else that of [outlier].
	Mode Mode `toml:"mode"`
	// Expected are volumes in recipients that are normal, such as "500/1h"; the
	// window is 1h or 24h. They stand in for the record where they are above
	// it. Without one over 1h, what is expected over 24h may come within an
	// hour. Blank: the record alone.
	Expected []Pace `toml:"expected"`
	// Days are those on which expected holds: "mon" ... "sun". Blank: all.
	Days []Day `toml:"days"`
	// Hours are the hours of the day in which expected holds, such as "06-10": from
	// 06:00 until 10:00; "22-02" goes over midnight. Blank: all.
	Hours Hours `toml:"hours"`
}

// SetDefaults leaves e as it is: nothing is declared by default.
func (e *Expectation) SetDefaults() {}

// Check reports every problem of the table.
func (e *Expectation) Check(report func(key, problem string)) {
	for i, p := range e.Expected {
		if p.Window != time.Hour && p.Window != 24*time.Hour {
			report(fmt.Sprintf("expected.%d", i), `has a window that is not counted; write "N/1h" or "N/24h"`)
		}
	}
	if len(e.Expected) == 0 && (len(e.Days) > 0 || e.Hours != Hours{}) {
		report("expected", `is missing beside days or hours; write as in expected = ["500/1h"]`)
	}
}

func between[T int | float64 | time.Duration](report func(key, problem string), key string, v, low, high T) {
	if !(v >= low && v <= high) {
		report(key, fmt.Sprintf("is not between %v and %v; write a value in that range", low, high))
	}
}
