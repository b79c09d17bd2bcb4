package reputation

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config is the table [reputation]. Nothing on the mail path waits for what it
// switches on, and without a [reputation.dnsbl] table no blocklist is asked.
type Config struct {
	// Resolvers are asked in this order, each an address with or without a
	// port (53 when missing). Blank: those of the system (/etc/resolv.conf).
	// Most blocklists refuse questions that come through public resolvers.
	Resolvers []string `toml:"resolvers"`
	// Timeout is how long one DNS question may take, all its retries included;
	// 100ms to 30s. Default: 4s.
	Timeout time.Duration `toml:"timeout"`
	// CheckEvery is the time between two runs of the identity checks (PTR, SPF,
	// DKIM, DMARC, MX, certificates); at least 1m. Default: 1h.
	CheckEvery time.Duration `toml:"check_every"`
	// PublicIPs are the addresses under which the world sees our mail, where
	// NAT or the provider's own addresses stand in between. They hold for each
	// stream that has no public_ips of its own. Blank: the streams' source_ip.
	PublicIPs []netip.Addr `toml:"public_ips"`
	// ReplyRules is a file with rules that classify upstream replies; they are
	// tried before the built-in ones. Blank: only the built-in ones.
	ReplyRules string `toml:"reply_rules" form:"path"`
	// LookBack is how far before a listing its report looks for the cause; 1h
	// to 7d. Default: 24h.
	LookBack time.Duration `toml:"look_back"`
	// SuppressFor is how long a recipient whose server says that it does not
	// exist is refused here (550 5.1.1) for the stream that wrote to it, without
	// troubling the upstream; 0s to 365d, 0s never. Default: 7d.
	SuppressFor time.Duration `toml:"suppress_for"`
	// SuspectFactor is how far ahead of the next sender the first one must be
	// before on_listing = "suspend_suspect" suspends it; at least 1. Default: 3.
	SuspectFactor float64 `toml:"suspect_factor"`
	// DNSBL are the blocklists to ask, by zone. Blank: none, for each question
	// tells a third party which addresses are ours.
	DNSBL map[string]ZoneConfig `toml:"dnsbl"`
}

// SetDefaults fills c with the documented defaults.
func (c *Config) SetDefaults() {
	c.Timeout = 4 * time.Second
	c.CheckEvery = time.Hour
	c.SuppressFor = 7 * 24 * time.Hour
	c.LookBack = 24 * time.Hour
	c.SuspectFactor = 3
}

// Check reports every problem of the table, apart from those of its zones.
func (c *Config) Check(report func(key, problem string)) {
	for i, r := range c.Resolvers {
		if _, err := resolverAddress(r); err != nil {
			report(fmt.Sprintf("resolvers.%d", i), err.Error())
		}
	}
	between(report, "timeout", c.Timeout, 100*time.Millisecond, 30*time.Second)
	between(report, "check_every", c.CheckEvery, time.Minute, 7*24*time.Hour)
	between(report, "look_back", c.LookBack, time.Hour, 7*24*time.Hour)
	between(report, "suppress_for", c.SuppressFor, 0, 365*24*time.Hour)
	if !(c.SuspectFactor >= 1 && c.SuspectFactor <= 1000) {
		report("suspect_factor", "is not between 1 and 1000; 3 is usual")
	}
	for i, ip := range c.PublicIPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
			report(fmt.Sprintf("public_ips.%d", i), "is not the address of one host; write the address that receivers see")
		}
	}
	for zone := range c.DNSBL {
		if !isHostName(zone) {
			report(fmt.Sprintf("dnsbl.%q", zone), "is not a domain name; write the zone, as in \"zen.spamhaus.org\"")
		}
	}
}

// ZoneConfig is a table [reputation.dnsbl."zone"].
type ZoneConfig struct {
	// Every is the time between two polls; 1m to 7d. Default: 30m.
	Every time.Duration `toml:"every"`
	// Of says what is asked about: "addresses" (the public addresses) and
	// "domains" (EHLO names, sender and DKIM domains). Default: ["addresses"].
	Of []Kind `toml:"of"`
	// Codes give the meaning of answers, as "127.0.0.2" = "SBL". An answer that
	// is not described counts all the same. Blank: no meanings.
	Codes map[string]string `toml:"codes"`
	// Ignore are answers that are no listing for us, as "127.0.0.10" for a
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
	between(report, "every", z.Every, time.Minute, 7*24*time.Hour)
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
	if slices.Contains(z.Of, Domains) && !isHostName(control) {
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
	switch v := Kind(b); v {
	case Addresses, Domains:
		*k = v
		return nil
	}
	return fmt.Errorf("%q is neither \"addresses\" nor \"domains\"", b)
}

// MarshalText is the form in the file.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k), nil }

// Action is what a new listing does to a stream (key on_listing). The zero
// value is Alert.
type Action string

// Actions on a listing.
const (
	Alert          Action = "alert"           // tell, change nothing
	SuspendSuspect Action = "suspend_suspect" // suspend a sender that stands out
	PauseStream    Action = "pause_stream"    // defer the stream's mail with 450
)

// UnmarshalText takes one of the three words.
func (a *Action) UnmarshalText(b []byte) error {
	switch v := Action(b); v {
	case Alert, SuspendSuspect, PauseStream:
		*a = v
		return nil
	}
	return fmt.Errorf("%q is none of \"alert\", \"suspend_suspect\", \"pause_stream\"", b)
}

// MarshalText is the form in the file.
func (a Action) MarshalText() ([]byte, error) {
	if a == "" {
		a = Alert
	}
	return []byte(a), nil
}

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

func between(report func(key, problem string), key string, d, low, high time.Duration) {
	if d < low || d > high {
		report(key, fmt.Sprintf("is %v; write a time from %v to %v", d, low, high))
	}
}

// resolverAddress adds the port 53 where none is given.
func resolverAddress(s string) (string, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return net.JoinHostPort(a.String(), "53"), nil
	}
	if a, err := netip.ParseAddrPort(s); err == nil && a.Port() != 0 {
		return a.String(), nil
	}
	return "", fmt.Errorf("is not an address with or without a port; write it as 192.0.2.53 or [2001:db8::53]:53")
}

// isHostName reports whether s is a domain name of letters, digits, hyphens and
// underscores, at most 253 octets long, with or without a final dot.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isNameByte(c) {
				return false
			}
		}
	}
	return true
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
