package mx

import (
	"errors"
	"net/netip"
)

// Problem says why no mail for a domain can be delivered. It is final: where DNS gives no
// answer that is an error, not a Problem.
type Problem int

// Problems of a domain.
const (
	None      Problem = iota
	NoDomain          // there is no such name
	NullMX            // it says that it takes no mail (RFC 7505)
	NoAddress         // none of its hosts has an address to which mail may go
	Loop              // we are the best of its hosts ourselves
)

var (
	// ErrDNS: DNS did not say who takes mail for the domain.
	ErrDNS = errors.New("DNS gave no answer")
	// ErrFamily: its hosts have addresses, but none of the families asked for.
	ErrFamily = errors.New("no address of its hosts is of a family that can be used")
)

// Answer says who takes mail for a domain.
type Answer struct {
	Domain string
	// Implicit: the domain has no MX record and is its own host.
	Implicit bool
	// Named: the configuration names the hosts.
	Named bool
	// Hosts are the names of all its hosts, also of those that are not looked at; see
	// Finder.Hosts.
	Hosts []string
	// Exchangers are the hosts that were looked at, in the order to try them.
	Exchangers []Exchanger
	// Left counts those that were not looked at, since there are so many.
	Left int
	// Targets are the addresses to try, in this order, at most MaxTargets; none
	// where Problem says why.
	Targets []Target
	Problem Problem
}

// Exchanger is one host of a domain.
type Exchanger struct {
	Name       string // without its final dot; an address literal in brackets
	Preference uint16
	Addresses  []Address
	// Ours: it is ourselves by its name.
	Ours bool
	// Skipped: we are one of the hosts of this preference, or of a better one.
	Skipped bool
	Err     error // why its addresses are not known; nil: they are, or there are none
	// Secure: DNSSEC vouches for the MX record and for the addresses that were found.
	Secure    bool
	port      uint16 // 0: that of the configuration
	aliases   []string
	canonical string // its name behind all aliases
}

// Address is one address of an exchanger.
type Address struct {
	IP netip.Addr
	// Refused says why no mail may go there, such as "private"; "" where it may.
	Refused string
	// Ours: we would reach ourselves there.
	Ours bool
	// Failing: it failed a while ago, and is tried last.
	Failing bool
}

// Target is an address to try.
type Target struct {
	Host    string // name of the exchanger
	Address netip.AddrPort
	// Secure is that of the Exchanger: TLSA records count.
	Secure    bool
	canonical string
}

// String is such as "mx1.example.net[192.0.2.25]:25".
func (t Target) String() string {
	port := ":" + portText(t.Address.Port())
	if t.Host == "" || t.Host[0] == '[' {
		return "[" + t.Address.Addr().String() + "]" + port
	}
	return t.Host + "[" + t.Address.Addr().String() + "]" + port
}
