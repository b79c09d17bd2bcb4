package dnsbl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/resolve"
	"postern/internal/text"
)

// ZoneConfig is a table [reputation.dnsbl."zone"].
type ZoneConfig struct {
	// Every is the time between two polls; 1m to 7d. Default: 30m.
	Every time.Duration `toml:"every"`
	// Of says what is asked about: "addresses" (the public addresses) and
	// "domains" (EHLO names, sender and DKIM domains). Default: ["addresses"].
	Of []Kind `toml:"of"`
	// Codes give the meaning of answers, such as "127.0.0.2" = "SBL". An answer that
	// is not described counts all the same. Blank: no meanings.
	Codes map[string]string `toml:"codes"`
	// Ignore are answers that are not a listing for us, such as "127.0.0.10" for a
	// policy list that our provider keeps. Blank: every answer in 127.0.0.0/8
	// is one, apart from 127.255.255.x, which is an error of the zone.
	Ignore []netip.Addr `toml:"ignore"`
	// Weight says how much a listing here counts: a report is opened when the
	// weights of all zones that list the same target reach 1; above 0, at most
	// 10. Default: 1.
	Weight float64 `toml:"weight"`
	// Mute keeps polling but makes no report and no event. Default: false.
	Mute bool `toml:"mute"`
	// Delist is the page where removal is asked for; {} stands for the listed
	// address or domain. Blank: no link in reports.
	Delist string `toml:"delist"`
	// KeyFile holds the key of a paid query service, which is asked for as a
	// label in front of the zone. Blank: no key.
	KeyFile string `toml:"key_file" form:"path"`
	// ListedControl must be listed before an answer of the zone is believed.
	// Default: 127.0.0.2 for addresses, "test" for domains (RFC 5782 s. 5).
	ListedControl string `toml:"listed_control"`
	// CleanControl must not be listed. Default: 127.0.0.1 for addresses,
	// "invalid" for domains (RFC 5782 s. 5).
	CleanControl string `toml:"clean_control"`
}

// SetDefaults fills z with the documented defaults.
func (z *ZoneConfig) SetDefaults() {
	z.Every = 30 * time.Minute
	z.Of = []Kind{Addresses}
	z.Weight = 1
}

// Check reports every problem of the table.
func (z *ZoneConfig) Check(report func(key, problem string)) {
	if z.Every < time.Minute || z.Every > 7*24*time.Hour {
		report("every", fmt.Sprintf("is %v; write a time from %v to %v", z.Every, time.Minute, 7*24*time.Hour))
	}
	if len(z.Of) == 0 {
		report("of", `is empty; write ["addresses"], ["domains"] or both`)
	}
	if !(z.Weight > 0 && z.Weight <= 10) {
		report("weight", "is not above 0 and at most 10; 1 lets this zone alone open a report")
	}
	for code := range z.Codes {
		if a, err := netip.ParseAddr(code); err != nil || !loopback4.Contains(a) {
			report(fmt.Sprintf("codes.%q", code), "is not an address in 127.0.0.0/8; see the zone's page of return codes")
		}
	}
	for i, a := range z.Ignore {
		if !loopback4.Contains(a) {
			report(fmt.Sprintf("ignore.%d", i), "is not an address in 127.0.0.0/8; see the zone's page of return codes")
		}
	}
	both := slices.Contains(z.Of, Addresses) && slices.Contains(z.Of, Domains)
	if both && (z.ListedControl != "" || z.CleanControl != "") {
		report("listed_control", "cannot be set for a zone of addresses and domains; leave the controls out or make two tables")
	}
	z.checkControl(report, "listed_control", z.ListedControl)
	z.checkControl(report, "clean_control", z.CleanControl)
}

func (z *ZoneConfig) checkControl(report func(key, problem string), key, control string) {
	if control == "" {
		return
	}
	_, err := netip.ParseAddr(control)
	if slices.Contains(z.Of, Addresses) && err != nil {
		report(key, "is not an address; write one, as 127.0.0.2")
	}
	if slices.Contains(z.Of, Domains) && !resolve.IsHostName(control) {
		report(key, "is not a domain name; write one, as \"test\"")
	}
}

// Kind is what a blocklist lists.
type Kind string

// Kinds of targets.
const (
	Addresses Kind = "addresses"
	Domains   Kind = "domains"
)

// UnmarshalText takes "addresses" or "domains".
func (k *Kind) UnmarshalText(b []byte) error {
	return text.OneOf(k, b, Addresses, Domains)
}

// MarshalText returns the form in the file.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k), nil }

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

// ConfigOf is the table of a zone among those of [reputation.dnsbl], whatever the case of
// its name and with or without the final dot; the defaults where the zone has no table.
func ConfigOf(zone string, tables map[string]ZoneConfig) (c ZoneConfig) {
	c.SetDefaults()
	for written, table := range tables {
		if strings.EqualFold(strings.TrimSuffix(written, "."), strings.TrimSuffix(zone, ".")) {
			c = table
		}
	}
	return c
}
