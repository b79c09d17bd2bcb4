package direct

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/smtptest"
	"postern/mx/provider"
)

// TestGroupOfADomainIsRemembered where DNS does not say it any more.
func TestGroupOfADomainIsRemembered(t *testing.T) {
	w := grouped(t, provider.Config{}, nil)
	w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	if got := w.up.LastProvider("b.example"); got != provider.Other {
		t.Errorf("before the first mail: %q", got)
	}
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Fatal(s)
	}
	if got := w.up.LastProvider("b.example"); got != "big" {
		t.Errorf("after it: %q", got)
	}
	// Another domain, of which the answer is no longer kept and that now has faulty DNS.
	w.up.known.note("c.example", "big")
	w.zone.Break("c.example", dns.RcodeServerFailure)
	if got := w.up.Provider(t.Context(), "c.example"); got != "big" {
		t.Errorf("without an answer: %q", got)
	}
	if s := w.send("x@c.example"); s.codes() != "451" || s.to[0].Provider != "big" {
		t.Errorf("%s in %q", s, s.to[0].Provider)
	}
	// One that has moved away is of the group no longer.
	w.up.known.note("d.example", "big")
	w.domain("d.example", "mx.d.example 127.0.3.1")
	for range 2 {
		if got := w.up.Provider(t.Context(), "d.example"); got != provider.Other || w.up.LastProvider("d.example") != provider.Other {
			t.Errorf("after it has moved: %q", got)
		}
	}
}

func TestRememberedGroupsAreBounded(t *testing.T) {
	var k groupsKnown
	for i := range 3 * maxKnown {
		k.note(fmt.Sprintf("d%d.example", i), "big")
		k.note(fmt.Sprintf("o%d.example", i), provider.Other)
	}
	if n := len(k.of); n > maxKnown || n < maxKnown*8/10 {
		t.Errorf("%d are remembered", n)
	}
}
