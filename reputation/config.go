package reputation

import (
	"fmt"
	"net/netip"
	"time"

	"postern/internal/resolve"
	"postern/reputation/dnsbl"
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
	// CheckEvery is the time between two runs of the identity checks (PTR, SPF, DKIM,
	// DMARC, MX, certificates); 1m to 7d. Default: 1h.
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
	// troubling the upstream, once a second refusal has confirmed the first, which
	// holds for an hour; 0s to 365d, 0s never. Default: 7d.
	SuppressFor time.Duration `toml:"suppress_for"`
	// SuspectFactor is how many times the score of the next sender the first one must have
	// before on_listing = "suspend_suspect" suspends it; 1 to 1000. Default: 3.
	SuspectFactor float64 `toml:"suspect_factor"`
	// DNSBL are the blocklists to ask, by zone. Blank: none, for each question
	// tells a third party which addresses are ours.
	DNSBL map[string]dnsbl.ZoneConfig `toml:"dnsbl"`
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
		if _, err := resolve.ServerAddress(r); err != nil {
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
		if !resolve.IsHostName(zone) {
			report(fmt.Sprintf("dnsbl.%q", zone), "is not a domain name; write the zone, as in \"zen.spamhaus.org\"")
		}
	}
}

func between(report func(key, problem string), key string, d, low, high time.Duration) {
	if d < low || d > high {
		report(key, fmt.Sprintf("is %v; write a time from %v to %v", d, low, high))
	}
}
