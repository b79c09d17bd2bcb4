package detector

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestUsersOfASender is what a look at all meters gives, whatever was forgotten, written
// and read: a decoy asks for it with each message.
func TestUsersOfASender(t *testing.T) {
	s := usual()
	s.MaxSenders = 1000
	d := New(s, Seed{1, 2})
	check := func(when string) {
		t.Helper()
		users := map[string]int{}
		for who := range d.All() {
			if who.Scope == UserSender {
				_, sender := SplitNames(who.Name)
				users[sender]++
			}
		}
		if len(users) == 0 || len(users) != len(d.meters.users) {
			t.Errorf("%s: %d senders of users, counted are %d", when, len(users), len(d.meters.users))
		}
		for sender, n := range users {
			if got := d.Users(sender); got != n {
				t.Errorf("%s: %s has %d users, counted are %d", when, sender, n, got)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	at := int64(1_700_000_000)
	for i := range 20_000 {
		at += 60
		user := ""
		if i%5 > 0 {
			user = fmt.Sprintf("u%d", rng.IntN(80))
		}
		d.Count(&Event{At: at, Client: "mta", User: user, Sender: fmt.Sprintf("s%d@x.example", rng.IntN(400)), Recipients: []Recipient{{Hash: uint64(i), Took: true}}}, nil)
	}
	check("after many were forgotten")
	b := d.Snapshot(time.Unix(at, 0)).Encode()
	d.Reseed(Seed{3, 4})
	check("with another seed")
	d = New(s, Seed{5, 6})
	if _, err := d.Restore(b, asIs); err != nil {
		t.Fatal(err)
	}
	check("read back")
	d.Reset(Seed{7, 8})
	if len(d.meters.users) != 0 {
		t.Errorf("after a reset %d", len(d.meters.users))
	}
}
