package detector

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// calendar gives the days of runs in the three years from start on.
type calendar func(start time.Time) []time.Time

const calendarYears = 2

func everyDays(n ...int) calendar {
	return func(start time.Time) (all []time.Time) {
		end := start.AddDate(calendarYears, 0, 0)
		for i, at := 0, start.AddDate(0, 0, 20); at.Before(end); i++ {
			all = append(all, at)
			at = at.AddDate(0, 0, n[i%len(n)])
		}
		return all
	}
}

// monthly calls day with each first of a month; every names how many months lie
// between.
func monthly(every int, day func(first time.Time) time.Time) calendar {
	return func(start time.Time) (all []time.Time) {
		first := time.Date(start.Year(), start.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		for i := 0; i < 12*calendarYears; i += every {
			all = append(all, day(first.AddDate(0, i, 0)))
		}
		return all
	}
}

func working(at time.Time, step int) time.Time {
	for at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
		at = at.AddDate(0, 0, step)
	}
	return at
}

func nth(weekday time.Weekday, n int) func(time.Time) time.Time {
	return func(first time.Time) time.Time {
		return first.AddDate(0, 0, (int(weekday-first.Weekday())+7)%7+7*(n-1))
	}
}

var calendars = map[string]calendar{
	"twice a week":                   everyDays(3, 4),
	"weekly":                         everyDays(7),
	"weekly, drifting":               everyDays(7, 6, 8, 7, 5, 9),
	"weekly, one left out":           everyDays(7, 7, 7, 14, 7),
	"fortnightly":                    everyDays(14),
	"every 30 days":                  everyDays(30),
	"quarterly, 90 days":             everyDays(90),
	"half-yearly":                    everyDays(182),
	"on the 15th":                    monthly(1, func(f time.Time) time.Time { return f.AddDate(0, 0, 14) }),
	"on the 31st, else the last day": monthly(1, func(f time.Time) time.Time { return f.AddDate(0, 1, -1) }),
	"on the 31st only": func(start time.Time) (all []time.Time) {
		for at := start; at.Before(start.AddDate(calendarYears, 0, 0)); at = at.AddDate(0, 0, 1) {
			if at.Day() == 31 {
				all = append(all, at)
			}
		}
		return all
	},
	"first working day":        monthly(1, func(f time.Time) time.Time { return working(f, 1) }),
	"last working day":         monthly(1, func(f time.Time) time.Time { return working(f.AddDate(0, 1, -1), -1) }),
	"first Monday":             monthly(1, nth(time.Monday, 1)),
	"third Thursday":           monthly(1, nth(time.Thursday, 3)),
	"quarterly by date":        monthly(3, func(f time.Time) time.Time { return working(f.AddDate(0, 0, 9), 1) }),
	"first Monday of quarters": monthly(3, nth(time.Monday, 1)),
}

// ledger plays a sender with its daily mail and its runs to a replay.
type ledger struct {
	*Detector
	t      *testing.T
	each   int // of a message
	span   time.Duration
	daily  int
	begin  time.Duration   // of a run, on its day
	dead   int             // one recipient of so many is refused; 0: none
	shown  map[int]float64 // highest score of the sender by run, -1: beside the runs
	sent   int
	client float64 // highest score of its client from the third run on
}

func newLedger(t *testing.T) *ledger {
	return &ledger{Detector: New(usual(), Seed{3, 4}), t: t, each: 1, span: 20 * time.Minute, begin: 10 * time.Hour, daily: 1, shown: map[int]float64{}}
}

// Message counts a message and gives the scores of its sender and client.
func (l *ledger) Message(at int64, from, client string, to []string, refused int) (sender, ofClient float64) {
	s := l.UserMessage(at, "", from, client, to, refused)
	return s.sender, s.client
}

// scores are those of one message.
type scores struct{ sender, user, client float64 }

// UserMessage is Message with a SASL user.
func (l *ledger) UserMessage(at int64, user, from, client string, to []string, refused int) (s scores) {
	ev := Event{At: at, Client: client, User: user, Sender: from}
	for i, name := range to {
		ev.Recipients = append(ev.Recipients, Recipient{Hash: l.Hash(name), Refused: i < refused, Took: refused < len(to)})
	}
	for _, f := range l.Count(&ev, nil) {
		switch f.Who().Scope {
		case Client:
			s.client = max(s.client, float64(f.Score))
		case User:
			s.user = max(s.user, float64(f.Score))
		default:
			s.sender = float64(f.Score)
		}
	}
	return s
}

func people(first, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("customer%d@dest.example", first+i))
	}
	return all
}

// play sends the daily mail and, on its days, the run that size gives for each.
func (l *ledger) play(start time.Time, days []time.Time, run func(i int) []string) {
	next := 0
	for d := start; next < len(days); d = d.AddDate(0, 0, 1) {
		for i := range l.daily {
			l.score(-1, d.Add(time.Duration(8*3600+i*600)*time.Second), people(10_000+i%3, 1))
		}
		for next < len(days) && days[next].Format(time.DateOnly) == d.Format(time.DateOnly) {
			to := run(next)
			step := l.span / time.Duration(max(1, len(to)/l.each))
			for at := d.Add(l.begin); len(to) > 0; at = at.Add(step) {
				n := min(l.each, len(to))
				l.score(next, at, to[:n])
				to = to[n:]
			}
			next++
		}
	}
}

func (l *ledger) score(run int, at time.Time, to []string) {
	refused := 0
	if run >= 0 && l.dead > 0 {
		if l.sent += len(to); l.sent >= l.dead {
			l.sent, refused = l.sent-l.dead, 1
		}
	}
	s, c := l.Message(at.Unix(), "billing@x.example", "shop", to, refused)
	l.shown[run] = max(l.shown[run], s)
	if run >= 2 {
		l.client = max(l.client, c)
	}
}

var regularStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// TestRegularMailIsLearnedWhateverItsPeriod: from the third equal run on nothing
// alarms, with other mail in between and without.
func TestRegularMailIsLearnedWhateverItsPeriod(t *testing.T) {
	for name, days := range calendars {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, daily := range []int{0, 1, 10} {
				for _, run := range []struct{ size, each int }{{60, 1}, {400, 1}, {4000, 50}} {
					l := newLedger(t)
					l.daily, l.each = daily, run.each
					to := people(0, run.size)
					l.play(regularStart, days(regularStart), func(int) []string { return to })
					if bad := l.alarms(2); len(bad) > 0 || l.client >= 1 {
						t.Errorf("%d a run, %d a message, %d a day: alarms in runs %v, score of the client %.2f", run.size, run.each, daily, bad, l.client)
					}
				}
			}
		})
	}
}

// alarms are the runs from first on that were an alarm.
func (l *ledger) alarms(first int) (bad []int) {
	for i := first; i < len(l.shown); i++ {
		if l.shown[i] >= 1 {
			bad = append(bad, i)
		}
	}
	return bad
}

// patient sends as many messages to known recipients each gap days as bring no
// alarm, and gives how many these were.
func patient(t *testing.T, gap, days int, daily bool) (out []int) {
	l := newLedger(t)
	at := regularStart
	for i := range 5000 { // all are known, from a colleague
		l.Message(at.Unix()+int64(i)*10, "colleague@x.example", "shop", people(i, 1), 0)
	}
	for d := range 90 {
		l.Message(at.AddDate(0, 0, d+2).Unix(), "billing@x.example", "shop", people(d, 1), 0)
	}
	at = at.AddDate(0, 0, 100)
	for d := range days {
		now := at.AddDate(0, 0, d).Unix()
		if d%gap != 0 {
			if daily {
				l.Message(now, "billing@x.example", "shop", people(d, 1), 0)
			}
			continue
		}
		n := 0
		for {
			if s, _ := l.Message(now+int64(n), "billing@x.example", "shop", people(n%5000, 1), 0); s >= 0.95 {
				break
			}
			if n++; n == 3000 {
				break
			}
		}
		out = append(out, n)
	}
	return out
}

// TestQuietAttackerRaisesItsRecordNoFaster: who stays just below the alarm may at no
// time send more than the most patient could without runs, who is at it each day.
func TestQuietAttackerRaisesItsRecordNoFaster(t *testing.T) {
	const days = 120
	type way struct {
		gap   int
		daily bool
	}
	play := func(regular bool) map[way][]int {
		var mu sync.Mutex
		out := map[way][]int{}
		setRegular(t, regular)
		t.Run(fmt.Sprintf("runs %v", regular), func(t *testing.T) { // and waits for all
			for _, gap := range []int{1, 2, 3, 4, 5, 7, 10, 14, 30} {
				for _, daily := range []bool{false, true} {
					t.Run(fmt.Sprint(gap, daily), func(t *testing.T) {
						t.Parallel()
						n := patient(t, gap, days, daily)
						mu.Lock()
						defer mu.Unlock()
						out[way{gap, daily}] = n
					})
				}
			}
		})
		return out
	}
	without, with := play(false), play(true)
	best := without[way{1, false}]
	for w, out := range with {
		for i, n := range out {
			if d := i * w.gap; n > max(best[d], without[w][i]) {
				t.Errorf("every %d days, mail on the others %v, day %d: %d went out, without runs %d at most", w.gap, w.daily, d, n, best[d])
				break
			}
		}
	}
}

// TestRegularMailMayVary: some new customers each time, and half as many again, are
// the same run; twice as many are not.
func TestRegularMailMayVary(t *testing.T) {
	days := everyDays(30)(regularStart)
	for name, row := range map[string]struct {
		run   func(i int) []string
		quiet bool
	}{
		"a twentieth is new each time": {func(i int) []string { return people(i*20, 400) }, true},
		"the new ones come first":      {func(i int) []string { return append(people(9000+i*15, 15), people(0, 385)...) }, true},
		"from 330 to 470":              {func(i int) []string { return people(0, 470-i*93%141) }, true},
		"grows by a tenth":             {func(i int) []string { return people(0, int(300*pow(1.1, i))) }, true},
		"doubles":                      {func(i int) []string { return people(0, 60<<min(i, 6)) }, false},
		"to others each time":          {func(i int) []string { return people(i*400, 400) }, false},
	} {
		l := newLedger(t)
		l.play(regularStart, days[:10], row.run)
		bad := l.alarms(2)
		if row.quiet && len(bad) > 0 {
			t.Errorf("%s: alarms in runs %v", name, bad)
		}
		if !row.quiet && len(bad) < 4 {
			t.Errorf("%s: alarms in runs %v only", name, bad)
		}
	}
}

func pow(x float64, n int) float64 {
	y := 1.0
	for range n {
		y *= x
	}
	return y
}

// TestRegularMailOverMidnightWithDeadAddresses: runs that begin before midnight, that
// take a day, and in which a hundredth of the mailboxes is gone.
func TestRegularMailOverMidnightWithDeadAddresses(t *testing.T) {
	for _, begin := range []time.Duration{10 * time.Hour, 23*time.Hour + 50*time.Minute} {
		for _, span := range []time.Duration{2 * time.Minute, 20 * time.Minute, 20 * time.Hour} {
			for _, dead := range []int{0, 100, 50} {
				l := newLedger(t)
				l.begin, l.span, l.dead = begin, span, dead
				l.play(regularStart, everyDays(30)(regularStart)[:8], func(int) []string { return people(0, 400) })
				if bad := l.alarms(2); len(bad) > 0 {
					t.Errorf("from %v on, over %v, one of %d gone: alarms in runs %v", begin, span, dead, bad)
				}
			}
		}
	}
}

// TestRegularMailOfSeveralSendersIsTheirUsersToo: three senders of one user have
// their run on the same day.
func TestRegularMailOfSeveralSendersIsTheirUsersToo(t *testing.T) {
	for _, user := range []string{"", "erp"} {
		l := newLedger(t)
		for run := range 8 {
			var most scores
			for d := range 30 {
				at := regularStart.AddDate(0, 0, 30*run+d).Unix()
				for i, from := range []string{"billing@x.example", "orders@x.example", "dunning@x.example"} {
					l.UserMessage(at+8*3600+int64(i), user, from, "shop", people(i, 1), 0)
					for j := range 800 {
						if d < 29 {
							break
						}
						s := l.UserMessage(at+10*3600+int64(2*j), user, from, "shop", people(1000*i+j, 1), 0)
						most = scores{max(most.sender, s.sender), max(most.user, s.user), max(most.client, s.client)}
					}
				}
			}
			if run >= 2 && max(most.sender, most.user, most.client) >= 1 {
				t.Errorf("user %q, run %d: %+v", user, run+1, most)
			}
		}
	}
}

// TestRegularMailHidesNoAttack: on an account with a run each month that is known,
// an attack on strangers is found as soon as without it, on the day when the run is
// due, too; and one on known recipients on any other day.
func TestRegularMailHidesNoAttack(t *testing.T) {
	days := everyDays(30)(regularStart)[:8]
	for name, row := range map[string]struct {
		after int // days after the last run
		known bool
	}{"strangers, due": {30, false}, "strangers": {9, false}, "known": {9, true}} {
		out := func() (n int) {
			l := newLedger(t)
			l.play(regularStart, days, func(int) []string { return people(0, 400) })
			at := days[len(days)-1]
			for d := 1; d < row.after; d++ {
				l.score(-1, at.AddDate(0, 0, d), people(10_000+d%3, 1))
			}
			for n = 1; n < 1000; n++ {
				to := people(20_000+n, 1)
				if row.known {
					to = people(n%400, 1)
				}
				if s, _ := l.Message(at.AddDate(0, 0, row.after).Add(time.Duration(n)*5*time.Second).Unix(), "billing@x.example", "shop", to, 0); s >= 1 {
					return n
				}
			}
			return n
		}
		with := out()
		setRegular(t, false)
		without := out()
		setRegular(t, true)
		if with > without {
			t.Errorf("%s: %d out before the alarm, without runs %d", name, with, without)
		}
	}
}

func setRegular(t *testing.T, on bool) {
	t.Helper()
	for _, s := range []*scale{&senderScale, &newScale, &aloneScale, &clientScale} {
		s.regular = on
	}
}
