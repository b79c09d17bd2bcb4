package detector

import (
	"fmt"
	"testing"

	"postern/mail"
)

// TestInventedSubmittersPushOutOneAnother: what is known of the users and senders of other
// clients stays, and the client that invents has at most half of the room.
func TestInventedSubmittersPushOutOneAnother(t *testing.T) {
	const start = 20_000 * daySeconds
	s := usual()
	s.MaxSenders = 1000
	d := New(s, Seed{1, 2})
	send := func(at int64, client, user, from string) {
		d.Count(&Event{At: at, Client: client, User: user, Sender: from, Recipients: []Recipient{{Hash: 1, Took: true}}}, nil)
	}
	for i := range 50 {
		for n := range 20 {
			send(start+int64(i)*60, "shop", "", fmt.Sprintf("s%d@shop.example", n))
		}
		send(start+int64(i)*60, "office", "anna", "anna@x.example")
	}
	for i := range 20_000 {
		send(start+3600+int64(i), "mta", mail.Party("", fmt.Sprintf("mta/box%d", i)), fmt.Sprintf("box%d@mta.example", i))
	}
	for n := range 20 {
		if who := (Who{Sender, fmt.Sprintf("s%d@shop.example", n)}); !d.Has(who) {
			t.Errorf("%v is forgotten", who)
		}
	}
	for _, who := range []Who{{User, "anna"}, {UserSender, JoinNames("anna", "anna@x.example")}, {Client, "shop"}, {Client, "office"}, {Client, "mta"}} {
		if !d.Has(who) {
			t.Errorf("%v is forgotten", who)
		}
	}
	if n := d.meters.held[d.clients["mta"].num]; n > s.MaxSenders/2+3 {
		t.Errorf("the client that invents holds %d of %d places", n, s.MaxSenders)
	}
	if last := (Who{Mailbox, "mta/box19999"}); !d.Has(last) {
		t.Errorf("%v, the latest, is forgotten", last)
	}
}
