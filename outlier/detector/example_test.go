package detector_test

import (
	"fmt"
	"time"

	"postern/outlier/detector"
)

// A mailbox that wrote to a few people a day for two months writes to 500 strangers.
func Example() {
	d := detector.New(detector.Settings{
		Sensitivity: 1, Growth: 0.05, HalfLife: 60 * 24 * time.Hour, MaxSenders: 1000, MaxKnown: 100_000,
	}, detector.Seed{1, 2})
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	write := func(to string, n int) (score float32) {
		ev := detector.Event{At: at.Unix(), Client: "office", Sender: "anna@example.org"}
		for i := range n {
			ev.Recipients = append(ev.Recipients, detector.Recipient{Hash: d.Hash(fmt.Sprint(to, i)), Took: true})
		}
		for _, f := range d.Count(&ev, nil) {
			if f.Who() == (detector.Who{Scope: detector.Sender, Name: "anna@example.org"}) {
				score = max(score, f.Score)
			}
		}
		return score
	}
	for range 60 {
		write("colleague", 5)
		at = at.Add(24 * time.Hour)
	}
	fmt.Println("on a usual day she is under alarm:", write("colleague", 5) >= 1)
	fmt.Println("after 500 strangers she is:", write("stranger", 500) >= 1)
	// Output:
	// on a usual day she is under alarm: false
	// after 500 strangers she is: true
}
