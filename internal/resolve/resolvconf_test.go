package resolve

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// TestResolverSeesAnotherResolvConf: a laptop that changes its network, a VPN,
// a DHCP lease: the new servers are asked within five seconds, and a file that
// is being written leaves the old ones.
func TestResolverSeesAnotherResolvConf(t *testing.T) {
	old, next := dnstest.StartFaulty(t), dnstest.StartFaulty(t)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	conf := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1_800_000_000, 0)
	r, err := New(Options{Timeout: 10 * time.Second, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.servers.file = file
	asked := func() [2]int {
		t.Helper()
		if a := r.AskNow(t.Context(), "x-good.example", dns.TypeA); a.State != Found {
			t.Fatalf("state %d (%v)", a.State, a.Err)
		}
		return [2]int{old.Count("x-good.example."), next.Count("x-good.example.")}
	}
	conf("nameserver " + old.Address + "\n")
	if n := asked(); n != [2]int{1, 0} {
		t.Fatalf("questions %v", n)
	}
	for _, half := range []string{"", "nameserver \n", "search example\n"} {
		conf(half)
		now = now.Add(rereadEvery)
		before := old.Count("x-good.example.")
		if n := asked(); n != [2]int{before + 1, 0} {
			t.Errorf("with the file %q: questions %v", half, n)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	now = now.Add(rereadEvery)
	if n := asked(); n != [2]int{5, 0} {
		t.Errorf("without the file: questions %v", n)
	}
	r.Probe(t.Context())
	conf("nameserver " + next.Address + "\n")
	now = now.Add(rereadEvery)
	if n := asked(); n != [2]int{5, 1} {
		t.Errorf("with another server: questions %v", n)
	}
	before := r.probedOf
	if r.Probe(t.Context()); r.probedOf == before {
		t.Error("the new server is not probed for answers of its own making")
	}
	now = now.Add(-time.Hour) // a clock that steps back must not stop it
	conf("nameserver " + old.Address + "\n")
	if n := asked(); n != [2]int{6, 1} {
		t.Errorf("after the clock stepped back: questions %v", n)
	}
}
