package tune_test

import (
	"fmt"
	"time"

	"postern/mail"
	"postern/outlier"
	"postern/outlier/tune"
)

// An office of ten sends for forty days, and one of them writes to forty strangers
// within an hour on the thirtieth. Who accepts more false alarms a year gets a higher
// sensitivity, and fewer messages leave before an alarm.
func Example() {
	var cfg outlier.Config
	cfg.SetDefaults()
	first := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	trace, err := tune.NewTrace(cfg, tune.RandomKey(), first.AddDate(1, 0, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	send := func(at time.Time, user, to string) {
		err := trace.Add(&mail.Event{Time: at, Client: "office", User: user, From: user + "@example.org", Outcome: mail.Relayed,
			To: []mail.RecipientEvent{{Address: to, Outcome: mail.Relayed, Code: 250, Rule: "upstream"}}})
		if err != nil {
			fmt.Println(err)
		}
	}
	for day := range 40 {
		at := first.AddDate(0, 0, day)
		for i := range 50 {
			send(at.Add(time.Duration(i)*time.Minute), fmt.Sprintf("user%d", i%10), fmt.Sprintf("colleague%d@example.com", i%7))
		}
	}
	at := first.AddDate(0, 0, 30)
	for i := range 40 {
		send(at.Add(time.Hour+time.Duration(i)*time.Minute), "user3", fmt.Sprintf("stranger%d@example.net", i))
	}
	table, err := tune.Measure(trace, nil, func() error { return nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the journal is long enough:", table.Enough())
	few, many := table.Wanted(2), table.Wanted(200)
	fmt.Println("200 a year are more sensitive than 2:", many > few)
	low, high := table.Rows[0], table.Rows[len(table.Rows)-1]
	fmt.Println("and let out fewer messages:", high.Out[0].Median < low.Out[0].Median)
	// Output:
	// the journal is long enough: true
	// 200 a year are more sensitive than 2: true
	// and let out fewer messages: true
}
