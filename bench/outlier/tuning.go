package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"postern/mail"
	"postern/outlier/detector"
	"postern/outlier/tune"
)

// tunings takes each recording as the journal of a relay, and prints what relay outliers
// tune would say of it: the last days of it where days is not 0.
func (b *bench) tunings(days int) error {
	for _, r := range b.recs {
		last := r.events[len(r.events)-1].at
		t, err := tune.NewTrace(b.cfg, detector.Seed{1, 2}, time.Unix(last+1, 0))
		if err != nil {
			return err
		}
		for i := range r.events {
			if e := &r.events[i]; days == 0 || e.at >= last-int64(days)*86400 {
				if err := t.Add(eventOf(e)); err != nil {
					return err
				}
			}
		}
		table, err := tune.Measure(t, nil, func() error { return nil })
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", r.name, table.Words(20))
		table.Write(os.Stdout)
	}
	return nil
}

// eventOf is a message as a relay's journal has it.
func eventOf(e *event) *mail.Event {
	ev := &mail.Event{Time: time.Unix(e.at, 0), Client: clientName(e.sender), From: senderName(e.sender) + "@x.example"}
	for i, n := range e.rcpts {
		to := mail.RecipientEvent{Address: "r" + strconv.Itoa(int(n)) + "@y.example", Outcome: mail.Relayed, Rule: "upstream"}
		if int32(i) < e.refused {
			to.Outcome, to.Code, to.Class, to.Status = mail.Rejected, 550, mail.ClassNoSuchUser, "5.1.1"
		}
		ev.To = append(ev.To, to)
	}
	return ev
}
