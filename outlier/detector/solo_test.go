package detector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// traffic calls send with mail of some weeks: of users with one address, of which some have a
// second one later, with bursts, strangers, refused recipients, the null reverse-path, mail of
// exempt senders, and what is turned away.
func traffic(days int64, send func(*Event)) {
	rng := rand.New(rand.NewPCG(7, 8))
	const start = 20_000 * daySeconds
	for at := int64(start); at < start+days*daySeconds; at += 200 + rng.Int64N(1500) {
		n := rng.IntN(12)
		ev := Event{At: at, Client: "mta", User: fmt.Sprintf("submitter:mta/u%d", n), Sender: fmt.Sprintf("u%d@x.example", n)}
		if n%4 == 3 {
			ev.Client, ev.User = "office", fmt.Sprint("user ", n)
		}
		rcpts, fresh := 1+rng.IntN(3), 0
		switch day := (at - start) / daySeconds; {
		case n == 1 && day > 20 && rng.IntN(5) == 0:
			ev.Sender = "second@x.example"
		case n == 2 && rng.IntN(60) == 0:
			rcpts, fresh = 80, 60
		case n == 4 && day > 30 && rng.IntN(80) == 0:
			ev.Sender = ""
		case n == 5 && day > 30 && rng.IntN(80) == 0:
			ev.Alone = true
		case n == 6 && rng.IntN(10) == 0:
			ev.Away = 2
		case n == 7 && day > 40 && rng.IntN(40) == 0:
			ev.Shadowed = true
		}
		for i := range rcpts {
			name := fmt.Sprint("r", n, "-", rng.IntN(20))
			if i < fresh {
				name = fmt.Sprint("stranger", at, i)
			}
			bad := rng.IntN(40) == 0 || n == 8 && rng.IntN(4) == 0
			ev.Recipients = append(ev.Recipients, Recipient{Hash: Seed{1, 2}.Hash(name), Refused: bad, Took: !bad})
		}
		send(&ev)
	}
}

// apart makes a detector in which no sender ever stands for its user: the names of all users have
// a record that nobody beats.
func apart() *Detector {
	d := New(usual(), Seed{1, 2})
	for n := range 12 {
		user, client := fmt.Sprintf("submitter:mta/u%d", n), "mta"
		if n%4 == 3 {
			user, client = fmt.Sprint("user ", n), "office"
		}
		e, _ := d.meters.get(ofUserNames, user, d.client(client, 20_000*daySeconds).num, 20_000*daySeconds)
		e.record[sent] = [windows]float32{1e6, 1e6, 1e6}
	}
	return d
}

func solos(d *Detector) (n int) {
	d.meters.all(func(e *entry) bool {
		if e.has(isSolo) {
			n++
		}
		return true
	})
	return n
}

// TestSenderThatStandsForItsUserIsJudgedAsBoth: what is found of a user and of its sender is
// the same whether one meter stands for both or each has its own, and so is what is shown.
func TestSenderThatStandsForItsUserIsJudgedAsBoth(t *testing.T) {
	one, two := New(usual(), Seed{1, 2}), apart()
	type found struct {
		who            Who
		score, outside float32
		share          Share
		early, foreign bool
		reason         string
	}
	// Windows that were brought to a time in one step or in two differ in their last digits.
	near := func(x, y float32) bool { return math.Abs(float64(x-y)) < 1e-4 }
	same := func(x, y found) bool {
		alike := near(x.score, y.score) && near(x.outside, y.outside)
		x.score, x.outside, y.score, y.outside = 0, 0, 0, 0
		return alike && x == y
	}
	take := func(d *Detector, ev *Event) (all []found) {
		fs := d.Count(ev, nil)
		for i := range fs {
			f := &fs[i]
			if !f.Names { // theirs have another record
				all = append(all, found{f.Who(), f.Score, d.Outside(f), f.Refusals, d.Early(f), f.foreign, d.Reason(f)})
			}
		}
		return all
	}
	n, most := 0, 0
	traffic(90, func(ev *Event) {
		a, b := take(one, ev), take(two, ev)
		n++
		if len(a) != len(b) || !slices.EqualFunc(a, b, same) {
			t.Fatalf("message %d, %+v:\n%+v\nwith a meter each:\n%+v", n, ev, a, b)
		}
		most = max(most, solos(one))
		for _, who := range []Who{PartyWho(ev.User), Submitter(ev.User, ev.Sender)} {
			if who.Name == "" || ev.Sender == "" {
				continue
			}
			a, b := one.Project(ev.At, who, ev.Client, 30, nil), two.Project(ev.At, who, ev.Client, 30, nil)
			one.WithoutLargest(ev.At, &a, ev.Client)
			two.WithoutLargest(ev.At, &b, ev.Client)
			if !near(a.Score, b.Score) || one.Pace(ev.At, who, 20, 0, true, nil) != two.Pace(ev.At, who, 20, 0, true, nil) || one.Age(ev.At, who) != two.Age(ev.At, who) {
				t.Fatalf("message %d: %v would have %v, with a meter each %v", n, who, a.Score, b.Score)
			}
		}
	})
	if most < 10 || solos(one) < 3 || solos(one) > 8 || solos(two) > 0 {
		t.Errorf("%d at most, %d in the end and %d of those apart stand for their users", most, solos(one), solos(two))
	}
	shown := map[Who]bool{}
	for who := range one.All() {
		shown[who] = true
	}
	for who := range two.All() {
		if !shown[who] || !one.Has(who) {
			t.Errorf("%v is not shown", who)
		}
		now := int64(20_090 * daySeconds)
		a, _ := one.Profile(now, who, nil)
		b, _ := two.Profile(now, who, nil)
		alike := near(float32(a.Score), float32(b.Score))
		a.d, b.d, a.f, b.f, a.Score, b.Score = nil, nil, Finding{}, Finding{}, 0, 0
		a.Last = b.Last // that of a client's largest sender moves with the client's
		if !alike || a != b {
			t.Errorf("%v is %+v\nwith a meter each %+v", who, a, b)
		}
		delete(shown, who)
	}
	if len(shown) > 0 {
		t.Errorf("shown are %v, too", shown)
	}
}

// TestWhatTellsUserAndSenderApartPartsThem: each has the numbers of before, and its own from then on.
func TestWhatTellsUserAndSenderApartPartsThem(t *testing.T) {
	const at = 20_000 * daySeconds
	user, sender := Who{Mailbox, "mta/anna"}, Submitter("submitter:mta/anna", "anna@x.example")
	mail := func(d *Detector, from string, change func(*Event)) {
		ev := Event{At: at + 60, Client: "mta", User: "submitter:mta/anna", Sender: from, Recipients: []Recipient{{Hash: 1, Took: true}}}
		change(&ev)
		d.Count(&ev, nil)
	}
	as := func(*Event) {}
	for _, row := range []struct {
		name         string
		do           func(*Detector)
		user, sender int // messages then
	}{
		{"a second address", func(d *Detector) { mail(d, "other@x.example", as) }, 4, 3},
		{"the null reverse-path", func(d *Detector) { mail(d, "", as) }, 4, 3},
		{"mail of an exempt sender", func(d *Detector) { mail(d, "anna@x.example", func(ev *Event) { ev.Alone = true }) }, 3, 4},
		{"what is turned away without a sender", func(d *Detector) {
			mail(d, "", func(ev *Event) { ev.Recipients, ev.Away = nil, 1 })
		}, 3, 3},
		{"many strangers", func(d *Detector) {
			mail(d, "anna@x.example", func(ev *Event) {
				for i := range uint64(300) {
					ev.Recipients = append(ev.Recipients, Recipient{Hash: 100 + i, Refused: i%2 == 0, Took: i%2 > 0})
				}
			})
		}, 4, 4},
		{"the user is forgiven", func(d *Detector) { d.Forgive(user) }, 3, 3},
		{"the sender is approved", func(d *Detector) { d.Approve(at, sender) }, 3, 3},
		{"what another node knows of the user", func(d *Detector) {
			o := New(usual(), Seed{1, 2})
			mail(o, "anna@x.example", as)
			o.Touch(&o.found.found[0])
			for _, m := range o.Touched() {
				if m.Key == "1:submitter:mta/anna" {
					if err := d.Merge(at+100, m.Key, m.Value, asIs); err != nil {
						t.Error(err)
					}
				}
			}
		}, 1, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := New(usual(), Seed{1, 2})
			for range 3 {
				mail(d, "anna@x.example", as)
			}
			if solos(d) != 1 {
				t.Fatal("the sender does not stand for its user")
			}
			row.do(d)
			if solos(d) != 0 || d.meters.soloOf("submitter:mta/anna") != nil {
				t.Error("the sender still stands for its user")
			}
			if u, s := d.Messages(user), d.Messages(sender); u != row.user || s != row.sender {
				t.Errorf("the user has %d messages, the sender %d", u, s)
			}
			if names := d.SenderNames(at+60, user); names == nil || names.New < 1 && row.name != "the user is forgiven" {
				t.Errorf("names of the user: %+v", names)
			}
		})
	}
}

// TestUserOfOneAddressTakesOneMeter, also when it was read from a file, came from other
// nodes, or has another seed.
func TestUserOfOneAddressTakesOneMeter(t *testing.T) {
	const at, users = 20_000 * daySeconds, 200
	d := New(usual(), Seed{1, 2})
	send := func(d *Detector, at int64) {
		for i := range users {
			d.Count(&Event{At: at, Client: "mta", User: fmt.Sprint("submitter:mta/u", i), Sender: fmt.Sprintf("u%d@x.example", i), Recipients: []Recipient{{Hash: uint64(i), Took: true}}}, nil)
		}
	}
	send(d, at)
	send(d, at+60)
	check := func(how string, d *Detector) {
		t.Helper()
		if n := len(d.meters.index); n != users+2 || solos(d) != users {
			t.Errorf("%s: %d meters of %d users, %d stand for theirs", how, n, users, solos(d))
		}
		for i := range users {
			user, sender := PartyWho(fmt.Sprint("submitter:mta/u", i)), Submitter(fmt.Sprint("submitter:mta/u", i), fmt.Sprintf("u%d@x.example", i))
			if d.Messages(user) < 2 || d.Messages(user) != d.Messages(sender) || d.Users(fmt.Sprintf("u%d@x.example", i)) != 1 {
				t.Fatalf("%s: %v has %d messages, its sender %d", how, user, d.Messages(user), d.Messages(sender))
			}
		}
	}
	check("counted", d)
	all := map[string][]byte{}
	d.Count(&Event{At: at + 120, Client: "mta", Sender: "else@x.example", Recipients: []Recipient{{Hash: 1}}}, nil)
	d.meters.all(func(e *entry) bool {
		d.Touch(&Finding{e: e})
		return true
	})
	for _, m := range d.Touched() {
		all[m.Key] = m.Value
	}
	d.meters.free(d.meters.find(ofSender, "else@x.example"))
	d.Reseed(Seed{3, 4})
	check("another seed", d)
	o := New(usual(), Seed{5, 6})
	if _, err := o.Restore(d.Snapshot(time.Unix(at, 0)).Encode(), asIs); err != nil {
		t.Fatal(err)
	}
	check("read from a file", o)
	for _, how := range []string{"came to a node that knows them", "came to a node that knows nobody"} {
		delete(all, "0:else@x.example")
		for key, value := range all { // in any order
			if err := o.Merge(at+200, key, value, asIs); err != nil {
				t.Fatal(err)
			}
		}
		send(o, at+300)
		check(how, o)
		if next := o.meters.next; next > 3*users+10 {
			t.Errorf("%s: %d places in use, %d empty", how, next, len(o.meters.empty))
		}
		o = New(usual(), Seed{5, 6})
	}
}

// TestFileOfTheReleaseBeforeIsRead, in which each user had meters of its own: who has sent
// from one address only is one meter now, and what is shown of everybody is as it was.
func TestFileOfTheReleaseBeforeIsRead(t *testing.T) {
	d := New(usual(), Seed{})
	old := stored(t, "testdata/counts-2.snap.gz")
	if _, err := d.Restore(old, asIs); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[Who]struct {
		messages int
		solo     bool
	}{
		{Mailbox, "mta/one"}:                              {240, true},
		{UserSender, "submitter:mta/one one@example.org"}: {240, true},
		{User, "anna"}:                                    {240, true},
		{User, "a b"}:                                     {240, true},
		{UserSender, "a%20b ab@example.org"}:              {240, true},
		{Mailbox, "mta/two"}:                              {480, false},
		{UserSender, "submitter:mta/two two@example.org"}: {240, false},
		{Mailbox, "mta/burst"}:                            {243, false},
		{Sender, "alone@example.org"}:                     {240, false},
	} {
		e := d.look(who)
		if e == nil || int(e.messages) != want.messages {
			t.Errorf("%v: %+v", who, e)
			continue
		}
		user, _ := SplitNames(e.name)
		if e.scope == ofUser {
			user = e.name
		}
		if solo := d.meters.soloOf(user) != nil; solo != want.solo {
			t.Errorf("%v: stands for its user: %v", who, solo)
		}
	}
	again := New(usual(), Seed{})
	if _, err := again.Restore(d.Snapshot(time.Unix(1, 0)).Encode(), asIs); err != nil {
		t.Fatal(err)
	}
	for who := range d.All() {
		a, _ := d.Profile(1_807_000_000, who, nil)
		b, ok := again.Profile(1_807_000_000, who, nil)
		if !ok || !reflect.DeepEqual(a.Windows(), b.Windows()) || a.Messages != b.Messages || solos(d) != solos(again) {
			t.Errorf("%v is %+v, written and read %+v", who, a, b)
		}
	}
}
