package networks

import (
	"fmt"
	"net/netip"
	"testing"
)

// waiting reports whether Changed has anything to give.
func (m *Memory) waiting() bool { return len(m.news.of) > 0 || len(m.news.dropped) > 0 }

// tell has b hear all that is new in a.
func tell(t *testing.T, a, b *Memory, now int64) (n int) {
	t.Helper()
	for a.waiting() {
		changed, _ := a.Changed(10)
		for _, k := range changed {
			value, _ := a.Tell(k)
			if err := b.Merge(k, value, now); err != nil {
				t.Fatal(err)
			}
		}
		n += len(changed)
	}
	return n
}

// TestWhoChangesTheNodeIsNotNew: what one memory knows the other does, and a network
// that was new at one is as new at the other.
func TestWhoChangesTheNodeIsNotNew(t *testing.T) {
	a, b := New(100), New(100)
	a.Share()
	b.Share()
	now := office(a, 3, 10)
	if n := tell(t, a, b, now); n != 3 {
		t.Errorf("%d users told", n)
	}
	if s := b.Seen("mta", "u1", netip.MustParseAddr("192.0.2.77"), "desk.example", now); s.New || s.NewName || s.Evidence != 0 {
		t.Errorf("new on the other node: %+v", s)
	}
	for i := range 2 {
		if s := b.Seen("mta", "u1", netip.AddrFrom4([4]byte{203, 0, byte(i), 1}), "bot", now); !s.New || s.Within != i+1 {
			t.Errorf("a stolen password: %+v", s)
		}
	}
	tell(t, b, a, now)
	if s := a.Seen("mta", "u1", netip.MustParseAddr("203.0.2.1"), "bot", now+60); !s.New || s.Within != 3 || s.NewName {
		t.Errorf("the third network, at the first node: %+v", s)
	}
	if s := a.Seen("mta", "u1", netip.MustParseAddr("203.0.0.9"), "bot", now+day); s.New {
		t.Errorf("a day later it is known: %+v", s)
	}
	if s := a.Seen("mta", "u2", netip.MustParseAddr("203.0.0.9"), "bot", now+day+1); !s.New || !s.Colleagues {
		t.Errorf("and a colleague's: %+v", s)
	}
}

// TestNothingNewIsNotTold: one telling a day is enough for who stays where he is.
func TestNothingNewIsNotTold(t *testing.T) {
	a, b := New(100), New(100)
	a.Share()
	now := office(a, 1, 5)
	tell(t, a, b, now)
	home := netip.MustParseAddr("192.0.2.7")
	n := 0
	for i := range int64(1000) {
		a.Seen("mta", "u0", home, "desk.example", now-now%day+i*60)
		n += tell(t, a, b, now+day)
	}
	if n != 1 {
		t.Errorf("told %d times in a day", n)
	}
	changed, gone := a.Changed(5)
	a.Again(append(changed, "mta u0"), append(gone, "mta other"))
	if changed, gone = a.Changed(5); len(changed) != 1 || len(gone) != 1 || a.waiting() {
		t.Errorf("not told again: %v %v", changed, gone)
	}
	if v, lasting := a.Tell("mta u0"); v == nil || !lasting {
		t.Error("who is known for five days is not told as such")
	}
	if v, _ := a.Tell("mta other"); v != nil {
		t.Error("who is forgotten is told")
	}
}

// TestForgottenIsTold: what found no room is taken away where it is stored, if it ever
// came there, so that invented names take no more there than here.
func TestForgottenIsTold(t *testing.T) {
	a := New(50)
	a.Share()
	stored := map[string]bool{}
	for i := range 30_000 {
		a.Seen("mta", fmt.Sprint("invented", i), netip.MustParseAddr("192.0.2.7"), "x", 1_800_000_000+int64(i))
		if i%7 == 0 {
			changed, gone := a.Changed(20)
			for _, k := range changed {
				if v, lasting := a.Tell(k); v != nil && !lasting {
					stored[k] = true
				}
			}
			for _, k := range gone {
				delete(stored, k)
			}
		}
	}
	if len(stored) > 60 || len(a.news.of) > 50 || len(a.news.dropped) > 20 {
		t.Errorf("%d stored, %d waiting, %d dropped", len(stored), len(a.news.of), len(a.news.dropped))
	}
	for i := range 30_000 { // nobody takes anything: the store is away
		a.Seen("mta", fmt.Sprint("more", i), netip.MustParseAddr("192.0.2.7"), "x", 1_800_100_000+int64(i))
	}
	if len(a.news.of) > 50 || len(a.news.dropped) > maxDropped {
		t.Errorf("%d waiting, %d dropped", len(a.news.of), len(a.news.dropped))
	}
}

func TestMergeRefusesDamage(t *testing.T) {
	a := New(10)
	a.Share()
	now := office(a, 1, 5)
	good, _ := a.Tell("mta u0")
	for n := range good {
		if New(10).Merge("mta u0", good[:n], now) == nil {
			t.Errorf("%d octets were taken", n)
		}
	}
	for _, key := range []string{"", "mta", " u0", "mta "} {
		if New(10).Merge(key, good, now) == nil {
			t.Errorf("%q was taken", key)
		}
	}
	if New(10).Merge("mta u0", append(good, 0), now) == nil {
		t.Error("an octet too many was taken")
	}
	b := New(10)
	if err := b.Merge("mta u0", good, 1_000_000_000); err != nil { // from a clock that is years ahead
		t.Fatal(err)
	}
	if u := b.known("mta", "u0"); u.First > 1_000_000_000 || u.first[0].Last > 1_000_000_000 {
		t.Errorf("%+v", u)
	}
}

// TestForgottenNetworkIsNewEverywhere: another node's memory of last year does not make
// it known.
func TestForgottenNetworkIsNewEverywhere(t *testing.T) {
	a, b := New(10), New(10)
	a.Share()
	b.Share()
	now := office(a, 1, 5)
	tell(t, a, b, now)
	later := now + 200*day
	for d := range int64(5) {
		a.Seen("mta", "u0", netip.MustParseAddr("203.0.113.7"), "", later-5*day+d*day)
	}
	if s := a.Seen("mta", "u0", netip.MustParseAddr("192.0.2.7"), "", later); !s.New {
		t.Fatalf("%+v", s)
	}
	tell(t, b, a, later)
	tell(t, a, b, later)
	for _, m := range []*Memory{a, b} {
		if s := m.Seen("mta", "u0", netip.MustParseAddr("192.0.2.7"), "", later+60); !s.New {
			t.Errorf("%+v", s)
		}
	}
}

func FuzzMerge(f *testing.F) {
	a := New(10)
	a.Share()
	now := office(a, 2, 3)
	for _, k := range []string{"mta u0", "mta u1"} {
		v, _ := a.Tell(k)
		f.Add(k, v)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		m := New(10)
		m.Share()
		if m.Merge(key, value, now) != nil {
			return
		}
		if m.waiting() {
			t.Error("what another node told is told on")
		}
		for at, u := range m.users.All() {
			if u.last() > uint32(now) {
				t.Errorf("%+v", u)
			}
			again := New(10)
			if err := again.Merge(at.Client+" "+u.name, u.append(nil), now); err != nil {
				t.Error(err)
			}
		}
	})
}
