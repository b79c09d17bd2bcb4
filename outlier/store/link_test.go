package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/outlier/detector"
)

// Notes that come while others are being sent, with the queue full, push out
// some of those; only what was never sent is lost.
func TestFullQueueLosesOnlyWhatWasNotSent(t *testing.T) {
	for _, c := range []struct {
		name                 string
		sending, come        int
		left, lost, firstAge int // of what is left, the first came as number firstAge
	}{
		{"none came", 100, 0, maxQueued - 100, 0, 100},
		{"fewer came than were sent", 100, 3, maxQueued - 97, 0, 100},
		{"more came than were sent", 100, 130, maxQueued, 30, 130},
	} {
		var s Link
		at := int64(0)
		add := func(n int) {
			for range n {
				s.Note(&detector.Event{At: at}, 0)
				at++
			}
		}
		add(maxQueued)
		out := s.out
		add(c.come)
		s.sent(c.sending, int(s.out-out))
		first := (&detector.Event{At: int64(c.firstAge)}).Append(nil)
		if len(s.queue) != c.left || s.lost != c.lost || string(s.queue[0]) != string(first) {
			t.Errorf("%s: %d notes left and %d lost, want %d and %d; first %x, want %x",
				c.name, len(s.queue), s.lost, c.left, c.lost, s.queue[0], first)
		}
		if s.out != uint64(c.firstAge) {
			t.Errorf("%s: the first is number %d", c.name, s.out+1)
		}
	}
}

// TestNotesShareEntries: notes that go out together take few entries, are all
// read by the other node, and one that is too long for an entry has its own.
func TestNotesShareEntries(t *testing.T) {
	long := strings.Repeat("n", maxEntry)
	var queue [][]byte
	for i, sender := range []string{"a", "b", long, "c"} {
		n := detector.Event{At: int64(i), Client: "shop", Sender: sender, Recipients: []detector.Recipient{{Hash: 1, Took: true}}}
		queue = append(queue, n.Append(nil))
	}
	var read []string
	var sizes []int
	for first, entry := range joined(queue) {
		had := len(read)
		if first != had {
			t.Errorf("the entry after %d notes says that it begins with number %d", had, first)
		}
		var n detector.Event
		for len(entry) > 0 {
			var err error
			if entry, err = n.Read(entry); err != nil {
				t.Fatal(err)
			}
			read = append(read, n.Sender)
		}
		sizes = append(sizes, len(read)-had)
	}
	if !slices.Equal(read, []string{"a", "b", long, "c"}) || !slices.Equal(sizes, []int{2, 1, 1}) {
		t.Errorf("read %d notes in entries of %v", len(read), sizes)
	}
}

// TestNotesOfAnAttackDoNotWait: notes gather for an hour here, but those of a
// sender that becomes unusual go out at once, before any alarm, and take the
// others along.
func TestNotesOfAnAttackDoNotWait(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client()
	src, _ := source()
	l := NewLink(src, &Shared{Client: rdb, Prefix: "test"})
	l.gather = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		l.Run(ctx)
		close(done)
	}()
	defer func() {
		cancel()
		<-done
	}()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited for %s", what)
			}
		}
	}
	wait("the node to join", l.Joined)
	ev := detector.Event{At: start.Unix(), Client: "shop", Sender: "a@x.example"}
	l.Note(&ev, 0)
	wait("the first event to go out", func() bool { return !l.Waiting() })
	for range 12 {
		l.Note(&ev, urgentScore-0.01)
	}
	time.Sleep(20 * time.Millisecond)
	if !l.Waiting() {
		t.Error("ordinary events do not gather")
	}
	l.Note(&ev, urgentScore)
	wait("all events to go out", func() bool { return !l.Waiting() })
}

// TestInventedUsersTakeNoMoreInRedisThanHere: whom there is no room for any more is
// taken away, and who was never seen for three days stays a week at most.
func TestInventedUsersTakeNoMoreInRedisThanHere(t *testing.T) {
	s := redistest.Start(t)
	src, _ := source()
	src.Places.Share() // of at most 100
	link := NewLink(src, &Shared{Client: s.Client(), Prefix: "test"})
	for i := range 3000 {
		src.Places.Seen("mta", fmt.Sprint("submitter:mta/", i), netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), "", start.Unix()+int64(i))
		if i%50 == 0 {
			if err := link.sendPlaces(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys, err := s.Client().Keys(t.Context(), "test:outlier:w:*").Result()
	if err != nil || len(keys) > 100 || len(keys) < 50 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if ttl := s.Client().TTL(t.Context(), keys[0]).Val(); ttl > keepYoung || ttl < keepYoung-time.Hour {
		t.Errorf("%s, invented, stays %v", keys[0], ttl)
	}
}

// TestDamagedPlacesAreLeftOut, from the stream and where they are stored.
func TestDamagedPlacesAreLeftOut(t *testing.T) {
	s := redistest.Start(t)
	src, _ := source()
	src.Places.Share()
	link := NewLink(src, &Shared{Client: s.Client(), Prefix: "test"})
	src.Places.Seen("mta", "anna", netip.MustParseAddr("192.0.2.7"), "", start.Unix())
	good, _ := src.Places.Tell("mta anna")
	entry := appendPlace(appendPlace(nil, "mta bob", []byte("damage")), "mta carl", good)
	for n := range entry {
		link.takePlaces(entry[:n])
		link.takePlaces(entry[n:])
	}
	link.takePlaces(entry)
	if v, _ := src.Places.Tell("mta carl"); v == nil {
		t.Error("what follows damage is lost")
	}
	if v, _ := src.Places.Tell("mta bob"); v != nil {
		t.Error("damage was taken")
	}
	s.Client().Set(t.Context(), "test:outlier:w:mta anna", "damage", 0)
	if err := link.sendPlaces(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := s.Client().Get(t.Context(), "test:outlier:w:mta anna").Val(); v != string(good) {
		t.Errorf("what is damaged stays: %q", v)
	}
}
