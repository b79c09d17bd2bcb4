package config

import (
	"fmt"
	"net/netip"

	"postern/dkimsign"
	"postern/policy"
	"postern/reputation/identity"
)

// StreamConfig is one [stream.NAME]: what its mail must look like, and how it
// leaves. A key about messages is one of policy.StreamConfig, a key about signatures
// one of dkimsign.WayConfig, and a key about the way out stands here.
type StreamConfig struct {
	policy.StreamConfig
	dkimsign.WayConfig

	// Upstream by name, as in [upstream.NAME]. No default.
	Upstream string `toml:"upstream"`
	// SourceIP are the addresses that mail leaves from, at most one of IPv4 and
	// one of IPv6; with an upstream that has mx = true several, of which each
	// recipient's domain always sees the same one. When none can be used, mail
	// waits (451); never is another one taken. Blank: the system chooses.
	SourceIP []netip.Addr `toml:"source_ip"`
	// EHLO is the name that upstreams are greeted with. Blank: hostname.
	EHLO string `toml:"ehlo"`
	// PublicIPs are the addresses under which the world sees this stream, where
	// NAT or the provider stands in between. Blank: those of [reputation], else
	// source_ip.
	PublicIPs []netip.Addr `toml:"public_ips"`
	// OnListing is what a listing of its addresses or domains does: "alert",
	// "suspend_suspect" or "pause_stream"; without a [reputation.dnsbl] table all
	// are "alert". Default: "alert".
	OnListing identity.Action `toml:"on_listing"`
}

// SetDefaults fills in what the documentation promises.
func (s *StreamConfig) SetDefaults() {
	s.StreamConfig.SetDefaults()
	s.OnListing = identity.Alert
}

// Check reports what is wrong with the way out.
func (s *StreamConfig) Check(report func(key, problem string)) {
	if s.Upstream == "" {
		report("upstream", "missing; name the table [upstream.NAME] that its mail goes to")
	}
	if s.EHLO != "" && !isHostName(s.EHLO) {
		report("ehlo", fmt.Sprintf("%q is not a full host name; write a name such as %q", s.EHLO, "news.example.org"))
	}
	for i, a := range s.SourceIP {
		key := fmt.Sprintf("source_ip.%d", i)
		if a.IsValid() && (a.IsUnspecified() || a.IsMulticast()) {
			report(key, fmt.Sprintf("%s is not an address to send from; write one of this machine", a))
		}
	}
}
