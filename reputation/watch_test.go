package reputation

import (
	"strings"
	"testing"

	"postern/internal/resolve"
)

func FuzzWhatRepliesName(f *testing.F) {
	f.Add("550 [192.0.2.1] listed", "shop.example")
	f.Add("550 2001:db8::1 ::ffff:1.2.3.4 1.2.3.4.5", "a")
	f.Fuzz(func(t *testing.T, reply, name string) {
		if as := addressesIn(reply); len(as) > 10 {
			t.Errorf("%d addresses", len(as))
		}
		if name != "" && containsName(reply, name) && !strings.Contains(reply, name) {
			t.Errorf("%q is not in %q", name, reply)
		}
		firstLink(reply)
		resolve.Printable(reply)
	})
}
