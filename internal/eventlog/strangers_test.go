package eventlog

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/mail"
)

// kept keeps the events that it is told of.
type kept struct {
	mu  sync.Mutex
	all []mail.Event
}

func (k *kept) Observe(e *mail.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, *e)
}

// sum is how many events those that were told stand for.
func (k *kept) sum() (n int) {
	for i := range k.all {
		n += max(k.all[i].Times, 1)
	}
	return n
}

// budget is a Strangers with a clock that a test moves.
func budget() (s *Strangers, clients, strangers *kept, clock *time.Time) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clients, strangers = &kept{}, &kept{}
	s = NewStrangers([]mail.Observer{clients}, []mail.Observer{strangers}, func() time.Time { return at })
	return s, clients, strangers, &at
}

func refusedFrom(ip, rule string) *mail.Event {
	return &mail.Event{ClientIP: ip, Stage: mail.StageMail, Rule: rule, Outcome: mail.Rejected, To: []mail.RecipientEvent{}}
}

// TestStrangersHaveOneLineForAReason: 81,500 refusals a second of one address
// are a line at once and one every ten seconds, and none is lost from the count.
func TestStrangersHaveOneLineForAReason(t *testing.T) {
	s, clients, strangers, clock := budget()
	for range 600 { // a minute
		*clock = clock.Add(100 * time.Millisecond)
		for range 815 {
			s.Observe(refusedFrom("192.0.2.7", "client"))
		}
	}
	s.Close()
	if n := len(strangers.all); n > 8 {
		t.Errorf("%d lines in a minute", n)
	}
	if n := strangers.sum(); n != 600*815 {
		t.Errorf("they stand for %d, want %d", n, 600*815)
	}
	if len(clients.all) > 0 {
		t.Error("strangers are among the clients")
	}
}

// TestStrangersHaveABudgetInAll: a million addresses, IPv6 ones of a provider
// among them, with reasons of all kinds, cost 100 lines in ten seconds and no
// memory.
func TestStrangersHaveABudgetInAll(t *testing.T) {
	s, _, strangers, clock := budget()
	rng := rand.New(rand.NewPCG(1, 2))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 1_000_000
	began := *clock
	for i := range n {
		*clock = clock.Add(60 * time.Microsecond)
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if i%2 == 0 {
			ip = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i), byte(i >> 8), byte(i >> 16), byte(rng.Uint32()), 15: 1})
		}
		s.Observe(refusedFrom(ip.String(), fmt.Sprint("client ", i%3)))
	}
	took := clock.Sub(began)
	s.Close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if most := strangersLines * int(took/strangersEvery+2); len(strangers.all) > most {
		t.Errorf("%d lines, want at most %d", len(strangers.all), most)
	}
	if strangers.sum() != n {
		t.Errorf("they stand for %d, want %d", strangers.sum(), n)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 || len(s.by) > strangersLines {
		t.Errorf("%d octets, %d kinds are kept", grown, len(s.by))
	}
	runtime.KeepAlive(s)
}

// TestStrangersShareTheirLines: a thousand that go on and on leave lines to
// those who come new.
func TestStrangersShareTheirLines(t *testing.T) {
	s, _, strangers, clock := budget()
	for round := range 5 {
		*clock = clock.Add(strangersEvery)
		before := len(strangers.all)
		for range 3 {
			for i := range 1000 {
				s.Observe(refusedFrom(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "client"))
			}
			s.Observe(refusedFrom(fmt.Sprintf("192.0.2.%d", round), "client"))
			if round > 0 && len(strangers.all)-before > strangersLines {
				t.Fatalf("%d lines", len(strangers.all)-before)
			}
		}
	}
	*clock = clock.Add(strangersEvery)
	before := len(strangers.all)
	s.Observe(refusedFrom("198.51.100.1", "client"))
	if e := strangers.all[len(strangers.all)-1]; e.ClientIP != "198.51.100.1" {
		t.Errorf("of %d lines the last is of %q", len(strangers.all)-before, e.ClientIP)
	}
	if others := slices.ContainsFunc(strangers.all[before:], func(e mail.Event) bool { return e.Rule == "others" && e.Times > 0 }); !others {
		t.Error("no line tells how many found no line")
	}
}

// TestStrangersOfANetworkAreOne: a /64 is one address; reasons are told apart.
func TestStrangersOfANetworkAreOne(t *testing.T) {
	s, clients, strangers, _ := budget()
	for i := range 50 {
		s.Observe(refusedFrom(fmt.Sprintf("2001:db8::%x", i), "client"))
		s.Observe(refusedFrom(fmt.Sprintf("2001:db8::%x", i), "syntax"))
		s.Observe(refusedFrom("", "client"))
		known := refusedFrom("2001:db8::7", "senders")
		known.Client = "shop"
		s.Observe(known)
	}
	if len(strangers.all) != 3 {
		t.Errorf("%d lines, want 3", len(strangers.all))
	}
	if len(clients.all) != 50 {
		t.Errorf("%d of 50 events of a client", len(clients.all))
	}
}

// TestStrangersWithAClockThatStepsBack are told of all the same.
func TestStrangersWithAClockThatStepsBack(t *testing.T) {
	s, _, strangers, clock := budget()
	for range 5 {
		s.Observe(refusedFrom("192.0.2.7", "client"))
		*clock = clock.Add(-time.Hour)
	}
	s.Close()
	if strangers.sum() != 5 {
		t.Errorf("%d of 5", strangers.sum())
	}
}

// TestGuessersAreToldOfInAFlood: a flood of refused MAIL does not hide who tries
// passwords meanwhile.
func TestGuessersAreToldOfInAFlood(t *testing.T) {
	s, _, strangers, clock := budget()
	guesses := 0
	for round := range 4 {
		*clock = clock.Add(strangersEvery)
		for i := range 5000 {
			s.Observe(refusedFrom(netip.AddrFrom4([4]byte{10, byte(round), byte(i >> 8), byte(i)}).String(), "client"))
		}
		for i := range strangersAuth {
			e := refusedFrom(netip.AddrFrom4([4]byte{192, 0, byte(round), byte(i)}).String(), "password")
			e.Stage = mail.StageAuth
			s.Observe(e)
			guesses++
		}
	}
	told := 0
	for i := range strangers.all {
		if strangers.all[i].Stage == mail.StageAuth {
			told++
		}
	}
	if told != guesses {
		t.Errorf("%d of %d guessers are told of", told, guesses)
	}
	if n := len(strangers.all); n > 4*(strangersLines+1) {
		t.Errorf("%d lines in 40 seconds", n)
	}
}
