package tally

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
)

var start = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC) // a Monday

// counting is a tally with a clock.
func counting(at time.Time) (*Tally, *time.Time) {
	now := at
	return New(func() time.Time { return now }), &now
}

func event(stream string, outcomes ...string) *mail.Event {
	e := &mail.Event{Client: "postfix", Stream: stream, Upstream: "provider", Outcome: mail.Relayed, ID: "1"}
	for _, o := range outcomes {
		code := map[string]int{mail.Relayed: 250, mail.Deferred: 450, mail.Rejected: 550}[o]
		e.To = append(e.To, mail.RecipientEvent{Outcome: o, Code: code, Status: fmt.Sprintf("%d.1.1", code/100), Rule: "upstream", Reply: "x"})
	}
	return e
}

func TestHoursAndMinutesAreCounted(t *testing.T) {
	c, now := counting(start.Add(10*time.Hour + 50*time.Minute))
	c.Observe(event("main", mail.Relayed, mail.Relayed, mail.Rejected))
	*now = now.Add(40 * time.Minute)
	c.Observe(event("main", mail.Deferred, mail.Aborted))
	refused := event("main")
	refused.Outcome = mail.Rejected // before its first recipient
	c.Observe(refused)
	stranger := event("main", mail.Rejected)
	stranger.Client = ""
	c.Observe(stranger)
	r := c.Report()
	hours := r.Streams[0].Hours
	if len(r.Streams) != 1 || hours[Kept-2] != (Count{2, 0, 1}) || hours[Kept-1] != (Count{0, 1, 1}) || r.Streams[0].Last != (Count{2, 1, 2}) {
		t.Errorf("%+v %+v %+v", hours[Kept-2:], r.Streams[0].Last, r.Begin)
	}
	*now = now.Add(50 * time.Minute)
	if r = c.Report(); r.Streams[0].Last != (Count{0, 1, 1}) || r.Streams[0].Hours[Kept-3] != (Count{2, 0, 1}) {
		t.Errorf("%+v", r.Streams[0].Last)
	}
	*now = now.Add(Kept * time.Hour)
	if r = c.Report(); r.Sum().Hours[0] != (Count{}) || r.Sum().Last != (Count{}) {
		t.Error("what is older than five weeks is told")
	}
	c.Observe(event("main", mail.Relayed))
	if r = c.Report(); r.Streams[0].Hours[Kept-1] != (Count{1, 0, 0}) {
		t.Errorf("a place of the ring is not used anew: %+v", r.Streams[0].Hours[Kept-1])
	}
}

func TestNamesAreBounded(t *testing.T) {
	c, _ := counting(start)
	for i := range 1000 {
		e := event(fmt.Sprint("s", i), mail.Rejected)
		e.Upstream = fmt.Sprint("u", i)
		for k := range 100 {
			e.To = append(e.To, mail.RecipientEvent{Outcome: mail.Rejected, Code: 550, Status: fmt.Sprint("5.1.", k), Rule: "upstream"})
		}
		c.Observe(e)
	}
	if n := len(c.Report().Streams); n != maxNames {
		t.Errorf("%d streams", n)
	}
	ways := c.Ways()
	if n := len(ways["u0"].Replies); len(ways) != maxNames || n > maxKinds+1 {
		t.Errorf("%d upstreams, %d replies", len(ways), n)
	}
}

func TestUpstreamOfTheLastHour(t *testing.T) {
	c, now := counting(start)
	for i := range 100 {
		e := event("main", mail.Relayed)
		e.Took.UpstreamData = time.Duration(10+i/98*400) * time.Millisecond
		c.Observe(e)
	}
	c.Observe(event("main", mail.Rejected))
	w := c.Ways()["provider"]
	if len(w.Replies) != 2 || w.Replies[0] != (Reply{Kind{"2xx", "2.1.1"}, 100}) || w.Last.Code != 550 || w.Success.IsZero() {
		t.Errorf("%+v", w)
	}
	if w.P50 < 10*time.Millisecond || w.P50 > 12*time.Millisecond || w.P99 < 410*time.Millisecond || w.P99 > 493*time.Millisecond {
		t.Errorf("%v %v", w.P50, w.P99)
	}
	*now = now.Add(2 * time.Hour)
	if w = c.Ways()["provider"]; len(w.Replies) > 0 || w.P99 != 0 || !w.Last.Time.IsZero() {
		t.Errorf("after two hours: %+v", w)
	}
}

func TestWhatIsUsual(t *testing.T) {
	hours := make([]Count, Kept)
	for i := range hours {
		hours[i].Relayed = uint32(100 + i%24) // each day alike
		if i%week == 40 {
			hours[i].Relayed = 5000 // once a week
		}
	}
	all := Count.All
	if r, ok := Usual(hours, 0, 4*week+40, all); !ok || r.Low != 5000 || r.High != 5000 {
		t.Errorf("the hour of the newsletter: %+v %v", r, ok)
	}
	if r, ok := Usual(hours, 0, 4*week+41, all); !ok || r.Middle != 117 {
		t.Errorf("the hour behind it: %+v %v", r, ok)
	}
	if r, ok := Usual(hours, 0, 5*24+7, all); !ok || r.Middle != 107 {
		t.Errorf("of the first week other days count: %+v %v", r, ok)
	}
	if _, ok := Usual(hours, 0, 2*24, all); ok {
		t.Error("two days say what is usual")
	}
	if _, ok := Usual(hours, 5*week-10, 5*week-1, all); ok {
		t.Error("hours that are not known count as empty ones")
	}
	for _, c := range []struct {
		r    Range
		n    float64
		want int
	}{
		{Range{100, 110, 120}, 115, 0}, {Range{100, 110, 120}, 150, 0}, {Range{100, 110, 120}, 300, 1}, {Range{100, 110, 120}, 20, -1}, {Range{100, 110, 120}, 0, -1},
		{Range{0, 0, 0}, 5, 0}, {Range{0, 0, 0}, 100, 1}, {Range{2, 4, 8}, 0, 0}, {Range{0, 1, 3}, 14, 0},
	} {
		if got := c.r.Outside(c.n); got != c.want {
			t.Errorf("%v of %+v: %d, want %d", c.n, c.r, got, c.want)
		}
	}
}

func TestTallyOutlastsARestart(t *testing.T) {
	dir := t.TempDir()
	file := StateFile(filepath.Join(dir, "tally.json"))
	c, now := counting(start)
	c.Observe(event("main", mail.Relayed, mail.Rejected))
	*now = now.Add(26 * time.Hour)
	c.Observe(event("main", mail.Deferred))
	if err := c.Save(file); err != nil {
		t.Fatal(err)
	}
	// Some mail after the last save is in the journal only, some before it in both.
	journal := filepath.Join(dir, "journal.jsonl")
	f, err := os.Create(journal)
	if err != nil {
		t.Fatal(err)
	}
	for _, minutes := range []int{-26 * 60, 0, 10, 20} {
		e := event("main", mail.Relayed)
		e.Time, e.ID = now.Add(time.Duration(minutes)*time.Minute-time.Second), fmt.Sprint(minutes)
		e.Duration = time.Second
		json.NewEncoder(f).Encode(e)
	}
	f.Close()
	later := now.Add(30 * time.Minute)
	again, since, err := Open(file, func() time.Time { return later })
	if err != nil || !since.Equal(*now) {
		t.Fatalf("%v %v", since, err)
	}
	if err := again.Replay(t.Context(), []string{journal}, since, later); err != nil {
		t.Fatal(err)
	}
	r := again.Report()
	hours := r.Sum().Hours
	if r.Begin != HourOf(start)+1 || hours[Kept-27] != (Count{1, 0, 1}) || hours[Kept-1] != (Count{2, 1, 0}) || r.Sum().Last != (Count{3, 0, 0}) {
		t.Errorf("begin %d, %+v, %+v, last %+v", r.Begin-HourOf(start), hours[Kept-27], hours[Kept-1], r.Sum().Last)
	}
	if n := again.Ways()["provider"].Replies; len(n) != 1 || n[0].Count != 3 {
		t.Errorf("%+v", n)
	}
	// Without a file the journal says all.
	fresh, since, err := Open(StateFile(filepath.Join(dir, "none.json")), func() time.Time { return later })
	if err != nil || !since.IsZero() {
		t.Fatal(since, err)
	}
	if err := fresh.Replay(t.Context(), []string{journal}, since, later); err != nil {
		t.Fatal(err)
	}
	if r = fresh.Report(); r.Begin != HourOf(start)+1 || r.Sum().Hours[Kept-1] != (Count{3, 0, 0}) {
		t.Errorf("begin %d %+v", r.Begin-HourOf(start), r.Sum().Hours[Kept-1])
	}
	// A file that is damaged is set aside.
	for _, text := range []string{"", "{", `{"saved":"2999-01-01T00:00:00Z"}`, `{"streams":{"a":[[-5,1,1,1]]}}`} {
		os.WriteFile(file.Name(), []byte(text), 0o600)
		broken, _, err := Open(file, func() time.Time { return later })
		if err == nil && text[0] != '{' || broken == nil || len(broken.Report().Streams) > 1 {
			t.Errorf("%q: %v", text, err)
		}
	}
}
