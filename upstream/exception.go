package upstream

import (
	"fmt"
	"net/netip"

	"postern/mx"
)

// Exception is one [upstream.NAME.domain."DOMAIN"]: what is different, with mx = true, for
// the mail to one recipient domain.
type Exception struct {
	// TLS in place of what the upstream and the group of receivers have; policies of
	// the domain (MTA-STS, DANE) raise it further. Blank: as they have it.
	TLS TLSPolicy `toml:"tls"`
	// Hosts are "host:port" in order of preference, to which mail goes in place of
	// the domain's MX hosts; without a port it is 25. Blank: the domain's MX hosts.
	Hosts []string `toml:"hosts"`
	// MTASTS false heeds no policy of MTA-STS of this domain. Default: true, which is as
	// the upstream has it.
	MTASTS bool `toml:"mta_sts"`
	// DANE "off" heeds no TLSA records. Default: auto, which is as the upstream has it.
	DANE mx.DANE `toml:"dane"`
}

// SetDefaults fills in what the documentation promises.
func (e *Exception) SetDefaults() { e.MTASTS, e.DANE = true, mx.DANEAuto }

// Named returns the hosts, with port 25 where they name none; nil where mail goes to the
// domain's own.
func (e *Exception) Named() (all []mx.Host) {
	for _, text := range e.Hosts {
		if name, port, err := splitHost(text); err == nil {
			all = append(all, mx.Host{Name: name, Port: uint16(port)})
		}
	}
	return all
}

// CheckExceptions reports every problem of the tables of single domains, once c has
// the values that hold with mx = true.
func (c *Config) CheckExceptions(report func(key, problem string)) {
	if !c.MX && len(c.Domain) > 0 {
		report("domain", "does something with mx = true only; remove it")
		return
	}
	for domain, e := range c.Domain {
		at := fmt.Sprintf("domain.%q.", domain)
		checkHosts(e.Hosts, false, func(key, problem string) { report(at+key, problem) })
		for i, h := range e.Named() {
			key := fmt.Sprintf("%shosts.%d", at, i)
			ip, err := netip.ParseAddr(h.Name)
			switch {
			case err != nil:
			case e.TLS == EncryptVerified || e.TLS == "" && c.TLS == EncryptVerified:
				report(key, "is an address, for which no certificate can be verified; name the host")
			case c.Refusal(ip.Unmap()) != "":
				report(key, fmt.Sprintf("no mail goes there: %s; add it to allow_networks of the upstream", c.Refusal(ip.Unmap())))
			}
		}
	}
}
