package outlier

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// write lets somebody begin a message to a recipient and end it where it is let
// through, after a time, and gives how long the recipient waits.
func (r *rig) write(user, from, rcpt string, after time.Duration) time.Duration {
	r.at = r.at.Add(after)
	r.next++
	ev := event("shop", user, from)
	ev.ID = fmt.Sprint("m", r.next)
	if r.Judge("shop", user, mail.Identity(from)).Refuse() {
		return -1
	}
	wait, who := r.Brake(ev.ID, "shop", user, mail.Identity(from), mail.RecipientOf(rcpt))
	if wait > 0 {
		if who.Scope == "" || who.Name == "" {
			r.t.Errorf("braked by %+v", who)
		}
		ev.Outcome, ev.Stage, ev.Rule = mail.Deferred, "rcpt", "outlier brake sender"
		ev.To = []mail.RecipientEvent{{Address: rcpt, Outcome: mail.Deferred, Code: 450, Rule: ev.Rule}}
	} else {
		to(ev, rcpt, false)
	}
	r.Observe(ev)
	return wait
}

// burst writes to so many strangers, one a minute, and gives how many went out and the
// first wait.
func (r *rig) burst(user, from string, n int) (out int, wait time.Duration) {
	for range n {
		w := r.write(user, from, fmt.Sprintf("stranger%d@z.example", r.next), time.Minute)
		if w == 0 {
			out++
		} else if wait == 0 {
			wait = w
		}
	}
	return out, wait
}

// TestBrakeHoldsStrangersOnly: well before the first alarm strangers wait, but for five
// an hour; known recipients go on, one quiet change tells of it, and it ends by itself.
func TestBrakeHoldsStrangersOnly(t *testing.T) {
	for _, user := range []string{"", "anna"} {
		r := newRig(t, nil)
		const from = "a@x.example"
		r.ordinary("shop", user, from, 70, 5, "b@x.example")
		k := detector.Submitter(user, from)
		out, wait := r.burst(user, from, 20)
		if out < 4 || out > 9 || wait < 10*time.Minute || wait > 12*time.Minute {
			t.Errorf("user %q: %d strangers in 20 minutes, the first wait %v", user, out, wait)
		}
		if len(r.changes) != 1 || r.changes[0].Level != Braked || r.changes[0].Rule != RuleBrake || r.changes[0].Shadow {
			t.Fatalf("user %q: %+v", user, r.changes)
		}
		if d, err := r.Show(k.Scope, k.Name); err != nil || d.State != Braked || len(d.Alarms) > 0 || !strings.Contains(d.Reason, "never seen before") {
			t.Errorf("user %q: shown as %+v, %v", user, d, err)
		}
		for i := range 5 {
			if r.write(user, from, fmt.Sprintf("colleague%d@y.example", i), time.Second) != 0 {
				t.Errorf("user %q: a known recipient waits", user)
			}
		}
		if r.write(user, "b@x.example", "guest@z.example", time.Second) != 0 && user == "" {
			t.Error("another sender is braked")
		}
		if out, _ := r.burst(user, from, 120); out < 8 || out > 11 {
			t.Errorf("user %q: %d strangers in two hours under the brake", user, out)
		}
		r.at = r.at.Add(26 * time.Hour)
		r.changes = nil
		if r.write(user, from, "late@z.example", time.Minute) != 0 {
			t.Errorf("user %q: it does not end", user)
		}
		if r.state(k.Scope, k.Name) != Normal {
			t.Errorf("user %q: is %s", user, r.state(k.Scope, k.Name))
		}
	}
}

// TestBrakeIsOff where the operator says so, the mail could not wait, or the client is
// so new that everybody is a stranger.
func TestBrakeIsOff(t *testing.T) {
	for _, c := range []struct {
		name   string
		days   int
		change func(*Config)
		state  Level
	}{
		{"brake = 0", 70, func(c *Config) { c.Brake = 0 }, Normal},
		{"a client that does not retry", 70, func(c *Config) { c.NoRetries = []string{"shop"} }, Normal},
		{"shadow", 70, func(c *Config) { c.Mode = Shadow }, Braked},
		{"a client in shadow", 70, func(c *Config) { c.ShadowClients = []string{"shop"} }, Braked},
		{"an exempt sender", 70, func(c *Config) { c.ExemptSenders = []string{"a@x.example"} }, Normal},
		{"an exempt client", 70, func(c *Config) { c.ExemptClients = []string{"shop"} }, Normal},
		{"what is expected", 70, func(c *Config) {
			c.Sender = map[string]Expectation{"a@x.example": {Expected: []Pace{{50, time.Hour}}}}
		}, Normal},
		{"a client of ten days", 10, nil, Normal},
	} {
		r := newRig(t, c.change)
		r.ordinary("shop", "", "a@x.example", c.days, 5, "b@x.example")
		if out, _ := r.burst("", "a@x.example", 8); out != 8 {
			t.Errorf("%s: %d of 8 went out", c.name, out)
		}
		if is := r.state(Sender, "a@x.example"); is != c.state {
			t.Errorf("%s: is %s", c.name, is)
		}
	}
}

// TestFramedColleagueIsNotBraked: what one user sends in the name of another brakes him
// and nobody else.
func TestFramedColleagueIsNotBraked(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "anna", "anna@x.example", 70, 5)
	r.ordinary("shop", "bert", "bert@x.example", 70, 5)
	r.ordinary("shop", "anna", "anna@x.example", 1, 5)
	if out, _ := r.burst("bert", "anna@x.example", 30); out > 20 {
		t.Errorf("the thief has %d out", out)
	}
	for i := range 3 {
		if r.write("anna", "anna@x.example", fmt.Sprintf("own%d@z.example", i), time.Minute) != 0 {
			t.Error("the victim is braked")
		}
	}
}

// submit lets a submitter of an MTA send one message behind its header, and gives how long
// it waits.
func (r *rig) submit(box, from string, after time.Duration, rcpts ...string) time.Duration {
	r.at = r.at.Add(after)
	r.next++
	ev := event("mta", "", from)
	ev.ID, ev.Submitter = fmt.Sprint("s", r.next), "mta/"+box
	var ids []mail.RecipientID
	for _, rcpt := range rcpts {
		if wait, _ := r.Brake(ev.ID, "mta", "", mail.Identity(from), mail.RecipientOf(rcpt)); wait > 0 {
			r.t.Errorf("%s waits at RCPT, where nobody knows whose mail it is", rcpt)
		}
		ids = append(ids, mail.RecipientOf(rcpt))
	}
	wait, _ := r.BrakeMessage(ev.ID, "mta", ev.Submitter, mail.Identity(from), ids...)
	for _, rcpt := range rcpts {
		to(ev, rcpt, false)
		if wait > 0 {
			ev.Outcome, ev.Stage, ev.Rule = mail.Deferred, mail.StageForward, "outlier brake submitter"
			ev.To[len(ev.To)-1] = mail.RecipientEvent{Address: rcpt, Outcome: mail.Deferred, Code: 450, Rule: ev.Rule}
		}
	}
	r.Observe(ev)
	return wait
}

// TestSubmittersAreBraked behind the header: the mailbox of one, and none of its
// colleagues; and senders of submitters are not taken for new ones.
func TestSubmittersAreBraked(t *testing.T) {
	r := newRig(t, nil)
	for range 70 {
		for i := range 5 {
			r.submit("anna", "anna@x.example", time.Minute, fmt.Sprintf("colleague%d@y.example", i))
			r.submit("bert", "bert@x.example", time.Minute, fmt.Sprintf("colleague%d@y.example", i))
		}
		r.at = r.at.Add(24 * time.Hour)
	}
	if p := r.Past("mta", "", "anna@x.example"); !p.OfOthers {
		t.Errorf("%+v", p)
	}
	if p := r.Past("mta", "", "new@x.example"); p.OfOthers {
		t.Errorf("a new one: %+v", p)
	}
	before := 0
	for before < 20 && r.submit("anna", "anna@x.example", time.Minute, fmt.Sprintf("victim%d@z.example", before)) == 0 {
		before++
	}
	if before < 3 || before > 8 {
		t.Errorf("%d out before the brake", before)
	}
	if len(r.changes) == 0 || r.changes[0].Level != Braked || !strings.Contains(r.changes[0].Name, "mta/anna") {
		t.Fatalf("%+v", r.changes)
	}
	if r.submit("anna", "anna@x.example", time.Second, "colleague1@y.example") != 0 || r.submit("bert", "bert@x.example", time.Second, "guest@z.example") != 0 {
		t.Error("a known recipient or a colleague waits")
	}
	// Mail whose submitter is not told is not hers.
	if wait, _ := r.Brake("other", "mta", "", "anna@x.example", "victim@z.example"); wait != 0 {
		t.Error("mail of nobody waits")
	}
	out := 0
	for i := range 120 {
		if r.submit("anna", "anna@x.example", time.Minute, fmt.Sprintf("more%d@z.example", i), "colleague1@y.example") == 0 {
			out++
		}
	}
	if out < 8 || out > 11 {
		t.Errorf("%d strangers in two hours under the brake", out)
	}
}

// TestMessageToManyWaitsForAll: its strangers use up as much as if they were written to
// one by one, and it does not wait for ever.
func TestMessageToManyWaitsForAll(t *testing.T) {
	r := newRig(t, nil)
	for range 70 {
		for i := range 5 {
			r.submit("anna", "anna@x.example", time.Minute, fmt.Sprintf("colleague%d@y.example", i))
		}
		r.at = r.at.Add(24 * time.Hour)
	}
	for i := range 20 {
		r.submit("anna", "anna@x.example", time.Second, fmt.Sprintf("victim%d@z.example", i))
	}
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("list%d@z.example", i))
	}
	waited, tries := time.Duration(0), 0
	for ; tries < 30; tries++ {
		wait := r.submit("anna", "anna@x.example", time.Second, many...)
		if wait == 0 {
			break
		}
		r.at, waited = r.at.Add(wait), waited+wait
	}
	if waited < 45*time.Minute || waited > 90*time.Minute || tries == 30 {
		t.Errorf("20 strangers of one message wait %v in %d tries", waited, tries)
	}
	if wait := r.submit("anna", "anna@x.example", time.Minute, "next@z.example"); wait < 2*time.Hour && r.state(UserSender, detector.JoinNames("submitter:mta/anna", "anna@x.example")) == Braked {
		t.Errorf("the next one waits %v", wait)
	}
}

// TestMessagesOfASubmitterAtOnceAreBraked: many that end at one moment let no more out.
func TestMessagesOfASubmitterAtOnceAreBraked(t *testing.T) {
	r := newRig(t, nil)
	for range 70 {
		for i := range 5 {
			r.submit("anna", "anna@x.example", time.Minute, fmt.Sprintf("colleague%d@y.example", i))
		}
		r.at = r.at.Add(24 * time.Hour)
	}
	out := 0
	for i := range 200 {
		if wait, _ := r.BrakeMessage(fmt.Sprint("t", i), "mta", "mta/anna", "anna@x.example", mail.RecipientOf(fmt.Sprintf("new%d@z.example", i))); wait == 0 {
			out++
		} else if wait != crowdWait {
			t.Fatalf("waits %v", wait)
		}
	}
	if out > 9 {
		t.Errorf("%d at one moment", out)
	}
}

// TestBrakeHeedsThePolicy: where scores count more, it acts sooner.
func TestBrakeHeedsThePolicy(t *testing.T) {
	out := func(watch string) int {
		r := newRig(t, func(c *Config) { c.Watch = map[string]string{"shop": watch} })
		r.ordinary("shop", "", "a@x.example", 70, 5, "b@x.example")
		n, _ := r.burst("", "a@x.example", 12)
		return n
	}
	if usual, strict := out("standard"), out("strict"); strict >= usual {
		t.Errorf("%d strangers of 12 go out, and %d with watch = strict", usual, strict)
	}
}

// TestReplayHeedsThePolicy as the watch does.
func TestReplayHeedsThePolicy(t *testing.T) {
	highest := func(watch string) (top float64) {
		var cfg Config
		cfg.SetDefaults()
		cfg.MaxKnown, cfg.Watch = 100_000, map[string]string{"shop": watch}
		r, err := NewReplay(cfg)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(1_800_000_000)
		for range 70 {
			r.Message(at, "a@x.example", "shop", []string{"colleague@y.example"}, 0)
			at += 24 * 3600
		}
		for i := range 30 {
			s, _ := r.Message(at+int64(i), "a@x.example", "shop", []string{fmt.Sprintf("new%d@z.example", i)}, 0)
			top = max(top, s)
		}
		return top
	}
	if usual, strict := highest("standard"), highest("strict"); usual == 0 || strict < 1.49*usual || strict > 1.51*usual {
		t.Errorf("the score is %.2f, and %.2f with watch = strict", usual, strict)
	}
}

// TestStrangersAtOnceAreBraked: many sessions at one moment send no more than one
// after the other.
func TestStrangersAtOnceAreBraked(t *testing.T) {
	r := newRig(t, nil)
	const from = "a@x.example"
	r.ordinary("shop", "", from, 70, 5, "b@x.example")
	out := 0
	for i := range 200 {
		wait, _ := r.Brake(fmt.Sprint("t", i), "shop", "", from, mail.RecipientOf(fmt.Sprintf("new%d@z.example", i)))
		if wait == 0 {
			out++
		} else if wait != crowdWait {
			t.Fatalf("waits %v", wait)
		}
	}
	if out > 9 {
		t.Errorf("%d at one moment", out)
	}
	for i := range 200 {
		ev := event("shop", "", from)
		ev.ID, ev.Outcome, ev.Stage = fmt.Sprint("t", i), mail.Aborted, "rcpt"
		r.Observe(ev)
	}
	if wait, _ := r.Brake("later", "shop", "", from, "guest@z.example"); wait != 0 {
		t.Errorf("nothing is on its way, and it waits %v", wait)
	}
	for i := range 20 { // of one message: what was invited together goes together
		if wait, _ := r.Brake("one", "shop", "", "b@x.example", mail.RecipientOf(fmt.Sprintf("guest%d@z.example", i))); wait != 0 {
			t.Errorf("recipient %d of one message waits", i)
		}
	}
}

// TestReleaseEndsTheBrake, and what led to it is forgiven.
func TestReleaseEndsTheBrake(t *testing.T) {
	r := newRig(t, nil)
	const from = "a@x.example"
	r.ordinary("shop", "", from, 70, 5, "b@x.example")
	if out, _ := r.burst("", from, 20); out == 20 {
		t.Fatal("not braked")
	}
	if s, err := r.Release(Order{Scope: Sender, Name: from, By: "root"}); err != nil || s.Level != Normal {
		t.Fatal(s, err)
	}
	if out, _ := r.burst("", from, 4); out != 4 {
		t.Errorf("%d of 4 after the release", out)
	}
}

// TestAlarmComesUnderTheBrake: who goes on as far as the brake lets him is found.
func TestAlarmComesUnderTheBrake(t *testing.T) {
	r := newRig(t, nil)
	const from = "a@x.example"
	r.ordinary("shop", "", from, 70, 5, "b@x.example")
	total := 0
	for range 48 {
		out, _ := r.burst("", from, 60)
		total += out
		if r.state(Sender, from) >= Alerted {
			break
		}
	}
	if is := r.state(Sender, from); is < Alerted || total > 60 {
		t.Errorf("is %s after %d strangers", is, total)
	}
}

// TestWaitOfSenderAndUserIsTrue: where a sender and its user are braked, the reply names the
// longer of both times, a recipient that waits uses the pace of neither, and who comes
// again in time gets in.
func TestWaitOfSenderAndUserIsTrue(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Brake, c.Volume.Alert, c.Volume.Throttle, c.Volume.Suspend = 0.1, 2, 0, 0 })
	senders := []string{"a@x.example", "b@x.example", "c@x.example"}
	r.ordinary("shop", "anna", senders[0], 70, 5, senders[1:]...)
	for i := range 12 {
		r.at = r.at.Add(time.Second)
		ev := event("shop", "anna", senders[i%3])
		to(ev, fmt.Sprintf("stranger%d@z.example", i), false)
		r.Observe(ev)
	}
	for _, k := range []detector.Who{{Scope: User, Name: "anna"}, {Scope: UserSender, Name: "anna a@x.example"}, {Scope: UserSender, Name: "anna b@x.example"}} {
		if r.state(k.Scope, k.Name) != Braked {
			t.Fatalf("%v is %v", k, r.state(k.Scope, k.Name))
		}
	}
	for i := range 12 {
		from, rcpt := senders[i%2], fmt.Sprintf("late%d@z.example", i)
		wait := r.write("anna", from, rcpt, time.Second)
		if wait == 0 {
			continue
		}
		if again := r.write("anna", from, rcpt, wait); again != 0 {
			t.Errorf("%d: %s was told %v and waits %v once more", i, from, wait, again)
		}
	}
}
