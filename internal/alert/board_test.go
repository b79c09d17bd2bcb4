package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// rig is a board with a clock and ids of its own.
type rig struct {
	*Board
	now time.Time
	ids int
}

func newRig(channels ...Channel) *rig {
	r := &rig{now: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)}
	r.Board = New(Options{Relay: "relay.example.org", NewID: r.newID})
	r.SetChannels(channels)
	return r
}

func (r *rig) newID() string {
	r.ids++
	return fmt.Sprintf("id%d", r.ids)
}

var ops = Channel{Name: "ops", Kinds: Kinds()}

func suspended(name string) Alert {
	return Alert{Kind: Suspended, Condition: "suspended sender " + name, Summary: name + " is suspended",
		Commands: []Command{{"show", "relay senders show " + name}, {"release", "relay release " + name}}}
}

// drain takes what is due now, each taken by the receiver at once.
func (r *rig) drain(channel string) (batches []*Batch) {
	for {
		b, _ := r.Next(channel, r.now)
		if b == nil {
			return batches
		}
		batches = append(batches, b)
		r.Done(channel, b.ID, Result{}, r.now)
	}
}

// TestEachConditionIsToldOnceAndItsEnd: what a source says every second makes two
// notices.
func TestEachConditionIsToldOnceAndItsEnd(t *testing.T) {
	r := newRig(ops)
	var told []string
	for i := range 100 {
		var list []Alert
		if i >= 10 && i < 60 {
			list = append(list, Alert{Condition: "store redis", Summary: "away"})
		}
		r.Sync(Store, list, r.now)
		for _, b := range r.drain("ops") {
			told = append(told, fmt.Sprintf("%d %s", i, b.Alerts[0].Status))
		}
		r.now = r.now.Add(time.Second)
	}
	// It is told when it has lasted 5 s, and over when it has been away for 10 s.
	if want := []string{"15 open", "69 resolved"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestWhatMendsItselfAtOnceIsNotTold(t *testing.T) {
	r := newRig(ops)
	for i := range 200 {
		var list []Alert
		if i%20 < 4 {
			list = append(list, Alert{Condition: "store redis"})
		}
		r.Sync(Store, list, r.now)
		r.now = r.now.Add(time.Second)
	}
	if got := r.drain("ops"); len(got) > 0 {
		t.Errorf("told %d", len(got))
	}
}

func TestANoticeOfTheEndNamesTheBeginning(t *testing.T) {
	r := newRig(ops)
	r.Open(suspended("a"), r.now)
	r.now = r.now.Add(time.Hour)
	r.Close("suspended sender a", "released by root", r.now)
	got := r.drain("ops")
	if len(got) != 2 {
		t.Fatalf("%d batches", len(got))
	}
	open, end := got[0].Alerts[0], got[1].Alerts[0]
	if open.ID != open.Opened || end.Opened != open.ID || end.ID == open.ID || end.Ended.Sub(end.Since) != time.Hour ||
		end.Reason != "released by root" || len(end.Commands) != 1 || open.Docs != "docs/alerts.md#suspended" || open.Severity != Critical {
		t.Errorf("%+v\n%+v", open, end)
	}
}

func TestAChannelIsToldItsKindsOnly(t *testing.T) {
	r := newRig(Channel{Name: "few", Kinds: []string{Store}}, Channel{Name: "usual", Kinds: DefaultKinds()})
	r.Open(suspended("a"), r.now)
	r.Open(Alert{Kind: NearLimit, Condition: "near_limit x"}, r.now)
	if few, usual := r.drain("few"), r.drain("usual"); len(few) != 0 || len(usual) != 1 {
		t.Errorf("%d, %d", len(few), len(usual))
	}
}

// TestAnHourHasThirtyNoticesThenDigests: a minute has one new condition, all day.
func TestAnHourHasThirtyNoticesThenDigests(t *testing.T) {
	r := newRig(ops)
	var single, digests []time.Time
	told := map[string]int{}
	for i := range 24 * 60 {
		for k := range 5 {
			r.Open(suspended(fmt.Sprintf("%d-%d", i, k)), r.now)
		}
		for _, b := range r.drain("ops") {
			if b.Digest {
				digests = append(digests, r.now)
			} else {
				single = append(single, r.now)
			}
			if b.Lost > 0 || len(b.Alerts) > MaxDigest {
				t.Fatalf("lost %d, %d in a digest", b.Lost, len(b.Alerts))
			}
			for _, a := range b.Alerts {
				told[a.ID]++
			}
		}
		r.now = r.now.Add(time.Minute)
	}
	within := func(times []time.Time, span time.Duration) (most int) {
		for i := range times {
			n := 0
			for _, at := range times[i:] {
				if at.Sub(times[i]) < span {
					n++
				}
			}
			most = max(most, n)
		}
		return most
	}
	if n := within(single, time.Hour); n != Hourly {
		t.Errorf("%d notices by themselves in an hour", n)
	}
	if n := within(digests, DigestEvery); n != 1 {
		t.Errorf("%d digests within ten minutes", n)
	}
	for id, n := range told {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	if len(told) < 24*60*5-60 {
		t.Errorf("told %d of %d", len(told), 24*60*5)
	}
}

// TestAReceiverThatIsAwayForAnHourMissesNothing: what waits goes out in its order, and
// nothing comes twice.
func TestAReceiverThatIsAwayForAnHourMissesNothing(t *testing.T) {
	r := newRig(ops)
	var order []string
	end := r.now.Add(time.Hour)
	tries, id, news := 0, "", []string{}
	for r.now.Before(end) {
		if len(order) < 900 {
			name := fmt.Sprint("s", len(order))
			order = append(order, "suspended sender "+name)
			r.Open(suspended(name), r.now)
		}
		if b, _ := r.Next("ops", r.now); b != nil {
			if id != "" && id != b.ID {
				t.Fatalf("another notice while the first one is not answered")
			}
			id = b.ID
			tries++
			if n := r.Done("ops", b.ID, Result{Err: errors.New("connection refused")}, r.now); n != "" {
				news = append(news, n)
			}
		}
		r.now = r.now.Add(time.Second)
	}
	if tries < 15 || tries > 25 || !slices.Equal(news, []string{"fails"}) {
		t.Errorf("%d tries, news %q", tries, news)
	}
	if s := r.Channels()[0]; s.Queued != 900 || s.Failing.IsZero() || s.Err != "connection refused" {
		t.Errorf("%+v", s)
	}
	r.now = r.now.Add(lastRetry)
	var got []string
	for range 120 {
		for _, b := range r.drain("ops") {
			for _, a := range b.Alerts {
				got = append(got, a.Condition)
			}
		}
		r.now = r.now.Add(time.Minute)
	}
	if !slices.Equal(got, order) {
		t.Errorf("got %d, want %d", len(got), len(order))
	}
	if s := r.Channels()[0]; s.Queued != 0 || !s.Failing.IsZero() || s.Err != "" {
		t.Errorf("%+v", s)
	}
}

// TestALostAnswerGetsTheSameNoticeAgain, under the same id and with the same content,
// also a digest.
func TestALostAnswerGetsTheSameNoticeAgain(t *testing.T) {
	r := newRig(ops)
	for i := range 100 {
		r.Open(suspended(fmt.Sprint(i)), r.now)
	}
	for range Hourly {
		first, _ := r.Next("ops", r.now)
		text, _ := json.Marshal(first)
		r.Done("ops", first.ID, Result{Err: errors.New("lost")}, r.now)
		if b, wait := r.Next("ops", r.now); b != nil || wait != firstRetry {
			t.Fatalf("no pause: %v", wait)
		}
		r.now = r.now.Add(firstRetry)
		r.Open(suspended("more"), r.now)
		again, _ := r.Next("ops", r.now)
		if b, _ := json.Marshal(again); string(b) != string(text) {
			t.Fatalf("another one:\n%s\n%s", text, b)
		}
		r.Done("ops", again.ID, Result{}, r.now)
	}
	r.now = r.now.Add(gather)
	first, _ := r.Next("ops", r.now)
	r.Done("ops", first.ID, Result{Err: errors.New("lost")}, r.now)
	r.Open(suspended("later"), r.now)
	r.now = r.now.Add(firstRetry)
	if again, _ := r.Next("ops", r.now); !first.Digest || again.ID != first.ID || len(again.Alerts) != 71 {
		t.Errorf("%+v", again)
	}
}

// TestAFloodIsBounded: conditions, queue and what is written, and it is said how much
// was left out.
func TestAFloodIsBounded(t *testing.T) {
	r := newRig(ops, Channel{Name: "am", Form: Active, Kinds: Kinds()})
	long := strings.Repeat("x", 100_000)
	const flood = 25_000
	for i := range flood {
		a := suspended(fmt.Sprint(i))
		a.Reason, a.About.Name, a.About.Envelope = long, long, &Envelope{From: long, To: slices.Repeat([]string{long}, 100)}
		r.Open(a, r.now)
	}
	if n := len(r.known); n != MaxConditions {
		t.Errorf("%d conditions", n)
	}
	text, err := r.Save()
	if err != nil || len(text) > 128<<20 {
		t.Errorf("%d octets, %v", len(text), err)
	}
	first, _ := r.Next("ops", r.now)
	if first == nil || !first.Digest || first.Lost != MaxConditions-MaxQueue || first.Over != flood-MaxConditions || len(first.Alerts) != MaxDigest {
		t.Fatalf("%v %d %d", first.Digest, first.Lost, first.Over)
	}
	if name := first.Alerts[0].Condition; name != "suspended sender 9000" {
		t.Errorf("the oldest that waits is %s", name)
	}
	if am, _ := r.Next("am", r.now); am == nil || len(am.Alerts) != MaxQueue {
		t.Errorf("Alertmanager is told %d", len(am.Alerts))
	}
	for i := range flood {
		r.Close(fmt.Sprint("suspended sender ", i), "", r.now)
	}
	if n := len(r.known); n != 0 {
		t.Errorf("%d conditions are left", n)
	}
}

// TestSendersHideNothing: whoever has thousands of names suspended does not keep back,
// push out or end what is told of the relay.
func TestSendersHideNothing(t *testing.T) {
	for _, flood := range []int{40, 900, 12_000} {
		r := newRig(ops, Channel{Name: "am", Form: Active, Kinds: Kinds()})
		r.Open(Alert{Kind: Disk, Condition: "disk journal", Summary: "the first"}, r.now)
		for i := range flood {
			r.Open(suspended(fmt.Sprint(i)), r.now)
			if i == flood/2 {
				r.Open(Alert{Kind: Store, Condition: "store redis"}, r.now)
			}
		}
		r.drain("ops")
		r.now = r.now.Add(5 * time.Second)
		r.Open(Alert{Kind: Store, Condition: "store redis"}, r.now)
		r.Open(Alert{Kind: Listing, Condition: "listing 192.0.2.25", Summary: "the last"}, r.now)
		client := suspended("mta")
		client.Condition, client.About.Scope = "suspended client mta", "client"
		r.Open(client, r.now)
		var got []string
		for _, b := range r.drain("ops") {
			got = append(got, b.Alerts[0].Condition)
		}
		if want := []string{"store redis", "listing 192.0.2.25", "suspended client mta"}; !slices.Equal(got, want) {
			t.Errorf("%d names: told at once %q, want %q", flood, got, want)
		}
		am, _ := r.Next("am", r.now)
		told := map[string]bool{}
		for _, a := range am.Alerts {
			told[a.Condition] = true
		}
		if !told["disk journal"] || !told["store redis"] || !told["listing 192.0.2.25"] || len(am.Alerts) > MaxQueue {
			t.Errorf("%d names: Alertmanager is told %d conditions, not all about the relay", flood, len(am.Alerts))
		}
	}
}

// TestADigestBeginsWithTheRelay: the first lines of a digest are what people read.
func TestADigestBeginsWithTheRelay(t *testing.T) {
	r := newRig(ops)
	for i := range Hourly + HourlyKept {
		r.Open(Alert{Kind: Identity, Condition: fmt.Sprint("identity ", i)}, r.now)
	}
	r.drain("ops")
	for i := range 500 {
		r.Open(suspended(fmt.Sprint(i)), r.now)
	}
	r.Open(Alert{Kind: Listing, Condition: "listing 192.0.2.25"}, r.now)
	r.now = r.now.Add(2 * time.Minute)
	b, _ := r.Next("ops", r.now)
	if b == nil || !b.Digest || b.Alerts[0].Kind != Listing || b.Alerts[1].Condition != "suspended sender 0" {
		t.Fatalf("%+v", b)
	}
}

// TestARestartInTheMiddle goes on where it was: what was in flight comes again under its
// id, what was told is not told again, and what ended meanwhile is told as over.
func TestARestartInTheMiddle(t *testing.T) {
	r := newRig(ops, Channel{Name: "am", Form: Active, Kinds: Kinds()})
	for i := range 40 {
		r.Open(suspended(fmt.Sprint(i)), r.now)
	}
	for range 10 {
		b, _ := r.Next("ops", r.now)
		r.Done("ops", b.ID, Result{}, r.now)
	}
	flight, _ := r.Next("ops", r.now)
	text, err := r.Save()
	if err != nil || r.Changed() {
		t.Fatal(err)
	}
	next := New(Options{Relay: "relay.example.org", NewID: r.newID})
	if err := next.Load(text); err != nil {
		t.Fatal(err)
	}
	next.SetChannels([]Channel{ops, {Name: "am", Form: Active, Kinds: Kinds()}, {Name: "new", Kinds: Kinds()}})
	r.Board = next
	var still []Alert
	for i := range 39 {
		still = append(still, suspended(fmt.Sprint(i)))
	}
	r.Sync(Suspended, still, r.now)
	again, _ := r.Next("ops", r.now)
	if again == nil || again.ID != flight.ID {
		t.Fatalf("%+v, want %s", again, flight.ID)
	}
	got := map[string]int{}
	for range 3 {
		for _, b := range r.drain("ops") {
			for _, a := range b.Alerts {
				got[a.Status]++
			}
		}
		r.now = r.now.Add(gather)
	}
	if got[Open] != 30 || got[Resolved] != 1 {
		t.Errorf("%v", got)
	}
	am, _ := r.Next("am", r.now)
	if len(am.Alerts) != 40 || am.Alerts[0].Status != Resolved {
		t.Errorf("Alertmanager: %d", len(am.Alerts))
	}
	got = map[string]int{}
	for range 3 { // a channel that is new is told what holds
		for _, b := range r.drain("new") {
			got[b.Alerts[0].Status]++
		}
		r.now = r.now.Add(gather)
	}
	if got[Open] != 31 {
		t.Errorf("%v", got)
	}
}

// TestActiveIsToldAgainAndAgain until it is over, and its end until the receiver has it.
func TestActiveIsToldAgainAndAgain(t *testing.T) {
	r := newRig(Channel{Name: "am", Form: Active, Kinds: Kinds()})
	r.Open(suspended("a"), r.now)
	sent := 0
	for range 600 {
		for _, b := range r.drain("am") {
			sent++
			if len(b.Alerts) != 1 || b.Alerts[0].Status != Open {
				t.Fatalf("%+v", b)
			}
		}
		r.now = r.now.Add(time.Second)
	}
	if sent != 10 {
		t.Errorf("sent %d times in ten minutes", sent)
	}
	r.Close("suspended sender a", "", r.now)
	fails := 0
	for end := r.now.Add(time.Hour); r.now.Before(end); r.now = r.now.Add(time.Second) {
		if b, _ := r.Next("am", r.now); b != nil {
			fails++
			r.Done("am", b.ID, Result{Err: errors.New("away"), Refused: true}, r.now)
		}
	}
	if fails < 55 || fails > 75 {
		t.Errorf("%d tries in an hour", fails)
	}
	r.now = r.now.Add(ResendEvery)
	got := r.drain("am")
	if len(got) != 1 || len(got[0].Alerts) != 1 || got[0].Alerts[0].Status != Resolved {
		t.Fatalf("%+v", got)
	}
	r.now = r.now.Add(time.Hour)
	if got := r.drain("am"); len(got) != 0 {
		t.Errorf("told again: %+v", got[0])
	}
}

// TestWhatAReceiverRefusesForGoodIsGivenUp, after minutes, so that what is behind it
// gets through.
func TestWhatAReceiverRefusesForGoodIsGivenUp(t *testing.T) {
	r := newRig(ops)
	r.Open(suspended("poison"), r.now)
	r.Open(suspended("good"), r.now)
	start, gaveUp := r.now, false
	for range 3600 {
		b, _ := r.Next("ops", r.now)
		if b != nil && b.Alerts[0].Condition == "suspended sender poison" {
			gaveUp = r.Done("ops", b.ID, Result{Err: errors.New("400"), Refused: true}, r.now) == "gave up" || gaveUp
		} else if b != nil {
			if took := r.now.Sub(start); !gaveUp || took < 5*time.Minute {
				t.Errorf("after %v, given up %v", took, gaveUp)
			}
			r.Done("ops", b.ID, Result{}, r.now)
			return
		}
		r.now = r.now.Add(time.Second)
	}
	t.Error("the second notice never got through")
}

func TestTextsOfSendersAreHarmless(t *testing.T) {
	r := newRig(ops)
	a := suspended("x\r\nBcc: y\u202e\x1b[31m")
	a.Reason = "a\nb"
	r.Open(a, r.now)
	got := r.drain("ops")[0].Alerts[0]
	for _, s := range []string{got.Condition, got.Summary, got.Reason, got.Commands[0].Line} {
		if strings.ContainsAny(s, "\r\n\x1b\u202e") {
			t.Errorf("%q", s)
		}
	}
}

// FuzzLoad: a state file of anybody's makes no panic, and a board that works.
func FuzzLoad(f *testing.F) {
	r := newRig(ops, Channel{Name: "am", Form: Active, Kinds: Kinds()})
	r.Open(suspended("a"), r.now)
	r.Next("ops", r.now)
	text, _ := r.Save()
	f.Add(text)
	f.Add([]byte(`{"version":1,"conditions":[null],"channels":{"ops":null,"am":{"Flight":{},"Queue":[{}]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newRig()
		if r.Load(text) != nil {
			return
		}
		r.SetChannels([]Channel{ops, {Name: "am", Form: Active, Kinds: Kinds()}})
		r.Open(suspended("new"), r.now)
		for _, name := range []string{"ops", "am"} {
			for range 5 {
				if b, _ := r.Next(name, r.now); b != nil {
					r.Done(name, b.ID, Result{}, r.now)
				}
				r.now = r.now.Add(time.Hour)
			}
		}
		r.Sync(Suspended, nil, r.now)
		r.Conditions()
		if _, err := r.Save(); err != nil {
			t.Error(err)
		}
	})
}
