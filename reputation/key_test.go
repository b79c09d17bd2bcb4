package reputation

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"testing"

	"postern/reputation/identity"
)

// testKey is a DKIM key of signed.example, of which only the record is needed.
func testKey(t *testing.T, selector string) identity.KeyIdentity {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := base64.StdEncoding.EncodeToString(pub)
	return identity.KeyIdentity{Domain: "signed.example", Selector: selector, Type: "ed25519", Bits: 256, Public: p, Record: "v=DKIM1; k=ed25519; p=" + p}
}
