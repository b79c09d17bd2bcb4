package detector

import (
	"testing"
	"time"
)

// TestFirstUserInheritsWhatAnEarlierReleaseKept of a sender, and nobody after him.
func TestFirstUserInheritsWhatAnEarlierReleaseKept(t *testing.T) {
	d := New(usual(), Seed{1, 2})
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	send := func(user string, days int) {
		for i := range 5 * days {
			at = at.Add(24 * time.Hour / 5)
			d.Count(&Event{At: at.Unix(), Client: "shop", User: user, Sender: "a@x.example", Recipients: []Recipient{{Hash: uint64(i % 5), Took: true}}}, nil)
		}
	}
	send("", 70)
	d.meters.find(ofSender, "a@x.example").put(isOld, true)
	for i, user := range []string{"anna", "bert"} {
		send(user, 1)
		if n := d.Messages(Submitter(user, "a@x.example")); n > 300 != (i == 0) {
			t.Errorf("%s inherits: %d messages", user, n)
		}
	}
}
