package outlier

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// behind is an event of a submitter behind the client mta.
func behind(submitter, from string) *mail.Event {
	ev := event("mta", "", from)
	if submitter != "" {
		ev.Submitter = "mta/" + submitter
	}
	return ev
}

// TestOneStolenMailboxBehindAnMTAIsHeldAlone: whatever address the thief writes, the
// mailbox is held and neither the others nor the client; and the owner of the address
// goes on.
func TestOneStolenMailboxBehindAnMTAIsHeldAlone(t *testing.T) {
	r := newRig(t, nil)
	for day := range 40 {
		for box := range 20 {
			for i := range 4 {
				r.at = r.at.Add(time.Minute)
				ev := behind(fmt.Sprint("box", box), fmt.Sprintf("box%d@x.example", box))
				to(ev, fmt.Sprintf("friend%d.%d@y.example", box, (day+i)%9), false)
				r.Observe(ev)
			}
		}
		r.at = r.at.Add(24*time.Hour - 80*time.Minute)
	}
	r.changes = nil
	out := 0
	for i := range 200 {
		r.at = r.at.Add(5 * time.Second)
		id := fmt.Sprint("t", i)
		if r.Judge("mta", "", "box3@x.example").Refuse() {
			t.Fatal("the owner of the address is held")
		}
		if r.Admit(id, "mta", "", "", "", "box3@x.example", 1).Refuse() {
			t.Fatal("the client is held before the header tells who it is")
		}
		if v := r.Admit(id, "mta", "", "mta/box7", "", "box3@x.example", 1); v.Refuse() {
			ev := behind("box7", "box3@x.example")
			ev.ID, ev.Rule, ev.Stage = id, "outlier submitter", "forward"
			ev.To = []mail.RecipientEvent{{Address: fmt.Sprintf("v%d@z.example", i), Outcome: mail.Deferred, Rule: "outlier submitter", Code: 450}}
			r.Observe(ev)
			continue
		}
		ev := behind("box7", "box3@x.example")
		ev.ID = id
		to(ev, fmt.Sprintf("v%d@z.example", i), i%7 == 0)
		r.Observe(ev)
		out++
	}
	if out > 60 {
		t.Errorf("%d messages went out", out)
	}
	for box := range 20 {
		who := fmt.Sprint("mta/box", box)
		if held := r.Admit("q"+who, "mta", "", who, "", mail.Identity(fmt.Sprintf("box%d@x.example", box)), 1).Refuse(); held && box != 7 {
			t.Errorf("%s is held, too", who)
		}
	}
	if r.state(Client, "mta") >= Throttled {
		t.Error("the client is held")
	}
	if len(r.flights.of) > 20 || len(r.admitted) > 20 {
		t.Errorf("%d flights, %d admitted are left", len(r.flights.of), len(r.admitted))
	}
}

// TestSubmitterIsNoUser: of the same name.
func TestSubmitterIsNoUser(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.Suspend(Order{Scope: Mailbox, Name: "mta/Anna@X.example", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Suspend(Order{Scope: Mailbox, Name: "anna", Reason: "test"}); err == nil {
		t.Error("a submitter without a client was suspended")
	}
	for _, row := range []struct {
		user, submitter string
		held            bool
	}{{"", "mta/anna@x.example", true}, {"smarthost", "mta/anna@x.example", true}, {"mta/anna@x.example", "", false}, {"anna@x.example", "", false}, {"", "other/anna@x.example", false}, {"", "", false}} {
		if got := r.Admit("i", "mta", row.user, row.submitter, "", "a@x.example", 1); got.Refuse() != row.held {
			t.Errorf("%+v: %+v", row, got)
		}
	}
	scope, name, err := r.FindTarget("submitter:mta/ANNA@x.example")
	if err != nil || scope != Mailbox || name != "mta/anna@x.example" {
		t.Errorf("%s %s %v", scope, name, err)
	}
	if _, err := r.Suspend(Order{Scope: User, Name: "smarthost"}); err != nil {
		t.Fatal(err)
	}
	if v := r.Admit("j", "mta", "smarthost", "mta/bob", "", "a@x.example", 1); v.Scope != User {
		t.Errorf("the user of the MTA is suspended, and its submitters are not held: %+v", v)
	}
}

// TestInventedSubmittersAreTheClientsOutlier, and take no memory without end.
func TestInventedSubmittersAreTheClientsOutlier(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSenders = 5000 })
	for day := range 30 {
		for i := range 20 {
			r.at = r.at.Add(time.Minute)
			ev := behind(fmt.Sprint("box", i), fmt.Sprintf("box%d@x.example", i))
			to(ev, fmt.Sprintf("friend%d@y.example", (day+i)%40), false)
			r.Observe(ev)
		}
		r.at = r.at.Add(24*time.Hour - 20*time.Minute)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	invent := func(from, n int) {
		for i := from; i < from+n; i++ {
			r.at = r.at.Add(10 * time.Millisecond)
			ev := behind(fmt.Sprint("invented", i), "box1@x.example")
			ev.ID = fmt.Sprint("i", i)
			to(ev, fmt.Sprintf("v%d@z.example", i), false)
			r.Observe(ev)
		}
	}
	invent(0, 10_000)
	before := heap()
	invent(10_000, 20_000)
	if after := heap(); after > before+2<<20 {
		t.Errorf("20,000 further names take %d KiB", (after-before)>>10)
	}
	if r.state(Client, "mta") < Alerted {
		t.Error("the client is no outlier")
	}
}

// TestVerdictsSuspend: five messages in which a scanner found spam, within ten minutes.
func TestVerdictsSuspend(t *testing.T) {
	spam := func(r *rig, client, submitter, from string, n int, gap time.Duration) {
		for range n {
			r.at = r.at.Add(gap)
			ev := event(client, "", from)
			ev.Submitter = submitter
			ev.Stage, ev.Outcome, ev.Rule = mail.StageScan, mail.Rejected, "scanner rspamd"
			ev.Scans = []mail.ScanEvent{{Scanner: "rspamd", Verdict: "spam"}}
			ev.To = []mail.RecipientEvent{{Address: "b@y.example", Outcome: mail.Rejected, Rule: "scanner rspamd", Code: 550}}
			r.Observe(ev)
		}
	}
	rule := func(c *Config) {
		c.Spam = Verdicts{5, 10 * time.Minute}
		c.Watch = map[string]string{"strict": "strict", "none": "none", "own": "calm"}
		c.Policy = map[string]Policy{"calm": {Sensitivity: 1, Mode: Shadow}}
	}
	r := newRig(t, rule)
	spam(r, "mta", "mta/anna", "a@x.example", 4, time.Minute)
	spam(r, "mta", "mta/anna", "a@x.example", 1, 9*time.Minute) // the first has left the window
	if r.state(Mailbox, "mta/anna") != Normal {
		t.Fatal("suspended by four in ten minutes")
	}
	spam(r, "mta", "mta/anna", "a@x.example", 4, time.Minute)
	if r.state(Mailbox, "mta/anna") != Suspended || r.state(Client, "mta") >= Throttled {
		t.Errorf("%v", r.state(Mailbox, "mta/anna"))
	}
	if last := r.changes[len(r.changes)-1]; last.Rule != RuleSpam || !strings.Contains(last.Reason, "5 messages in 10m") {
		t.Errorf("%+v", last)
	}
	spam(r, "strict", "", "b@x.example", 2, time.Minute)
	if r.state(Sender, "b@x.example") != Suspended {
		t.Error("strict is not")
	}
	spam(r, "none", "", "c@x.example", 20, time.Second)
	if r.state(Sender, "c@x.example") != Normal {
		t.Error("none is watched")
	}
	spam(r, "own", "", "d@x.example", 5, time.Second)
	if s := r.states[detector.Who{Scope: Sender, Name: "d@x.example"}]; s == nil || !s.Shadow || s.Level != Suspended {
		t.Errorf("a table of one's own: %+v", s)
	}
	// Submitters whom one client invents make nobody else's count be forgotten, of other
	// clients and of the same one.
	spam(r, "other", "", "e@x.example", 4, time.Second)
	spam(r, "mta", "mta/bob", "e@y.example", 4, time.Second)
	for i := range 3 * maxFound {
		spam(r, "mta", fmt.Sprint("mta/x", i), "a@x.example", 1, time.Millisecond)
	}
	if n := r.Watch.found.times.Len(); n > maxFound {
		t.Errorf("%d are remembered", n)
	}
	spam(r, "other", "", "e@x.example", 1, time.Second)
	spam(r, "mta", "mta/bob", "e@y.example", 1, time.Second)
	if r.state(Sender, "e@x.example") != Suspended || r.state(Mailbox, "mta/bob") != Suspended {
		t.Error("four verdicts were pushed out by those on invented submitters")
	}
}

func TestFormsOfVerdicts(t *testing.T) {
	for text, ok := range map[string]bool{"5/10m": true, "1/1m": true, "1000/24h": true, "": true, "0/1m": false, "5": false, "5/10s": false, "5/2d": false, "x/1m": false, "-1/1m": false} {
		var v Verdicts
		if err := v.UnmarshalText([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if b, _ := v.MarshalText(); ok && string(b) != text && text != "1000/24h" {
			t.Errorf("%q is written %q", text, b)
		}
	}
	for page, ok := range map[string]bool{"": true, "https://example.org/help": true, "ftp://x": false, "https://x/ y": false, "javascript:x": false, "https://": false, "https://x/" + strings.Repeat("a", 200): false, "https://x/é": false} {
		if (checkHelp(page) == "") != ok {
			t.Errorf("%q: %q", page, checkHelp(page))
		}
	}
}

// TestADecoySuspends, and frames nobody.
func TestADecoySuspends(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decoys")
	if err := os.WriteFile(file, []byte("# one in each book\n\nzz.decoy@x.example # of the staff list\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, user, submitter, from, automatic string
		who                                    detector.Who
		want                                   Level
	}{
		{"a user", "anna", "", "anna@x.example", "", detector.Who{Scope: User, Name: "anna"}, Suspended},
		{"a submitter", "", "mta/anna", "anna@x.example", "", detector.Who{Scope: Mailbox, Name: "mta/anna"}, Suspended},
		{"a vacation program", "anna", "", "anna@x.example", "reply", detector.Who{Scope: User, Name: "anna"}, Alerted},
		{"a report", "anna", "", "<>", "", detector.Who{Scope: User, Name: "anna"}, Alerted},
		{"an application", "", "", "app@x.example", "", detector.Who{Scope: Sender, Name: "app@x.example"}, Alerted},
		{"a shared sender", "anna", "", "info@x.example", "", detector.Who{Scope: User, Name: "anna"}, Alerted},
	} {
		r := newRig(t, func(c *Config) { c.Decoys = []string{file} })
		for _, user := range []string{"bob", "carl"} {
			ev := event("mta", user, "info@x.example")
			to(ev, "friend@y.example", false)
			r.Observe(ev)
		}
		ev := event("mta", row.user, row.from)
		ev.Submitter, ev.Automatic, ev.Authors = row.submitter, row.automatic, []string{row.from}
		to(ev, "friend@y.example", false)
		r.Observe(ev)
		if len(r.changes) > 0 {
			t.Fatalf("%s: %+v", row.name, r.changes)
		}
		to(ev, "ZZ.decoy@X.example", false)
		ev.To[1].Address = "ZZ.decoy@x.example"
		r.Observe(ev)
		if got := r.state(row.who.Scope, row.who.Name); got != row.want || len(r.changes) != 1 || r.changes[0].Rule != RuleDecoy {
			t.Errorf("%s: %v, %+v", row.name, got, r.changes)
		}
	}
	r := newRig(t, func(c *Config) { c.Decoys = []string{file} })
	ev := event("mta", "anna", "anna@x.example")
	ev.Rule = "senders" // anna may no longer send as that
	to(ev, "zz.decoy@x.example", false)
	r.Observe(ev)
	if len(r.changes) != 1 || r.changes[0].Level != Alerted || !strings.HasSuffix(r.changes[0].Reason, "a sender that is not its own") {
		t.Errorf("%+v", r.changes)
	}
	var cfg Config
	cfg.SetDefaults()
	os.WriteFile(file, []byte("x@y.example\nnot one\n"), 0o600)
	cfg.Decoys = []string{file}
	if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), `:2: "not one" is not an address`) {
		t.Error(err)
	}
}

// TestDecoyFiles are taken as a whole or not at all.
func TestDecoyFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decoys")
	for text, want := range map[string]string{
		"\ufeffzz@x.example\r\n":                                    "",
		strings.Repeat("# none\n", maxDecoyFile/7) + "zz@x.example": "more than 4194304 octets",
		"<>\n": ":1: ",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := readDecoys([]string{file}, nil)
		if want == "" && (err != nil || !all["zz@x.example"]) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: %v, %v", text, all, err)
		}
	}
}

// TestDecoyOfUnreadMailAlerts, whatever ended it: a vacation program's answer is automatic
// by its header, which nobody has seen where the decoy was refused at RCPT.
func TestDecoyOfUnreadMailAlerts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decoys")
	if err := os.WriteFile(file, []byte("zz.decoy@x.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct{ outcome, rule string }{
		"refused by the upstream": {mail.Rejected, "upstream"},
		"a header of bad form":    {mail.Rejected, "header"},
		"the client has left":     {mail.Aborted, "client"},
	} {
		r := newRig(t, func(c *Config) { c.Decoys = []string{file} })
		ev := event("people", "anna", "anna@x.example")
		to(ev, "zz.decoy@x.example", true)
		ev.Outcome, ev.Rule = row.outcome, row.rule
		r.Observe(ev)
		if len(r.changes) != 1 || r.changes[0].Level != Alerted || !strings.Contains(r.changes[0].Reason, "before its header was there") {
			t.Errorf("%s: %+v", name, r.changes)
		}
	}
}
