package resolve

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"strings"

	"postern/internal/dnstest"
)

func TestOwner(t *testing.T) {
	for name, want := range map[string]string{
		"mx1.example.co.uk.": "example.co.uk", "_mta-sts.a.b.example": "b.example", "b.example": "b.example", "example": "example", "co.uk": "co.uk", "": "", "a..b": "a..b",
	} {
		if got := Owner(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TestSlowOwnerTakesNoOtherQuestion: names of one owner that are never answered leave room
// for those of others, however many there are.
func TestSlowOwnerTakesNoOtherQuestion(t *testing.T) {
	release := make(chan struct{})
	address := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		name := q.Question[0].Name
		if strings.HasSuffix(name, ".evil.example.") {
			<-release
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		m.Answer = append(m.Answer, dnstest.Record(name, dns.TypeA, 60, "192.0.2.1"))
		w.WriteMsg(m)
	})
	r, err := New(Options{Servers: []string{address}, Timeout: 3 * time.Second, Questions: 16, PerOwner: 4})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	t.Cleanup(func() {
		close(release)
		r.Close()
		wait.Wait()
	})
	for i := range 100 {
		wait.Go(func() { r.Ask(t.Context(), fmt.Sprintf("n%d.evil.example", i), dns.TypeA) })
	}
	for under := 0; under < 100; { // all are under way
		r.mu.Lock()
		under = len(r.flights)
		r.mu.Unlock()
	}
	for i := range 20 {
		if a := r.Ask(t.Context(), fmt.Sprintf("n%d.good.example", i), dns.TypeA); a.State != Found {
			t.Fatalf("%+v", a)
		}
	}
	r.shares.mu.Lock()
	defer r.shares.mu.Unlock()
	if n := len(r.shares.of); n > 1 {
		t.Errorf("%d owners are remembered", n)
	}
}
