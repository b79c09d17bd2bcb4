package check

import (
	"testing"

	"github.com/miekg/dns"

	"postern/mx"
	"postern/upstream"
)

// TestRecordsThatCannotBeUsedTakeNothingAway of what "relay mx -connect" asks of a host.
func TestRecordsThatCannotBeUsedTakeNothingAway(t *testing.T) {
	usable := &mx.TLSA{Records: []*dns.TLSA{{Usage: 3}}}
	for _, row := range []struct {
		without upstream.TLSPolicy
		tlsa    *mx.TLSA
		want    upstream.TLSPolicy
	}{
		{upstream.EncryptOpportunistic, nil, upstream.EncryptOpportunistic}, {upstream.EncryptOpportunistic, &mx.TLSA{}, upstream.EncryptRequired},
		{upstream.EncryptVerified, &mx.TLSA{}, upstream.EncryptVerified}, {upstream.EncryptVerified, usable, upstream.EncryptRequired},
	} {
		if got := withTLSA(row.without, row.tlsa); got != row.want {
			t.Errorf("%s with %+v: %s, want %s", row.without, row.tlsa, got, row.want)
		}
	}
}
