package outlier

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// loud sends messages of n recipients each, with a new name each, bad of them
// unknown mailboxes, until nothing goes out any more, and gives the recipients that
// went out.
func (r *rig) loud(user string, n, bad int, name func(i int) string) (out int) {
	held := 0
	for i := range 300 {
		r.at = r.at.Add(5 * time.Second)
		from := name(i)
		id := fmt.Sprint("t", i)
		if r.Judge("shop", user, mail.Identity(from)).Refuse() || r.Admit(id, "shop", user, "", "", mail.Identity(from), n).Refuse() {
			if held++; held == 20 {
				return out
			}
			continue
		}
		ev := event("shop", user, from)
		ev.ID, ev.Stage = id, "forward"
		for j := range n {
			r.next++
			to(ev, fmt.Sprintf("victim%d@y.example", r.next), j < bad)
		}
		r.Observe(ev)
		out += n
	}
	return out
}

func newNames(i int) string { return fmt.Sprintf("n%d@x.example", i) }

// TestLoudNamesAreFound is the attack that hides behind its own noise: each name is
// loud at once, so that nothing of it was counted for anybody else, and 18,000
// recipients went out.
func TestLoudNamesAreFound(t *testing.T) {
	for _, user := range []string{"", "anna"} {
		for _, row := range []struct{ n, bad, most int }{
			{1, 0, 60}, {10, 0, 130}, {20, 5, 150}, {25, 0, 150}, {40, 0, 200}, {100, 0, 400}, {100, 10, 400}, {100, 30, 400},
		} {
			r := newRig(t, nil)
			r.ordinary("shop", user, "a@x.example", 12, 5)
			if out := r.loud(user, row.n, row.bad, newNames); out > row.most {
				t.Errorf("user %q, %d recipients of which %d are refused: %d out, at most %d wanted; %+v", user, row.n, row.bad, out, row.most, r.states)
			} else {
				t.Logf("user %q, %d recipients of which %d are refused: %d out", user, row.n, row.bad, out)
			}
			wide := detector.Who{Scope: Client, Name: "shop"}
			if user != "" {
				wide = detector.Who{Scope: User, Name: user}
			}
			if s := r.states[wide]; s == nil || s.Level < Throttled {
				t.Errorf("user %q, %d recipients of which %d are refused: %+v", user, row.n, row.bad, s)
			}
			d, err := r.Show(wide.Scope, wide.Name)
			if err != nil || d.Day < row.n {
				t.Errorf("user %q, %d recipients of which %d are refused: its counts show %+v, %v", user, row.n, row.bad, d, err)
			}
		}
	}
}

// TestMessageInAColleaguesNameSuspendsItsAuthor: 50 recipients that exist and seven
// that do not, in one message.
func TestMessageInAColleaguesNameSuspendsItsAuthor(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("corp", "ceo", "ceo@x.example", 70, 5)
	r.ordinary("corp", "xaver", "xaver@x.example", 70, 5)
	ev := event("corp", "xaver", "ceo@x.example")
	for i := range 57 {
		to(ev, fmt.Sprintf("v%d@y.example", i), i < 7)
	}
	r.Observe(ev)
	for _, row := range []struct {
		user   string
		from   mail.Identity
		refuse bool
	}{
		{"ceo", "ceo@x.example", false}, {"ceo", "", false},
		{"xaver", "ceo@x.example", true}, {"xaver", "xaver@x.example", true}, {"xaver", "", true},
		{"", "ceo@x.example", false},
	} {
		if v := r.Judge("corp", row.user, row.from); v.Refuse() != row.refuse {
			t.Errorf("%s as %q: %+v", row.user, row.from, v)
		}
	}
	// Nor does the colleague's next mail lead to anything.
	r.at = r.at.Add(time.Minute)
	if out := r.send("corp", "ceo", "ceo@x.example", 5, time.Minute, 0); out != 5 {
		t.Errorf("the colleague sent %d of 5", out)
	}
	for k, s := range r.states {
		if k.Scope == Client || k.Scope == Sender || k == (detector.Who{Scope: User, Name: "ceo"}) {
			t.Errorf("%+v is blamed: %+v", k, s)
		}
	}
}

// TestFewLoudSendersAreNotTheClients: three honest mail merges on one day are an
// alert of a client whose mail has no user, and hold nobody else's mail.
func TestFewLoudSendersAreNotTheClients(t *testing.T) {
	r := newRig(t, nil)
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("s%d@x.example", i))
	}
	r.ordinary("shop", "", "a@x.example", 70, 8, all...)
	for i := range 3 {
		r.send("shop", "", all[i], 40, 30*time.Minute, 0)
		r.at = r.at.Add(time.Hour)
	}
	if l := r.state(Client, "shop"); l != Alerted {
		t.Errorf("the client is %v", l)
	}
	if r.Judge("shop", "", "a@x.example").Refuse() {
		t.Error("another sender is held")
	}
}

// TestLoudInTheNamesOfColleagues: names that exist, one message of 40 recipients
// each. A user is found by the first one; a client whose mail has no user is under
// alert from the third on, and held by what its own counts say.
func TestLoudInTheNamesOfColleagues(t *testing.T) {
	for user, most := range map[string]int{"": 320, "thief": 80} {
		r := newRig(t, nil)
		var all []string
		for i := range 30 {
			all = append(all, fmt.Sprintf("s%d@x.example", i))
		}
		for i := range 70 {
			for j, from := range all {
				owner := user
				if owner != "" {
					owner = fmt.Sprint("u", j)
				}
				ev := event("shop", owner, from)
				to(ev, fmt.Sprintf("colleague%d@y.example", i%5), false)
				r.Observe(ev)
			}
			r.at = r.at.Add(24 * time.Hour)
		}
		if out := r.loud(user, 40, 0, func(i int) string { return all[i%30] }); out > most {
			t.Errorf("user %q: %d recipients out, at most %d wanted", user, out, most)
		}
		for k, s := range r.states {
			if k.Scope == User && k.Name != "thief" {
				t.Errorf("%v is blamed: %+v", k, s)
			}
		}
	}
}

// loudMessages are 40 in as many seconds, to one new recipient each: an alert at
// least.
func (r *rig) loudMessages(user, from string) {
	for range 40 {
		r.next++
		r.at = r.at.Add(time.Second)
		ev := event("shop", user, from)
		to(ev, fmt.Sprintf("new%d@y.example", r.next), false)
		r.Observe(ev)
	}
}

// TestThirdNameUnderAlarmIsTheUsers, not the second one, nor the third a few days
// later; also where the relay is started anew in between.
func TestThirdNameUnderAlarmIsTheUsers(t *testing.T) {
	for name, row := range map[string]struct {
		pause   time.Duration
		restart bool
		blamed  bool
	}{"at once": {time.Minute, false, true}, "within a day": {7 * time.Hour, false, true}, "over days": {40 * time.Hour, false, false}, "over a restart": {time.Hour, true, true}} {
		dir := t.TempDir()
		r := newRigIn(t, dir, nil, nil)
		r.ordinary("shop", "anna", "a@x.example", 70, 5, "b@x.example", "c@x.example", "d@x.example")
		for i, from := range []string{"a@x.example", "b@x.example", "c@x.example"} {
			before := r.state(User, "anna")
			if before != Normal {
				t.Errorf("%s: the user is %v before the third", name, before)
			}
			r.loudMessages("anna", from)
			if i < 2 {
				r.at = r.at.Add(row.pause)
				r.tick()
			}
			if row.restart {
				r.disk.Close()
				r.kill()
				r.open(dir, nil, nil)
			}
		}
		if l := r.state(User, "anna"); l > Normal != row.blamed {
			t.Errorf("%s: the user is %v", name, l)
		}
		if !row.blamed {
			continue
		}
		if l := r.state(Client, "shop"); l > Normal {
			t.Errorf("%s: the client is %v", name, l)
		}
	}
}

// TestPlainRuleNarrowsAsTheScoreDoes: one sender's refused recipients are not its
// user's and not its client's.
func TestPlainRuleNarrowsAsTheScoreDoes(t *testing.T) {
	for _, user := range []string{"", "crm"} {
		r := newRig(t, func(c *Config) { c.Sensitivity = 0.1 }) // the plain rule alone
		r.ordinary("shop", user, "a@x.example", 70, 10, "b@x.example", "c@x.example")
		for i := range 80 {
			r.at = r.at.Add(time.Minute)
			for _, from := range []string{"a@x.example", "bad@x.example"} {
				ev := event("shop", user, from)
				to(ev, fmt.Sprintf("t%d@y.example", i%40), from == "bad@x.example" && i%8 == 0)
				r.Observe(ev)
			}
		}
		sender := detector.Who{Scope: Sender, Name: "bad@x.example"}
		if user != "" {
			sender = detector.Who{Scope: UserSender, Name: "crm bad@x.example"}
		}
		if s := r.states[sender]; s == nil || s.Level != Suspended || s.Rule != RuleRefused {
			t.Errorf("user %q: the sender is %+v", user, s)
		}
		for k, s := range r.states {
			if k != sender {
				t.Errorf("user %q: %v is blamed, too: %+v", user, k, s)
			}
		}
	}
}

// TestSenderOfAUserIsReachedByItsName: what the watch has found about a sender as a
// user sends with it is shown and released by the name of the sender, too, and a
// sender that an operator suspends is suspended for every user.
func TestSenderOfAUserIsReachedByItsName(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "anna b", "a@x.example", 70, 5)
	r.send("shop", "anna b", "a@x.example", 100, time.Hour, 0)
	if !r.Judge("shop", "anna b", "a@x.example").Refuse() || r.Judge("shop", "bert", "a@x.example").Refuse() {
		t.Fatal("the wrong one is held")
	}
	if v := r.Judge("shop", "anna b", "a@x.example"); v.Scope != Sender || v.Name != "a@x.example" {
		t.Errorf("told as %+v", v)
	}
	const pair = "anna%20b a@x.example"
	for _, s := range []string{pair, "user+sender:" + pair, "a@x.example"} {
		scope, name, err := r.FindTarget(s)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := r.Show(scope, name); err != nil || d.Scope != UserSender || d.Name != pair || d.State < Throttled {
			t.Errorf("%s: %+v, %v", s, d, err)
		}
	}
	if rows, _ := r.List(Query{Scope: Sender, State: Throttled}); len(rows) != 1 || rows[0].Name != pair {
		t.Errorf("listed: %+v", rows)
	}
	if s, err := r.Release(Order{Scope: Sender, Name: "a@x.example", Learn: true}); err != nil || s.Scope != UserSender {
		t.Errorf("released: %+v, %v", s, err)
	}
	if r.Judge("shop", "anna b", "a@x.example").Refuse() {
		t.Error("still held")
	}
	if _, err := r.Suspend(Order{Scope: Sender, Name: "a@x.example", Reason: "r", By: "ops"}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"anna b", "bert", ""} {
		if !r.Judge("shop", user, "a@x.example").Refuse() {
			t.Errorf("%q may send as a sender that is suspended", user)
		}
	}
	if d, err := r.Show(Sender, "a@x.example"); err != nil || d.State != Suspended || d.By != "ops" || d.Messages < 300 {
		t.Errorf("shown: %+v, %v", d, err)
	}
}

// TestPaceIsKeptInRecipients: with a record of ten an hour a throttled sender has no
// hundred in one message, nor in ten that are under way at one time.
func TestPaceIsKeptInRecipients(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "", "a@x.example", 70, 10)
	s := r.throttled("a@x.example")
	r.at = s.Since.Add(70 * time.Minute)
	r.detector.Forgive(detector.Who{Scope: Sender, Name: "a@x.example"})
	r.rules.senders["a@x.example"] = Expectation{Expected: []Pace{{Recipients: 20, Window: time.Hour}}}
	admit := func(id string, n int) bool {
		return !r.Judge("shop", "", "a@x.example").Refuse() && !r.Admit(id, "shop", "", "", "", "a@x.example", n).Refuse()
	}
	if admit("large", 100) {
		t.Error("100 recipients pass at a pace of 20")
	}
	ended := func(id string, relayed int) {
		ev := event("shop", "", "a@x.example")
		ev.ID, ev.Stage = id, "rcpt"
		for i := range relayed {
			ev.Stage = "forward"
			to(ev, fmt.Sprintf("colleague%d@y.example", i%10), false)
		}
		r.Observe(ev)
	}
	ended("large", 0)
	out := 0
	for i := range 10 {
		if id := fmt.Sprint("m", i); admit(id, 6) {
			out += 6
			if r.Admit(id, "shop", "", "", "", "a@x.example", 6).Refuse() { // before it is forwarded
				t.Error("a message that was let through is refused later on")
			}
		} else {
			ended(id, 0)
		}
	}
	if out != 18 {
		t.Errorf("%d recipients under way, want 18 of 20", out)
	}
	for i := range 3 {
		ended(fmt.Sprint("m", i), 6)
	}
	if s.Pending != 0 || len(r.admitted) != 0 {
		t.Errorf("pending %d, admitted %v", s.Pending, r.admitted)
	}
	if v := r.Admit("x", "shop", "", "", "", "a@x.example", 6); !v.Refuse() || v.Left(r.at) < time.Minute {
		t.Errorf("beyond the pace: %+v", v)
	}
}

// TestReleasedNamesAreForgivenTheUser: names that an operator has looked at do not
// count towards the third.
func TestReleasedNamesAreForgivenTheUser(t *testing.T) {
	for _, user := range []string{"", "crm"} {
		for _, released := range []bool{false, true} {
			r := newRig(t, nil)
			all := []string{"b@x.example", "c@x.example", "d@x.example"}
			wide := detector.Who{Scope: Client, Name: "shop"}
			if user != "" {
				wide = detector.Who{Scope: User, Name: user}
			}
			r.ordinary("shop", user, "a@x.example", 70, 15, all...)
			for _, from := range all {
				r.loudMessages(user, from)
				if r.at = r.at.Add(time.Hour); !released {
					continue
				}
				if _, err := r.Release(Order{Scope: Sender, Name: from}); err != nil {
					t.Fatal(err)
				}
			}
			blamed := slices.ContainsFunc(r.changes, func(c Change) bool {
				return c.Who() == wide && strings.Contains(c.Reason, "of its senders under alarm")
			})
			if blamed == released {
				t.Errorf("%v is blamed for its senders: %v, released: %v", wide, blamed, released)
			}
		}
	}
}
