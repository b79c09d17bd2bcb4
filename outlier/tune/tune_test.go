package tune

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier"
	"postern/outlier/detector"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func defaults() outlier.Config {
	var c outlier.Config
	c.SetDefaults()
	c.MaxSenders, c.MaxKnown = 5000, 100_000
	c.FalseAlarms = 20
	return c
}

// office is the mail of so many users in so many days: some messages a day to colleagues
// and to a few strangers, now and then to many strangers within an hour.
func office(users, days int) (events []*mail.Event) {
	rng := rand.New(rand.NewPCG(7, 8))
	stranger := 0
	for d := range days {
		for u := range users {
			n := 2 + rng.IntN(4)
			if rng.IntN(45) == 0 {
				n = 6 + rng.IntN(25)
			}
			for i := range n {
				to := fmt.Sprintf("c%d@x.example", rng.IntN(40))
				if i%3 == 2 {
					stranger++
					to = fmt.Sprintf("s%d@y.example", stranger)
				}
				at := start.Add(time.Duration(d)*24*time.Hour + 9*time.Hour + time.Duration(u*7+i*100)*time.Second)
				events = append(events, message1(at, fmt.Sprintf("u%d", u), to))
			}
		}
	}
	return events
}

func message1(at time.Time, user, to string) *mail.Event {
	return &mail.Event{Time: at, Client: "mta", ClientIP: "192.0.2.1", User: user, From: user + "@x.example", Outcome: mail.Relayed,
		To: []mail.RecipientEvent{{Address: to, Outcome: mail.Relayed, Rule: "upstream"}}}
}

func traceOf(t *testing.T, cfg outlier.Config, events []*mail.Event) *Trace {
	t.Helper()
	tr, err := NewTrace(cfg, detector.Seed{1, 2}, start.AddDate(2, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		if err := tr.Add(ev); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func tableOf(t *testing.T, events []*mail.Event, confirmed ...string) *Table {
	t.Helper()
	return tableWith(t, nil, events, confirmed...)
}

func tableWith(t *testing.T, shapes []shape, events []*mail.Event, confirmed ...string) *Table {
	t.Helper()
	table, err := measure(traceOf(t, defaults(), events), confirmed, func() error { return nil }, shapes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestMoreSensitiveCostsAlarmsAndBuysMessages(t *testing.T) {
	table := tableWith(t, shapes, office(12, 45))
	if !table.Enough() || table.Accounts < 11.5 || table.Accounts > 12.5 {
		t.Fatalf("enough %v, accounts %.1f, days %.1f", table.Enough(), table.Accounts, table.Days)
	}
	first, last := &table.Rows[0], &table.Rows[len(table.Rows)-1]
	if !(first.Year < last.Year) || !(first.Out[0].Median > last.Out[0].Median) {
		t.Errorf("from %+v to %+v", *first, *last)
	}
	for i := range table.Rows {
		r := &table.Rows[i]
		if !(r.Low <= r.Year && r.Year <= r.High) || i > 0 && r.Year < table.Rows[i-1].Year {
			t.Errorf("%+v", *r)
		}
		if r.Out[1].Median > r.Out[0].Median {
			t.Errorf("at %v from another network %v out, from its own %v", r.Sensitivity, r.Out[1], r.Out[0])
		}
	}
	few, many := table.Wanted(outlier.FalseAlarms(max(1, int(first.Year)))), table.Wanted(outlier.MaxFalseAlarms)
	if !(few < many) || many != Most {
		t.Errorf("wanted %v and %v", few, many)
	}
}

func TestSameTraceGivesTheSameTable(t *testing.T) {
	events := office(6, 40)
	one, two := tableWith(t, shapes, events), tableWith(t, shapes, events)
	if a, b := fmt.Sprint(*one), fmt.Sprint(*two); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestNoiseOfOneIsNoReason: who raises alarms on purpose, to make the watch deaf for
// everybody, moves hardly anything, by one account or by thousands of names.
func TestNoiseOfOneIsNoReason(t *testing.T) {
	quiet := office(15, 60)
	noisy := append([]*mail.Event(nil), quiet...)
	byNames := append([]*mail.Event(nil), quiet...)
	for d := range 60 {
		ev := message1(start.Add(time.Duration(d)*24*time.Hour+10*time.Hour), "", "friend@z.example")
		ev.Client, ev.From = "tenant", "known@x.example"
		byNames = append(byNames, ev)
	}
	for d := 20; d < 60; d += 2 {
		at := start.Add(time.Duration(d)*24*time.Hour + 15*time.Hour)
		for i := range 60 {
			noisy = append(noisy, message1(at.Add(time.Duration(i)*time.Second), "evil", fmt.Sprintf("n%d-%d@z.example", d, i)))
			ev := message1(at.Add(time.Duration(i)*time.Second), "", fmt.Sprintf("m%d-%d@z.example", d, i))
			ev.Client, ev.From = "tenant", fmt.Sprintf("x%d-%d@x.example", d, i/20)
			byNames = append(byNames, ev)
		}
	}
	of := func(events []*mail.Event) float64 { return tableOf(t, events).Wanted(40) }
	was := of(quiet)
	for name, events := range map[string][]*mail.Event{"one account": noisy, "many names of a tenant": byNames} {
		if is := of(events); is < 0.75*was {
			t.Errorf("%s: sensitivity %.2f, without the noise %.2f", name, is, was)
		}
	}
	table := tableOf(t, noisy)
	if len(table.LeftOut) == 0 || table.LeftOut[0].Name != "evil" || table.LeftOut[0].Alarms < 1 {
		t.Errorf("left out: %+v", table.LeftOut)
	}
	// Whom an operator has suspended by hand did not raise a false alarm.
	if a, b := tableOf(t, noisy, "evil").Rows[3].Alarms, table.Rows[3].Alarms; a >= b {
		t.Errorf("confirmed: %v alarms, else %v", a, b)
	}
}

func TestShortAndStrangeJournals(t *testing.T) {
	far := office(3, 2)
	far[0].Time = start.AddDate(50, 0, 0) // a clock that was wrong
	far[1].Time = time.Unix(-5, 0)
	two := []*mail.Event{message1(start, "a", "b@y.example"), message1(start.AddDate(0, 10, 0), "a", "c@y.example")}
	for name, events := range map[string][]*mail.Event{"none": nil, "two days": far, "two messages": two, "33 days": office(3, 33),
		"nobody's": {{Time: start, From: "<>"}}, "null reverse-path": {{Time: start, Client: "mta", From: "<>", To: []mail.RecipientEvent{{Address: "a@y.example", Outcome: mail.Relayed}}}}} {
		table := tableOf(t, events)
		if table.Enough() {
			t.Errorf("%s: enough", name)
		}
		if w := table.Wanted(20); !(w >= Least && w <= Most) {
			t.Errorf("%s: wanted %v", name, w)
		}
		table.Words(20)
	}
	if table := tableOf(t, office(3, 36)); !table.Enough() {
		t.Errorf("36 days are not enough: %v days, %d with mail", table.Days, table.WithMail)
	}
}

// TestOrderOfTheJournalsDoesNotMatter: those of several nodes overlap.
func TestOrderOfTheJournalsDoesNotMatter(t *testing.T) {
	events := office(4, 45)
	var odd, even []*mail.Event
	for i, ev := range events {
		if i%2 == 0 {
			even = append(even, ev)
		} else {
			odd = append(odd, ev)
		}
	}
	a, b := tableOf(t, events), tableOf(t, append(odd, even...))
	for i := range a.Rows {
		if a.Rows[i].Raised != b.Rows[i].Raised {
			t.Errorf("%v: %d alarms, in another order %d", a.Rows[i].Sensitivity, a.Rows[i].Raised, b.Rows[i].Raised)
		}
	}
}

func TestTraceIsBounded(t *testing.T) {
	tr := traceOf(t, defaults(), nil)
	tr.limit = bounds{messages: 5000, recipients: 8000, names: 300}
	for i := range 30_000 { // a million invented names, in small
		if err := tr.Add(message1(start.Add(time.Duration(i)*time.Second), fmt.Sprintf("u%d", i), "a@y.example")); err != nil {
			t.Fatal(err)
		}
	}
	if len(tr.messages) > 5000 || len(tr.names) > 300 || tr.Shift < 5 || len(tr.messages) == 0 {
		t.Errorf("%d messages, %d names, shift %d", len(tr.messages), len(tr.names), tr.Shift)
	}
}

func TestExpectedAlarms(t *testing.T) {
	for _, row := range []struct {
		alarms, years, usual, share float64
		low, high                   float64 // of the mean
	}{
		{0, 14 / 365.25, 20, 1, 14, 20}, // a short journal: as elsewhere
		{40, 2, 20, 1, 19.9, 20.1},      // as elsewhere
		{0, 5, 20, 1, 0.3, 0.5},         // five quiet years
		{100, 1, 20, 1, 92, 93},         // a loud one
		{10, 1, 20, 0.5, 19.9, 20.1},    // half of the accounts
		{0, 1, 0, 1, 0, 0.1},            // nobody to expect anything of
		{3, 14 / 365.25, 20, 1, 30, 40}, // three in two weeks
	} {
		year, low, high := expected(row.alarms, row.years, row.usual, row.share)
		if year < row.low || year > row.high || low > year || high < year {
			t.Errorf("%+v: %.2f (%.2f to %.2f)", row, year, low, high)
		}
	}
}

// TestWrongClockMakesNoLongJournal: a machine without a battery starts in 1970.
func TestWrongClockMakesNoLongJournal(t *testing.T) {
	events := office(5, 40)
	want := tableWith(t, nil, events)
	wrong := []*mail.Event{message1(time.Unix(60, 0), "u1", "a@x.example"), message1(time.Unix(3600, 0), "u1", "a@x.example"), message1(start.AddDate(-1, 0, 0), "u1", "a@x.example")}
	got := tableWith(t, nil, append(wrong, events...))
	if !got.From.Equal(want.From) || got.Days != want.Days || got.Messages != want.Messages || got.Enough() != want.Enough() || got.Rows[3].Year != want.Rows[3].Year {
		t.Errorf("%v to %v, %.0f days, %d messages, %.1f a year; without the wrong ones %v, %.0f days, %d, %.1f",
			got.From, got.To, got.Days, got.Messages, got.Rows[3].Year, want.From, want.Days, want.Messages, want.Rows[3].Year)
	}
}
