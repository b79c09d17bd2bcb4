package smtpd

import (
	"net/netip"
	"testing"
)

// TestLMTPIsNotSpokenOnPort25 (RFC 2033 s. 5).
func TestLMTPIsNotSpokenOnPort25(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:25": 1, "[::1]:25": 1, "127.0.0.1:24": 0, "127.0.0.1:2525": 0} {
		var c ListenerConfig
		c.SetDefaults()
		c.Address, c.Protocol = netip.MustParseAddrPort(address), ProtocolLMTP
		problems := 0
		c.Check(func(key, problem string) { problems++ })
		if problems != want {
			t.Errorf("%s: %d problems, want %d", address, problems, want)
		}
	}
	var p Protocol
	if err := p.UnmarshalText([]byte("LMTP")); err == nil {
		t.Error(`"LMTP" is taken`)
	}
}
