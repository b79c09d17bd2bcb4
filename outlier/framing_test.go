package outlier

import (
	"fmt"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// TestUnnamedMailHoldsNobodyKnown: what a client without users sends in the boss's name, and
// what a mailbox behind an MTA has refused before its header was there, holds such mail
// alone; the boss's own mail goes on. An operator holds all of it.
func TestUnnamedMailHoldsNobodyKnown(t *testing.T) {
	const boss = "boss@x.example"
	for name, send := range map[string]func(*rig){
		"refused recipients": func(r *rig) {
			for i := range 60 {
				r.at = r.at.Add(time.Second)
				ev := event("shop", "", boss)
				to(ev, fmt.Sprintf("nobody%d@y.example", i), true)
				r.Observe(ev)
			}
		},
		"spam": func(r *rig) {
			for range 5 {
				ev := event("shop", "", boss)
				ev.Stage, ev.Outcome, ev.Rule, ev.Scans = mail.StageScan, mail.Rejected, "scanner a", []mail.ScanEvent{{Scanner: "a", Verdict: "spam"}}
				r.Observe(ev)
			}
		},
	} {
		r := newRig(t, func(c *Config) { c.Spam = Verdicts{5, 10 * time.Minute} })
		r.ordinary("people", "boss", boss, 30, 5)
		send(r)
		v := r.Judge("shop", "", boss)
		if v.Level != Suspended || !v.Unnamed || r.state(Sender, boss) != Suspended {
			t.Fatalf("%s: without a user %+v", name, v)
		}
		for who, v := range map[string]Judgment{
			"the user":      r.Judge("people", "boss", boss),
			"the user's":    r.Admit("1", "people", "boss", "", "main", boss, 1),
			"the submitter": r.Admit("2", "mta", "", "mta/boss", "main", boss, 1),
		} {
			if v.Refuse() {
				t.Errorf("%s: %s is held: %+v", name, who, v)
			}
		}
		for _, row := range [...]detector.Who{{Scope: UserSender, Name: "boss " + boss}, {Scope: Sender, Name: boss}} {
			if d, err := r.Show(row.Scope, row.Name); err != nil || (d.State == Suspended) != (row.Scope == Sender) {
				t.Errorf("%s: %v shown as %+v, %v", name, row, d, err)
			}
		}
		if _, err := r.Suspend(Order{Scope: Sender, Name: boss, Reason: "stolen"}); err != nil {
			t.Fatal(err)
		}
		if v := r.Judge("people", "boss", boss); v.Level != Suspended || v.Unnamed {
			t.Errorf("%s: an operator's suspension lets the user through: %+v", name, v)
		}
	}
}

// TestNobodyHidesBehindANameAlone: an operator who asks for a sender is shown the user that is
// held, although somebody has sent in that name without one.
func TestNobodyHidesBehindANameAlone(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("people", "anna", "a@x.example", 30, 5)
	r.ordinary("shop", "", "a@x.example", 1, 1)
	if d, err := r.Show(Sender, "a@x.example"); err != nil || d.Scope != Sender {
		t.Errorf("%+v, %v", d, err)
	}
	r.Suspend(Order{Scope: UserSender, Name: "anna a@x.example", Reason: "stolen"})
	if d, err := r.Show(Sender, "a@x.example"); err != nil || d.Scope != UserSender || d.State != Suspended {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestAbortedMailIsItsSenders: whoever has recipients refused and leaves before the data
// is blamed, and not the client with all of its other senders.
func TestAbortedMailIsItsSenders(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "", "good@x.example", 30, 5)
	for i := range 8 {
		ev := event("shop", "", "mallory@x.example")
		ev.Outcome, ev.Rule, ev.Stage = mail.Aborted, "client", mail.StageRcpt
		for k := range 9 {
			to(ev, fmt.Sprintf("nobody%d@y.example", 10*i+k), true)
		}
		r.Observe(ev)
	}
	if r.state(Sender, "mallory@x.example") != Suspended || r.state(Client, "shop") != Normal {
		t.Errorf("%+v", r.changes)
	}
}

// TestAnswersToStrangersSuspendNobody: a bounce goes to whom a stranger has named, and
// holds what he wrote. Neither its refusals nor verdicts on it stop a client, or the user
// as whom an MTA logs in.
func TestAnswersToStrangersSuspendNobody(t *testing.T) {
	for _, user := range []string{"", "mta"} {
		who := detector.PartyWho(user)
		if user == "" {
			who = detector.Who{Scope: Client, Name: "mta"}
		}
		r := newRig(t, func(c *Config) { c.Spam = Verdicts{5, 10 * time.Minute} })
		r.ordinary("mta", user, "a@x.example", 30, 20)
		for i := range 60 { // no more than null_sender_limit lets pass
			r.at = r.at.Add(3 * time.Minute)
			ev := event("mta", user, "<>")
			to(ev, fmt.Sprintf("forged%d@y.example", i), true)
			r.Observe(ev)
		}
		if len(r.changes) > 0 {
			t.Errorf("user %q: bounces to forged senders: %+v", user, r.changes)
		}
		ev := event("mta", user, "<>")
		to(ev, "victim@y.example", false)
		r.Observe(ev)
		if stranger, _ := r.Stranger("mta", "a@x.example", "victim@y.example"); !stranger {
			t.Error("a bounce makes known to whom a stranger has it sent")
		}
		for _, mark := range []struct{ from, automatic string }{{"<>", ""}, {"a@x.example", "reply"}} {
			for range 8 {
				ev := event("mta", user, mark.from)
				ev.Stage, ev.Outcome, ev.Rule, ev.Scans = mail.StageScan, mail.Rejected, "scanner a", []mail.ScanEvent{{Scanner: "a", Verdict: "spam"}}
				ev.Automatic = mark.automatic
				r.Observe(ev)
			}
		}
		if r.state(who.Scope, who.Name) > Alerted || r.state(Sender, "a@x.example") > Alerted {
			t.Errorf("user %q: spam in bounces and answers: %+v", user, r.changes)
		}
		if last := r.changes[len(r.changes)-1]; last.Rule != RuleSpam || last.Level != Alerted {
			t.Errorf("user %q: nobody is told: %+v", user, last)
		}
	}
}
