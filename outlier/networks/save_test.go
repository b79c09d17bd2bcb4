package networks

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"testing"
)

// TestFileOfEarlierReleaseIsRead: what was written while each user had room for all
// networks and names holds, and is written again as it was.
func TestFileOfEarlierReleaseIsRead(t *testing.T) {
	b, err := os.ReadFile("testdata/before-compact.gob")
	if err != nil {
		t.Fatal(err)
	}
	m := New(100)
	if err := m.Decode(b); err != nil {
		t.Fatal(err)
	}
	var was Copy
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&was); err != nil {
		t.Fatal(err)
	}
	if len(was.Users) != 3 || len(was.Shared) != 11 {
		t.Fatalf("%d users, %d places", len(was.Users), len(was.Shared))
	}
	if is := m.Copy(func() {}); !reflect.DeepEqual(is, &was) {
		t.Errorf("%+v\nwas %+v", is, was)
	}
	now := int64(1_800_000_000 + 10*day)
	if s := m.Seen("mta", "u1", netip.MustParseAddr("192.0.2.9"), "desk.example", now); s.New || s.NewName {
		t.Errorf("forgotten: %+v", s)
	}
	if s := m.Seen("mta", "u1", netip.MustParseAddr("198.51.5.9"), "bot", now); !s.New || !s.Colleagues || !s.NewName {
		t.Errorf("a colleague's: %+v", s)
	}
	if s := m.Seen("mta", "u2", netip.MustParseAddr("198.51.9.9"), "h9", now+day); s.New || s.NewName {
		t.Errorf("forgotten of many: %+v", s)
	}
}

// TestUserOfOneNetworkTakesLittle: that of nearly all users, and of a hundred thousand
// submitters whom a client invents.
func TestUserOfOneNetworkTakesLittle(t *testing.T) {
	const users = 20_000
	names := make([]string, users)
	for i := range names {
		names[i] = fmt.Sprint("submitter:mta/u", i)
	}
	heap := func() int {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	before := heap()
	m := New(users)
	for i, name := range names {
		m.Seen("mta", name, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), "", 1_800_000_000)
	}
	if each := (heap() - before) / users; each > 170 {
		t.Errorf("%d octets a user", each)
	}
	runtime.KeepAlive(m)
}

// TestPlaceIsNotedEachDay, and once only, while its network is not new for the user.
func TestPlaceIsNotedEachDay(t *testing.T) {
	m := New(1000)
	now := office(m, 1, 10)
	m.Seen("mta", "u0", netip.MustParseAddr("192.0.2.7"), "", now)
	p, known := m.places.Get("mta", hash("192.0.2.0/24"))
	if !known || int64(p.Last) != now {
		t.Fatalf("%+v", p)
	}
	m.Seen("mta", "u0", netip.MustParseAddr("192.0.2.7"), "", now-now%day+day-1)
	if int64(p.Last) != now {
		t.Errorf("noted again on the same day: %+v", p)
	}
	later := now - now%day + day
	if m.Seen("mta", "u0", netip.MustParseAddr("192.0.2.7"), "", later); int64(p.Last) != later {
		t.Errorf("not noted on the next day: %+v", p)
	}
}
