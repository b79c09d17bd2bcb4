package networks

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/astable"
)

const day = 24 * 3600

// office lets users of a client send from one network for some days.
func office(m *Memory, users, days int) (now int64) {
	now = 1_800_000_000
	for range days {
		for u := range users {
			m.Seen("mta", fmt.Sprint("u", u), netip.MustParseAddr("192.0.2.7"), "desk.example", now)
		}
		now += day
	}
	return now
}

func TestANewNetworkIsASign(t *testing.T) {
	m := New(1000)
	now := office(m, 3, 10)
	at := func(user, addr string, later int64) Sign {
		return m.Seen("mta", user, netip.MustParseAddr(addr), "desk.example", now+later)
	}
	if s := at("u1", "192.0.2.200", 0); s.New || s.Evidence != 0 {
		t.Errorf("the same /24: %+v", s)
	}
	if s := at("u1", "203.0.113.7", 0); !s.New || s.Colleagues || s.Evidence != 1 || s.Within != 1 {
		t.Errorf("a new one: %+v", s)
	}
	if s := at("u1", "203.0.113.8", day-1); !s.New || s.Evidence != 1 {
		t.Errorf("for a day: %+v", s)
	}
	if s := at("u1", "203.0.113.9", day); s.New {
		t.Errorf("and no longer: %+v", s)
	}
	if s := at("u2", "203.0.113.7", 10); s.Colleagues || s.Evidence != 1 {
		t.Errorf("another stolen account of the same day excuses: %+v", s)
	}
	if s := at("u0", "203.0.113.7", 2*day); !s.New || !s.Colleagues || s.Evidence != ofColleagues || s.Within != 0 {
		t.Errorf("of colleagues: %+v", s)
	}
	if s := m.Seen("other", "u1", netip.MustParseAddr("203.0.113.7"), "", now); s.New {
		t.Errorf("of a user never seen before nothing is said: %+v", s)
	}
	if s := at("u1", "192.0.2.7", 400*day); !s.New {
		t.Errorf("what was not used for half a year is new: %+v", s)
	}
}

// TestANetworkBecomesFamiliar after two weeks, is no longer when it was not used for half
// a year, and makes nobody else's familiar.
func TestANetworkBecomesFamiliar(t *testing.T) {
	m := New(1000)
	now := office(m, 2, 13)
	at := func(user, addr string, later int64) bool {
		return m.Seen("mta", user, netip.MustParseAddr(addr), "desk.example", now+later).Familiar
	}
	for _, row := range []struct {
		user, addr string
		later      int64
		want       bool
	}{
		{"u1", "192.0.2.7", day - 1, false},
		{"u1", "192.0.2.7", day, true},
		{"u2", "192.0.2.7", day, false},
		{"u1", "203.0.113.7", day, false},
		{"u1", "203.0.113.7", 14 * day, false},
		{"u1", "203.0.113.7", 15 * day, true},
		{"u1", "192.0.2.7", 200 * day, false},
	} {
		if got := at(row.user, row.addr, row.later); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}

func TestThreeNewNetworksInADay(t *testing.T) {
	m := New(1000)
	now := office(m, 3, 10)
	for i, want := range []int{1, 2, 3} {
		s := m.Seen("mta", "u1", netip.AddrFrom4([4]byte{203, 0, byte(i), 1}), "", now+int64(i)*3600)
		if s.Within != want {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if s := m.Seen("mta", "u1", netip.MustParseAddr("192.0.2.7"), "", now+day); s.Within != 2 {
		t.Errorf("a day later: %+v", s)
	}
}

func TestANewNameIsAWeakSign(t *testing.T) {
	m := New(1000)
	now := office(m, 1, 10)
	home := netip.MustParseAddr("192.0.2.7")
	if s := m.Seen("mta", "u0", home, "bot.example", now); !s.NewName || s.New || s.Evidence != ofName {
		t.Errorf("%+v", s)
	}
	m.Seen("mta", "u0", home, "[192.168.1.5]", now)
	if s := m.Seen("mta", "u0", home, "[10.0.0.9]", now+1); s.NewName {
		t.Errorf("address literals are one name: %+v", s)
	}
}

func TestMemoryIsBoundedAndKept(t *testing.T) {
	m := New(500)
	now := office(m, 3, 10)
	for i := range 100_000 {
		m.Seen("mta", fmt.Sprint("invented", i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "x", now+int64(i)/100)
	}
	if m.users.Len() > 500 || m.places.Len() > 2000 {
		t.Errorf("%d users, %d places", m.users.Len(), m.places.Len())
	}
	m = New(500)
	now = office(m, 3, 10)
	b, err := m.Copy(func() {}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	again := New(500)
	if err := again.Decode(b); err != nil {
		t.Fatal(err)
	}
	if s := again.Seen("mta", "u1", netip.MustParseAddr("192.0.2.9"), "desk.example", now); s.New || s.NewName {
		t.Errorf("forgotten: %+v", s)
	}
	if s := again.Seen("mta", "u1", netip.MustParseAddr("203.0.113.9"), "", now); !s.New {
		t.Errorf("young again: %+v", s)
	}
	if New(5).Decode(b[:len(b)/2]) == nil {
		t.Error("half a file was taken")
	}
}

// TestCopyPauses, and is whole whatever is sent in between.
func TestCopyPauses(t *testing.T) {
	m := New(5000)
	for i := range 5000 {
		m.Seen("mta", fmt.Sprint("u", i), netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), "x", 1_800_000_000)
	}
	pauses := 0
	c := m.Copy(func() {
		pauses++
		m.Seen("mta", fmt.Sprint("u", pauses), netip.AddrFrom4([4]byte{11, byte(pauses), 0, 1}), "y", 1_800_000_100)
	})
	if pauses != 10 || len(c.Users) != 5000 || len(c.Shared) < 5000 {
		t.Errorf("%d pauses, %d users, %d places", pauses, len(c.Users), len(c.Shared))
	}
	before := *c.Users["mta u4999"]
	m.Seen("mta", "u4999", netip.MustParseAddr("192.0.2.1"), "z", 1_800_000_200)
	if *c.Users["mta u4999"] != before {
		t.Error("a user is shared with the copy")
	}
}

func TestAddressesThatSayNothing(t *testing.T) {
	m := New(10)
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("0.0.0.0")} {
		if s := m.Seen("mta", "u", a, "x", 1_800_000_000); s != (Sign{}) {
			t.Errorf("%v: %+v", a, s)
		}
	}
	if networkOf(netip.MustParseAddr("::ffff:192.0.2.7")).String() != "192.0.2.0/24" || networkOf(netip.MustParseAddr("2001:db8:1:2::3")).String() != "2001:db8:1::/48" {
		t.Error("other networks")
	}
	m.Seen("mta", "u", netip.MustParseAddr("192.0.2.1"), "x", -5) // a clock that is not set
}

func TestMeasureCountsDays(t *testing.T) {
	m := NewMeasure(nil)
	at := time.Unix(1_800_000_000, 0)
	send := func(user, ip string) {
		if err := m.Add(&mail.Event{Time: at, Client: "mta", User: user, ClientIP: ip, Helo: "h"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		for range 3 {
			send("anna", "192.0.2.1")
			send("bob", "192.0.2.2")
			send("", "192.0.2.3")
		}
		at = at.Add(24 * time.Hour)
	}
	for i := range 8 {
		send("anna", fmt.Sprintf("203.0.%d.1", i))
	}
	var b strings.Builder
	m.End()
	m.Write(&b)
	if m.Busy != 1 || m.BusyAlone != 1 || m.evidence() != 0.75 {
		t.Errorf("busy days: %+v", m)
	}
	if m.Users != 2 || m.Days != 15 || m.New != 1 || m.Alone != 1 || m.Three != 1 || m.Names != 0 || m.Without != 30 {
		t.Errorf("%+v\n%s", m, &b)
	}
	for _, line := range []string{"  6.67 % of these days with a network that is new", "100.00 % of the 1 days on which", "evidence = 0.75 fits", "alarm = 3 would alert 24.3 times in a year"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no line %q in\n%s", line, &b)
		}
	}
}

// TestInventedSubmittersForgetNobodyElse: behind one MTA a tenant invents a hundred
// thousand submitters, each from a network of its own, while everybody else is asleep.
func TestInventedSubmittersForgetNobodyElse(t *testing.T) {
	m := New(400)
	now := office(m, 50, 10)
	for u := range 50 {
		for d := range int64(5) {
			m.Seen("shop", fmt.Sprint("s", u), netip.MustParseAddr("198.51.100.7"), "till.example", now-(5-d)*day)
		}
	}
	for i := range 100_000 {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		m.Seen("mta", fmt.Sprint("invented", i), from, fmt.Sprint("h", i), now+int64(i)/10)
	}
	now += 10_000
	for u := range 50 {
		if s := m.Seen("shop", fmt.Sprint("s", u), netip.MustParseAddr("203.0.113.9"), "", now); !s.New || s.Evidence == 0 {
			t.Fatalf("user %d of another client is young again: %+v", u, s)
		}
		if s := m.Seen("mta", fmt.Sprint("u", u), netip.AddrFrom4([4]byte{203, 0, byte(u), 9}), "", now); !s.New {
			t.Errorf("mailbox %d of the same MTA is young again: %+v", u, s)
		}
		if s := m.Seen("mta", fmt.Sprint("u", u), netip.MustParseAddr("192.0.2.9"), "", now); s.New {
			t.Errorf("mailbox %d of the same MTA is not known in its office: %+v", u, s)
		}
	}
}

// TestNetworksOfOneASAreOne where a table says so; what was known before it is known
// with it, and without it again.
func TestNetworksOfOneASAreOne(t *testing.T) {
	table, err := astable.Read(strings.NewReader("100.64.0.0/16 64500\n100.65.0.0/16 64500\n2001:db8::/32 64500\n203.0.113.0/24 64666\n192.0.2.0/24 64501\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := New(1000)
	now := office(m, 3, 10)
	at := func(user, addr string, later int64) Sign {
		return m.Seen("mta", user, netip.MustParseAddr(addr), "desk.example", now+later)
	}
	at("u2", "203.0.113.7", -day) // before there was a table
	m.UseTable(table)
	if s := at("u1", "192.0.2.9", 0); s.New || s.AS != 64501 {
		t.Errorf("what was known before the table: %+v", s)
	}
	if s := at("u1", "203.0.113.9", 0); !s.New || !s.Colleagues || s.Evidence != ofColleagues {
		t.Errorf("a colleague's from before the table: %+v", s)
	}
	if s := at("u0", "100.64.1.1", 10); !s.New || s.AS != 64500 || s.Within != 1 {
		t.Errorf("a new AS: %+v", s)
	}
	for i, addr := range []string{"100.64.77.1", "100.65.3.1", "2001:db8:7::1"} {
		if s := at("u0", addr, 20); s.Within != 1 {
			t.Errorf("network %d of the same AS is another one: %+v", i, s)
		}
		if s := at("u0", addr, 2*day); s.New {
			t.Errorf("network %d of a known AS is new: %+v", i, s)
		}
	}
	if s := at("u0", "198.51.100.1", 2*day); !s.New || s.AS != 0 || s.Evidence != 1 {
		t.Errorf("in no AS: %+v", s)
	}
	other := New(1000)
	m.Share()
	tell(t, m, other, now+2*day)
	if s := other.Seen("mta", "u0", netip.MustParseAddr("2001:db8:7::9"), "", now+2*day); s.New {
		t.Errorf("on a node without the table, where this was last: %+v", s)
	}
	m.UseTable(nil)
	if s := at("u1", "192.0.2.9", 2*day); s.New || s.AS != 0 {
		t.Errorf("the table is gone: %+v", s)
	}
}

func FuzzDecode(f *testing.F) {
	m := New(10)
	office(m, 2, 2)
	b, _ := m.Copy(func() {}).Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := New(10)
		if m.Decode(b) == nil {
			m.Seen("mta", "u1", netip.MustParseAddr("192.0.2.1"), "x", 1_800_000_000)
		}
	})
}

func BenchmarkSeen(b *testing.B) {
	m := New(100_000)
	now := office(m, 1000, 2)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprint("u", i)
	}
	home := netip.MustParseAddr("192.0.2.7")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Seen("mta", names[i%1000], home, "desk.example", now)
	}
}

// BenchmarkInvented is a submitter and a network that were never seen, in a memory that
// is full.
func BenchmarkInvented(b *testing.B) {
	m := New(50_000)
	now := office(m, 1000, 2)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		m.Seen("mta", fmt.Sprint("invented", i), from, "h", now+int64(i))
	}
}
