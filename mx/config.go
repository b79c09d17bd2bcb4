package mx

import (
	"fmt"
	"net/netip"
	"time"

	"postern/internal/resolve"
	"postern/internal/text"
)

// Family says over which version of IP mail leaves.
type Family string

// The families.
const (
	FamilySource Family = "source" // those of the stream's source_ip; IPv4 where it has none
	FamilyAny    Family = "any"    // both, IPv4 first
	FamilyIPv4   Family = "ipv4"
	FamilyIPv6   Family = "ipv6"
)

// UnmarshalText accepts the four names; blank is an error.
func (f *Family) UnmarshalText(b []byte) error {
	return text.OneOf(f, b, FamilySource, FamilyAny, FamilyIPv4, FamilyIPv6)
}

// MarshalText returns the name.
func (f Family) MarshalText() ([]byte, error) { return []byte(f), nil }

// DANE says whether TLSA records are heeded.
type DANE string

// The values of dane.
const (
	DANEAuto DANE = "auto"
	DANEOff  DANE = "off"
)

// UnmarshalText accepts the two words; blank is an error.
func (d *DANE) UnmarshalText(b []byte) error { return text.OneOf(d, b, DANEAuto, DANEOff) }

// MarshalText returns the word.
func (d DANE) MarshalText() ([]byte, error) { return []byte(d), nil }

// DNSSEC says which DNS servers are believed.
type DNSSEC string

// The values of dnssec.
const (
	DNSSECLocal DNSSEC = "local"
	DNSSECTrust DNSSEC = "trust"
)

// UnmarshalText accepts the two words; blank is an error.
func (d *DNSSEC) UnmarshalText(b []byte) error { return text.OneOf(d, b, DNSSECLocal, DNSSECTrust) }

// MarshalText returns the word.
func (d DNSSEC) MarshalText() ([]byte, error) { return []byte(d), nil }

// Config is the part of [upstream.NAME] that holds with mx = true.
type Config struct {
	// MX delivers to the mail exchangers of each recipient's own domain, in place
	// of Hosts. Default: false.
	MX bool `toml:"mx"`
	// Resolvers are the DNS servers to ask, such as "192.0.2.53" or "[2001:db8::53]:53".
	// Blank: those of the system.
	Resolvers []string `toml:"resolvers"`
	// Family is source, any, ipv4 or ipv6. Default: source.
	Family Family `toml:"family"`
	// Port of the exchangers. Default: 25; another one is for tests.
	Port int `toml:"port"`
	// AllowNetworks are networks to which mail may go although they are private, of
	// this machine or reserved. Blank: none.
	AllowNetworks []netip.Prefix `toml:"allow_networks"`
	// RefuseNetworks are networks to which no mail goes, whatever DNS says. Blank:
	// only those that are private, of this machine or reserved.
	RefuseNetworks []netip.Prefix `toml:"refuse_networks"`
	// MTASTS heeds policies of MTA-STS (RFC 8461): mail to a domain that enforces one
	// goes over verified TLS to the hosts that it names, or waits. Default: true.
	MTASTS bool `toml:"mta_sts"`
	// DANE heeds TLSA records of exchangers (RFC 7672): "auto" where DNS servers say
	// that answers are signed and can be believed, see DNSSEC, or "off". Default: auto.
	DANE DANE `toml:"dane"`
	// DNSSEC says which DNS servers are believed that an answer is signed: "local",
	// those on this machine, or "trust", all: then nobody may be on the way to them.
	// Default: local.
	DNSSEC DNSSEC `toml:"dnssec"`
	// TLSRPTSocket is the datagram socket of a collector of TLS reports (RFC 8460),
	// tlsrpt-collectd. Blank: no domain gets reports from here.
	TLSRPTSocket string `toml:"tlsrpt_socket" form:"path"`
	// FindTimeout bounds the search for the exchangers of a domain, and how long one
	// after another of them is tried; a try that is under way then goes on. Default: 30s.
	FindTimeout time.Duration `toml:"find_timeout"`
	// MaxDomains is how many recipient domains one transaction can have; those of
	// further ones are told 452 4.5.3. From 1, each domain for itself, to 100. Default: 20.
	MaxDomains int `toml:"max_domains"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() {
	*c = Config{Family: FamilySource, Port: 25, MTASTS: true, DANE: DANEAuto, DNSSEC: DNSSECLocal, FindTimeout: 30 * time.Second, MaxDomains: 20}
}

// Check reports every problem of these keys.
func (c *Config) Check(report func(key, problem string)) {
	for i, s := range c.Resolvers {
		if _, err := resolve.ServerAddress(s); err != nil {
			report(fmt.Sprintf("resolvers.%d", i), fmt.Sprintf("%q %v", s, err))
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		report("port", fmt.Sprintf("%d is not a port; write a number from 1 to 65535, or leave it out for 25", c.Port))
	}
	if c.FindTimeout <= 0 {
		report("find_timeout", fmt.Sprintf(`%v is not positive; write a duration such as "30s", or leave it out for the default`, c.FindTimeout))
	}
	if c.MaxDomains < 1 || c.MaxDomains > 100 {
		report("max_domains", fmt.Sprintf("%d is not from 1 to 100; leave it out for the default", c.MaxDomains))
	}
	if c.MX {
		return
	}
	for key, set := range map[string]bool{
		"resolvers": len(c.Resolvers) > 0, "family": c.Family != FamilySource, "port": c.Port != 25,
		"allow_networks": len(c.AllowNetworks) > 0, "refuse_networks": len(c.RefuseNetworks) > 0, "find_timeout": c.FindTimeout != 30*time.Second,
		"mta_sts": !c.MTASTS, "dane": c.DANE != DANEAuto, "dnssec": c.DNSSEC != DNSSECLocal, "max_domains": c.MaxDomains != 20, "tlsrpt_socket": c.TLSRPTSocket != "",
	} {
		if set {
			report(key, "does something with mx = true only; remove it")
		}
	}
}

// Families says over which versions of IP a stream with these source addresses delivers
// mail.
func (c *Config) Families(sources []netip.Addr) Families {
	switch c.Family {
	case FamilyAny:
		return Families{IPv4: true, IPv6: true}
	case FamilyIPv4:
		return Families{IPv4: true}
	case FamilyIPv6:
		return Families{IPv6: true}
	}
	var f Families
	for _, a := range sources {
		f.IPv4 = f.IPv4 || a.Unmap().Is4()
		f.IPv6 = f.IPv6 || !a.Unmap().Is4()
	}
	// A machine that has IPv6 mostly has no PTR record for it, and large receivers
	// refuse its mail for that.
	f.IPv4 = f.IPv4 || len(sources) == 0
	return f
}

// Families are versions of IP.
type Families struct{ IPv4, IPv6 bool }

func (f Families) has(a netip.Addr) bool { return a.Is4() && f.IPv4 || a.Is6() && f.IPv6 }

// String is "IPv4", "IPv6" or "IPv4 and IPv6".
func (f Families) String() string {
	switch {
	case f.IPv4 && f.IPv6:
		return "IPv4 and IPv6"
	case f.IPv6:
		return "IPv6"
	}
	return "IPv4"
}
