package mx

import (
	"net/netip"
	"testing"
)

// TestAddressesThatNoMailGoesTo: each form in which an address inside of this
// network, or of nobody, can be written is refused.
func TestAddressesThatNoMailGoesTo(t *testing.T) {
	refused := []string{
		// IPv4.
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.255.255.254",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.1",
		"198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		// IPv6.
		"::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:2::1",
		"2001:10::1", "2001:20::1", "4000::1", "e000::1", "64:ff9b:1::1",
		// IPv4 in it: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1",
		"::ffff:0:192.168.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.1.2.3", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a00:1::",
		"2002:c0a8:101::1", "2001:0:5ef5:79fd:0:59d:a0e5:1", "2001:0:7f00:1::", "2a00:1450::5efe:127.0.0.1", "2a00:1450::200:5efe:192.168.1.1", "2a00:1450::5efe:10.0.0.1",
	}
	var c Config
	for _, text := range refused {
		if a := netip.MustParseAddr(text).Unmap(); c.Refusal(a) == "" {
			t.Errorf("mail may go to %s", text)
		}
	}
	if len(refused) < 60 {
		t.Errorf("only %d forms", len(refused))
	}
	for _, text := range []string{"8.8.8.8", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.1",
		"2a00:1450:4013::1b", "2607:f8b0::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2a00::5efe:8.8.8.8"} {
		if is := c.Refusal(netip.MustParseAddr(text).Unmap()); is != "" {
			t.Errorf("no mail may go to %s: %s", text, is)
		}
	}
}

func TestNetworksOfTheOperatorDecide(t *testing.T) {
	c := Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, RefuseNetworks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("8.8.8.0/24")}}
	for text, want := range map[string]string{
		"10.0.0.1": "", "10.1.0.1": "in refuse_networks", "8.8.8.8": "in refuse_networks", "192.168.0.1": "private",
		// What is allowed is what is dialled, and not what a translator makes of it.
		"64:ff9b::10.0.0.1": "private, within IPv6",
	} {
		if got := c.Refusal(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
