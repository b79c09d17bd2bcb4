package reputation

import "testing"

// A saved set is of these hashes: others would make all that it knows unknown.
func TestHashesOfPairsStay(t *testing.T) {
	for _, c := range []struct {
		client, recipient string
		want              [2]uint64
	}{
		{"", "", [2]uint64{0xae53c5ca1c30745d, 0xf66160a470733706}},
		{"shop", "b@dest.example", [2]uint64{0x7c69f256c3371a70, 0x82634fd86aa5e3e2}},
		{"shopb", "@dest.example", [2]uint64{0x68b813221cb3e676, 0x9ace34ade228f6cb}},
	} {
		h1, h2 := fnv([2]uint64{1, 0x123456789abcdef0}, c.client, c.recipient)
		if h1 != c.want[0] || h2 != c.want[1] {
			t.Errorf("%q %q: %#x %#x, want %#x", c.client, c.recipient, h1, h2, c.want)
		}
	}
}
