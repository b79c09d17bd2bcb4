package detector

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// past is a sender of a client with others, and what each of its days was like.
type past struct {
	d    *Detector
	at   int64
	next int
}

func newPast(s Settings) *past { return &past{d: New(s, Seed{1, 2}), at: 20_000 * daySeconds} }

// day lets a sender write to so many strangers within an hour, and a colleague to one.
func (p *past) day(strangers int) {
	p.count("other@x.example", "old")
	p.burst(strangers)
	p.count("a@x.example", "old")
	p.at = (p.at/daySeconds + 1) * daySeconds
}

// burst is the score after so many messages of one stranger each within an hour.
func (p *past) burst(strangers int) (f Finding) {
	for range strangers {
		p.next++
		p.at += int64(3000 / strangers)
		f = p.count("a@x.example", fmt.Sprint("new", p.next))
	}
	return f
}

func (p *past) count(from, to string) Finding {
	ev := Event{At: p.at, Client: "shop", Sender: from, Recipients: []Recipient{{Hash: p.d.Hash(to), Took: true}}}
	return p.d.Count(&ev, nil)[0]
}

// TestLastingRecordFindsABurst: what a sender never did within a year is an alarm with
// its tenth stranger, and what it did once is none.
func TestLastingRecordFindsABurst(t *testing.T) {
	for _, row := range []struct {
		name        string
		days, once  int // days of one stranger; strangers of one of them, long ago
		burst       int
		alarm, last bool // an alarm; by the lasting record
	}{
		{"ten strangers", 70, 1, 10, true, true},
		{"nine strangers", 70, 1, 9, false, true},
		{"as many as once, long ago", 70, 18, 18, false, false},
		{"two and a half times as many as once", 70, 6, 15, false, true},
		{"three times as many as once", 70, 6, 22, true, true},
		{"a sender of 50 days", 50, 1, 10, false, false},
	} {
		p := newPast(usual())
		for i := range row.days {
			if i == 5 {
				p.day(row.once)
				continue
			}
			p.day(i % 2)
		}
		f := p.burst(row.burst)
		if (f.Score >= 1) != row.alarm || (f.by == byLasting) != row.last {
			t.Errorf("%s: score %.2f by %d", row.name, f.Score, f.by)
		}
		if words := p.d.Reason(&f); row.last != strings.Contains(words, "at most in the past") {
			t.Errorf("%s: %s", row.name, words)
		}
	}
}

// TestLastingRecordKnowsWhatIsRegularOrExpected: a run that has come twice, and what an
// operator expects, is no evidence for it either.
func TestLastingRecordKnowsWhatIsExpected(t *testing.T) {
	p := newPast(usual())
	for range 70 {
		p.day(0)
	}
	expect := Expect(func(Who) Expected { return Expected{Hour: 50, Day: 50} })
	var f Finding
	for range 40 {
		p.next++
		p.at += 60
		ev := Event{At: p.at, Client: "shop", Sender: "a@x.example", Recipients: []Recipient{{Hash: p.d.Hash(fmt.Sprint("new", p.next)), Took: true}}}
		f = p.d.Count(&ev, expect)[0]
	}
	if f.Score >= 1 {
		t.Errorf("40 of 50 expected ones: score %.2f", f.Score)
	}
}

// TestLastingRecordSurvives restarts, other nodes, another seed, and an earlier release
// between, of which it has nothing: then the rule waits until it has been kept for long
// enough again.
func TestLastingRecordSurvives(t *testing.T) {
	p := newPast(usual())
	for i := range 70 {
		p.day(12 * (i % 2))
	}
	want := p.d.meters.find(ofSender, "a@x.example").lasting
	if want[hour] < 11 || want[day] < 11 {
		t.Fatalf("record %v", want)
	}
	same := func(how string, d *Detector) {
		t.Helper()
		e := d.meters.find(ofSender, "a@x.example")
		if e == nil || e.lasting[hour] < want[hour]-0.1 || d.lastingSince != 20_000 || !d.hasLasting(e, &senderScale) {
			t.Errorf("%s: %+v since %d", how, e, d.lastingSince)
		}
	}
	p.d.Reseed(Seed{5, 6})
	same("another seed", p.d)
	b := p.d.Snapshot(time.Unix(p.at, 0)).Encode()
	restored := New(usual(), Seed{})
	if _, err := restored.Restore(b, asIs); err != nil {
		t.Fatal(err)
	}
	same("restart", restored)
	e := p.d.meters.find(ofSender, "a@x.example")
	p.d.Touch(&Finding{e: e})
	m := p.d.Touched()[0]
	other := New(usual(), Seed{7, 8})
	if err := other.Merge(p.at, m.Key, m.Value, asIs); err != nil {
		t.Fatal(err)
	}
	same("another node", other)

	cut := New(usual(), Seed{7, 8}) // as an earlier release stores it: without the last six octets
	if err := cut.Merge(p.at, m.Key, m.Value[:len(m.Value)-6], asIs); err != nil {
		t.Fatal(err)
	}
	p.d = cut
	p.day(0)
	if f := p.burst(11); f.by == byLasting || f.Score >= 1 {
		t.Errorf("after an earlier release: score %.2f by %d", f.Score, f.by)
	}
}

// TestEarlyDayOfStrangers: whoever begins to use a relay writes to many for the first time
// in a day; that is no alarm, and as many within the hour are.
func TestEarlyDayOfStrangers(t *testing.T) {
	for _, row := range []struct {
		apart int64
		want  bool
	}{{1200, false}, {30, true}} {
		p := newPast(usual())
		var f Finding
		for i := range 70 {
			p.at += row.apart
			f = p.d.Count(&Event{At: p.at, Client: "shop", Sender: "a@x.example", Recipients: []Recipient{{Hash: p.d.Hash(fmt.Sprint("new", i)), Took: true}}}, nil)[0]
		}
		if throttles := f.Score >= 1.5; throttles != row.want {
			t.Errorf("70 strangers, one each %d s: score %.2f", row.apart, f.Score)
		}
	}
}

// TestEarlyVolumeIsNoMereAlarm: in the first weeks of a client, unless many are refused.
func TestEarlyVolumeIsNoMereAlarm(t *testing.T) {
	for _, row := range []struct {
		name         string
		days, burst  int
		refusedEvery int
		want         bool
	}{
		{"the first day", 0, 60, 0, true},
		{"the first day, every tenth refused", 0, 60, 10, false},
		{"the first day, two of 24 refused", 0, 24, 20, false},
		{"the twentieth day", 19, 60, 0, true},
		{"the twenty-first day", 20, 60, 0, false},
	} {
		p := newPast(usual())
		for range row.days {
			p.day(0)
		}
		var f Finding
		for i := range row.burst {
			p.at += 30
			bad := row.refusedEvery > 0 && i%row.refusedEvery == 0
			ev := Event{At: p.at, Client: "shop", Sender: "a@x.example", Recipients: []Recipient{{Hash: p.d.Hash(fmt.Sprint("new", i)), Took: !bad, Refused: bad}}}
			f = p.d.Count(&ev, nil)[0]
		}
		if f.Score < 1 || p.d.Early(&f) != row.want {
			t.Errorf("%s: score %.2f, early %v", row.name, f.Score, p.d.Early(&f))
		}
		profile, _ := p.d.Profile(p.at, Who{Sender, "a@x.example"}, nil)
		if text := profile.Explain().String(); strings.Contains(text, "before the score that throttles") != row.want {
			t.Errorf("%s: explained as\n%s", row.name, text)
		}
	}
}
