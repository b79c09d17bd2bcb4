package outlier

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

func TestLadderTakesItsStepsAndEachEnds(t *testing.T) {
	r := newRig(t, nil)
	const from = "a@x.example"
	r.ordinary("shop", "", from, 70, 5)
	if len(r.changes) > 0 {
		t.Fatalf("ordinary mail: %+v", r.changes)
	}
	out := r.send("shop", "", from, 200, time.Hour, 0)
	c, ok := r.said(Sender, from, Alerted)
	if !ok || c.From != Braked || c.Rule != RuleVolume || c.Cause != CauseRule || c.Score < 1 || !strings.Contains(c.Reason, "never seen before") {
		t.Errorf("alert %+v", c)
	}
	if c, ok = r.said(Sender, from, Throttled); !ok || c.From != Alerted || c.Score < 1.5 || !c.Until.Equal(r.at.Add(4*time.Hour)) && c.Until.After(r.at.Add(4*time.Hour)) {
		t.Errorf("throttle %+v", c)
	}
	if out > 60 {
		t.Errorf("%d messages went out before it was throttled", out)
	}
	v := r.Judge("shop", "", from)
	if !v.Refuse() || !v.Pace() || v.Scope != Sender || v.Name != from || v.Left(r.at) <= 0 || v.Left(r.at) > 4*time.Hour {
		t.Errorf("verdict %+v, left %v", v, v.Left(r.at))
	}
	if v := r.Judge("shop", "", "b@x.example"); v.Refuse() {
		t.Errorf("another sender: %+v", v)
	}
	r.at = r.at.Add(4*time.Hour + time.Second)
	r.tick()
	if c, ok = r.said(Sender, from, Normal); !ok || c.Cause != CauseExpired || r.state(Sender, from) != Normal {
		t.Errorf("end %+v", c)
	}
	// A second time within a week suspends, and each suspension is longer.
	for _, want := range []time.Duration{time.Hour, 4 * time.Hour, 0} {
		r.send("shop", "", from, 200, time.Hour, 0)
		if c, ok = r.said(Sender, from, Suspended); !ok {
			t.Fatalf("no suspension for %v; %+v", want, r.changes)
		}
		v := r.Judge("shop", "", from)
		if !v.Refuse() || v.Pace() || v.Until.IsZero() != (want == 0) {
			t.Errorf("verdict %+v, want %v", v, want)
		}
		if want == 0 {
			break
		}
		if d := c.Until.Sub(c.Since); d != want {
			t.Errorf("suspended for %v, want %v", d, want)
		}
		r.at = c.Until.Add(time.Second)
	}
	r.at = r.at.Add(1000 * time.Hour)
	if v := r.Judge("shop", "", from); !v.Refuse() || v.Left(r.at) != 0 {
		t.Errorf("verdict %+v, want suspended until released", v)
	}
	if _, err := r.Release(Order{Scope: Sender, Name: from, By: "ops", Reason: "talked to them"}); err != nil {
		t.Fatal(err)
	}
	if v := r.Judge("shop", "", from); v.Refuse() {
		t.Errorf("verdict %+v after release", v)
	}
	if c, ok = r.said(Sender, from, Normal); !ok || c.Cause != CauseOperator || c.By != "ops" || c.Reason != "talked to them" {
		t.Errorf("release %+v", c)
	}
}

func TestRefusedRecipientsSuspendAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "", "a@x.example", 70, 5, "b@x.example")
	out := r.send("shop", "", "a@x.example", 200, time.Hour, 20)
	if c, ok := r.said(Sender, "a@x.example", Suspended); !ok || !strings.Contains(c.Reason, "% refused") || out > 40 {
		t.Errorf("%d out, %+v", out, c)
	}
}

// TestPlainRuleOnRefused: a sender for whom the volume is usual.
func TestPlainRuleOnRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		bad  int
		want Level
	}{{"2 in a hundred", 2, Normal}, {"7 in a hundred", 7, Alerted}, {"14 in a hundred", 14, Suspended}} {
		r := newRig(t, func(c *Config) { c.Volume = Thresholds{} })
		r.send("shop", "", "a@x.example", 200, time.Hour, row.bad)
		if got := r.state(Sender, "a@x.example"); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
		if row.want > Normal && r.changes[len(r.changes)-1].Rule != RuleRefused {
			t.Errorf("%s: %+v", row.name, r.changes)
		}
	}
	r := newRig(t, func(c *Config) { c.Volume = Thresholds{} })
	if r.send("shop", "", "a@x.example", 49, time.Hour, 50); r.state(Sender, "a@x.example") != Normal {
		t.Error("49 recipients were enough for the plain rule")
	}
}

func TestGreylistingAndReputationAreNotTheSendersFault(t *testing.T) {
	r := newRig(t, nil)
	for i := range 500 {
		r.at = r.at.Add(time.Second)
		ev := event("shop", "", "a@x.example")
		ev.To = []mail.RecipientEvent{{Address: fmt.Sprint(i, "@y.example"), Outcome: mail.Deferred, Rule: "upstream", Code: 451, Class: "greylisted"}}
		r.Observe(ev)
	}
	if got := r.state(Sender, "a@x.example"); got != Normal {
		t.Errorf("deferred mail: %v", got)
	}
	n := detector.Event{Sender: "a@x.example"}
	for _, row := range []struct {
		class, status string
		help          bool
	}{
		{"no-such-user", "5.1.1", true}, {"content-spam", "5.7.1", true}, {"listed-ip", "5.7.1", false},
		{"rate-limited-by-receiver", "5.7.1", false}, {"mailbox-full", "5.2.2", false}, {"other", "5.1.1", true}, {"ptr", "5.7.25", false},
	} {
		n.Recipients = nil
		r.rules.sort(&n, &mail.RecipientEvent{Outcome: mail.Rejected, Rule: "upstream", Code: 550, Class: mail.Class(row.class), Status: row.status}, false, r.hash)
		if len(n.Recipients) != 1 || n.Recipients[0].Refused != row.help {
			t.Errorf("%s counts as refused: %v", row.class, n.Recipients)
		}
	}
}

func TestShadowReportsAndDefersNothing(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"all":           func(c *Config) { c.Mode = Shadow },
		"of the client": func(c *Config) { c.ShadowClients = []string{"shop"} },
		"of the table":  func(c *Config) { c.Client = map[string]Expectation{"shop": {Mode: Shadow}} },
		"of the sender": func(c *Config) { c.Sender = map[string]Expectation{"a@x.example": {Mode: Shadow}} },
	} {
		r := newRig(t, change)
		r.ordinary("shop", "", "a@x.example", 70, 5, "b@x.example")
		if out := r.send("shop", "", "a@x.example", 300, time.Hour, 20); out != 300 {
			t.Errorf("%s: %d of 300 went out", name, out)
		}
		c, ok := r.said(Sender, "a@x.example", Suspended)
		if !ok || !c.Shadow {
			t.Errorf("%s: %+v", name, c)
		}
		rows, _ := r.List(Query{Match: "a@x"})
		if len(rows) != 1 || rows[0].Away < 100 || rows[0].Hour > 60 {
			t.Errorf("%s: what would have been deferred is not counted apart: %+v", name, rows)
		}
	}
}

func TestExemptIsNeverJudged(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"address":      func(c *Config) { c.ExemptSenders = []string{"a@X.example"} },
		"domain":       func(c *Config) { c.ExemptSenders = []string{"@x.example"} },
		"below domain": func(c *Config) { c.ExemptSenders = []string{"@*.example"} },
		"client":       func(c *Config) { c.ExemptClients = []string{"shop"} },
		"sender table": func(c *Config) {
			c.Sender = map[string]Expectation{"a@x.example": {Mode: Exempt}}
			c.Client = map[string]Expectation{"shop": {Mode: Exempt}}
		},
	} {
		r := newRig(t, change)
		if out := r.send("shop", "", "a@x.example", 2000, time.Hour, 30); out != 2000 || len(r.changes) > 0 {
			t.Errorf("%s: %d went out, %+v", name, out, r.changes)
		}
	}
}

func TestExpectedVolumePasses(t *testing.T) {
	expect := func(e Expectation) func(*Config) {
		return func(c *Config) { c.Sender = map[string]Expectation{"news@x.example": e} }
	}
	hundred := []Pace{{500, time.Hour}}
	for _, row := range []struct {
		name string
		e    Expectation
		out  int
		ok   bool
	}{
		{"declared", Expectation{Expected: hundred}, 500, true},
		{"far beyond", Expectation{Expected: hundred}, 5000, false},
		{"on its day", Expectation{Expected: hundred, Days: []Day{Day(time.Monday)}}, 500, true},
		{"on another day", Expectation{Expected: hundred, Days: []Day{Day(time.Tuesday)}}, 500, false},
		{"over 24 h, within one", Expectation{Expected: []Pace{{700, 24 * time.Hour}}}, 700, true},
		{"over 24 h, with a bound for the hour", Expectation{Expected: []Pace{{700, 24 * time.Hour}, {50, time.Hour}}}, 700, false},
		{"in its hours", Expectation{Expected: hundred, Hours: Hours{9, 11}}, 500, true},
		{"in other hours", Expectation{Expected: hundred, Hours: Hours{11, 9}}, 500, false},
	} {
		r := newRig(t, expect(row.e))
		if out := r.send("shop", "", "news@x.example", row.out, time.Hour, 0); (out == row.out) != row.ok {
			t.Errorf("%s: %d of %d went out; %+v", row.name, out, row.out, r.changes)
		}
	}
}

func TestClockStepsNeitherAlarmNorForgive(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "", "a@x.example", 70, 5)
	r.Suspend(Order{Scope: Sender, Name: "b@x.example", For: time.Hour, By: "ops"})
	before := r.at
	r.at = r.at.Add(-30 * 24 * time.Hour)
	if !r.Judge("shop", "", "b@x.example").Refuse() {
		t.Error("a step back ended a suspension")
	}
	r.changes = nil
	r.ordinary("shop", "", "a@x.example", 30, 5)
	if len(r.changes) > 0 && r.changes[0].Name == "a@x.example" {
		t.Errorf("ordinary mail after a step back: %+v", r.changes)
	}
	r.at = before.Add(2 * time.Hour)
	if v := r.Judge("shop", "", "b@x.example"); v.Refuse() {
		t.Errorf("verdict %+v", v)
	}
}

func TestMonotonicClockIgnoresSteps(t *testing.T) {
	start := time.Now()
	at := start
	c := newClock(func() time.Time { return at })
	at = start.Add(time.Hour) // keeps the monotonic reading
	if got := c.read().Sub(start.Round(0)); got != time.Hour {
		t.Errorf("an hour is %v", got)
	}
	c.notBefore(start.Round(0).Add(3 * time.Hour))
	at = start.Add(2 * time.Hour)
	if got := c.read().Sub(start.Round(0)); got != 4*time.Hour {
		t.Errorf("an hour after the end of an earlier run that was ahead: %v", got)
	}
}

// record is the record of recipients of a sender in a window.
func (r *rig) record(sender, window string) float64 {
	r.t.Helper()
	d, err := r.Show(Sender, sender)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, w := range d.Windows {
		if w.Kind == "sent" && w.Window == window {
			return w.Record
		}
	}
	r.t.Fatalf("no window %s", window)
	return 0
}

func TestRecordGrowsAtMostByItsShare(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Mode = Shadow
		c.Volume = Thresholds{Alert: 1}
		c.Refused = RefusedRule{MinRecipients: 50}
	})
	r.ordinary("shop", "", "a@x.example", 90, 5)
	usual := max(r.record("a@x.example", "24h"), 13.1) // which is granted to everybody
	for d := 1; d <= 10; d++ {
		r.send("shop", "", "a@x.example", 300, time.Hour, 0)
		r.at = r.at.Truncate(24 * time.Hour).Add(33 * time.Hour)
		limit := usual
		for range d + 1 {
			limit *= 1.1
		}
		if got := r.record("a@x.example", "24h"); got > limit+0.1 {
			t.Fatalf("day %d: record %v, more than %v", d, got, limit)
		}
	}
	if r.record("a@x.example", "24h") < usual {
		t.Error("the record does not grow at all")
	}
	// With an operator's word it is taken as it is.
	r.send("shop", "", "a@x.example", 300, time.Hour, 0)
	r.Release(Order{Scope: Sender, Name: "a@x.example", Learn: true, By: "ops"})
	if got := r.record("a@x.example", "1h"); got < 290 {
		t.Errorf("record %v after release with learn", got)
	}
	if r.changes = nil; r.send("shop", "", "a@x.example", 300, time.Hour, 0) != 300 || len(r.changes) > 0 {
		t.Errorf("what was learnt raises an alarm: %+v", r.changes)
	}
}

func TestRefusedFloodDoesNotRaiseTheRecord(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Mode = Shadow })
	r.ordinary("shop", "", "a@x.example", 40, 5)
	before := max(r.record("a@x.example", "24h"), 13.1)
	r.send("shop", "", "a@x.example", 500, time.Hour, 100)
	if r.state(Sender, "a@x.example") < Alerted {
		t.Error("a refused flood raises no alarm")
	}
	r.at = r.at.Add(48 * time.Hour)
	r.ordinary("shop", "", "a@x.example", 1, 5)
	if got := r.record("a@x.example", "24h"); got > before {
		t.Errorf("record %v, was %v", got, before)
	}
}

// TestExplainShowsTheSensitivityAsItWasWritten: 0.7 is no number that a computer has.
func TestExplainShowsTheSensitivityAsItWasWritten(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Sensitivity = 0.7 })
	r.ordinary("shop", "", "a@x.example", 70, 5)
	if a, err := r.explain(Sender, "a@x.example"); err != nil || !strings.Contains(a.String(), "x sensitivity 0.7;") {
		t.Errorf("%v, %v", a, err)
	}
}

func TestExplainShowsTheArithmetic(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "", "a@x.example", 70, 5)
	r.send("shop", "", "a@x.example", 200, time.Hour, 5)
	a, err := r.explain(Sender, "a@x.example")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, p := range a.Parts {
		want := min(p.Most, max(0, (p.Now-p.Usual)/(p.Width+p.Slope*p.Usual)))
		if d := p.Value - want; d > 0.01 || d < -0.01 {
			t.Errorf("%+v is not %v", p, want)
		}
		sum += p.Value
	}
	if l := a.Lasting; l == nil || a.Value < 1 || sum >= a.Value {
		t.Errorf("%+v adds up to %v, and the lasting record is no more than that", a, sum)
	} else if want := math.Log((l.Now+l.Pad)/(l.Usual+l.Pad)) / math.Log(l.Times); want > a.Value+0.01 || want < a.Value-0.01 {
		t.Errorf("%+v is not %v", l, want)
	}
	if text := a.String(); !strings.Contains(text, "an alarm from 1 on") || !strings.Contains(text, "(record ") || !strings.Contains(text, "against the most that") {
		t.Errorf("%s", text)
	}
	if j, err := json.Marshal(a); err != nil || !strings.Contains(a.String(), "/ ln 2.9 x") || !strings.Contains(string(j), `"times":2.9}`) {
		t.Errorf("%s\n%s, %v: constants are not as they were written", a.String(), j, err)
	}
	r.send("shop", "", "new@x.example", 30, time.Hour, 0)
	if n, err := r.explain(Sender, "new@x.example"); err != nil || n.Ease <= 1 || !strings.Contains(n.String(), "as it is new") {
		t.Errorf("of a new sender: %+v, %v", n, err)
	}
	d, err := r.Show(Sender, "a@x.example")
	if err != nil || len(d.History) != 14 || d.History[13] < 5 || len(d.Alarms) == 0 || len(d.Windows) != 9 || d.Messages < 350 {
		t.Errorf("%+v, %v", d, err)
	}
	if line := []rune(Sparkline(d.History)); len(line) != 14 || line[13] != '█' {
		t.Errorf("sparkline %q", string(line))
	}
	if _, err := r.Show(Sender, "nobody@x.example"); err == nil {
		t.Error("no error for an unknown sender")
	}
}

func TestListSortsAndFilters(t *testing.T) {
	r := newRig(t, nil)
	for i := range 5 {
		r.ordinary("shop", "", fmt.Sprintf("s%d@x.example", i), 1, 1+i)
	}
	r.Suspend(Order{Scope: Sender, Name: "s1@x.example", By: "ops", Reason: "asked to"})
	r.Suspend(Order{Scope: Sender, Name: "new@x.example", By: "ops"})
	rows, all := r.List(Query{Scope: Sender})
	if all != 6 || rows[0].State != Suspended || rows[1].State != Suspended || rows[2].State != Normal {
		t.Errorf("%d rows: %+v", all, rows)
	}
	if rows, _ := r.List(Query{State: Suspended, Match: "s1"}); len(rows) != 1 || rows[0].Reason != "asked to" {
		t.Errorf("%+v", rows)
	}
	if rows, all := r.List(Query{Scope: Sender, Sort: "name", Limit: 2}); all != 6 || len(rows) != 4 || rows[0].Name != "new@x.example" || rows[2].Name != "s1@x.example" {
		t.Errorf("%+v", rows)
	}
	// All scopes where none is named, and what is suspended above all bounds.
	r.Suspend(Order{Scope: Client, Name: "shop", By: "ops"})
	r.Suspend(Order{Scope: User, Name: "crm", By: "ops"})
	if rows, all := r.List(Query{Limit: 1}); all != 8 || len(rows) != 5 || rows[3].State != Suspended || rows[4].State != Normal {
		t.Errorf("%d rows: %+v", all, rows)
	}
	for in, want := range map[string][2]string{
		"a@X.Example": {Sender, "a@x.example"}, "client:shop": {Client, "shop"}, "shop": {Client, "shop"}, "user:shop": {User, "shop"},
	} {
		if scope, name, err := r.FindTarget(in); err != nil || scope != want[0] || name != want[1] {
			t.Errorf("%q is %s %s, %v", in, scope, name, err)
		}
	}
	if _, _, err := r.FindTarget("nothing"); err == nil {
		t.Error("no error for an unknown name")
	}
	if _, _, err := r.FindTarget("submitter:anna"); err == nil || !strings.Contains(err.Error(), "write submitter:CLIENT/NAME") {
		t.Errorf("a submitter of no client: %v", err)
	}
}

func TestNullSenderBelongsToTheClient(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Mode = Shadow })
	r.send("shop", "", "<>", 50, time.Hour, 0)
	if rows, all := r.List(Query{Scope: Sender}); all != 0 {
		t.Errorf("%+v", rows)
	}
	if rows, _ := r.List(Query{Scope: Client}); len(rows) != 1 || rows[0].Hour != 50 {
		t.Errorf("%+v", rows)
	}
}

func TestBulkStreamsCountForTheirSenderOnly(t *testing.T) {
	r := newRig(t, func(c *Config) { c.BulkStreams = []string{"marketing"}; c.Mode = Shadow })
	for i := range 500 {
		ev := event("shop", "", "news@x.example")
		ev.Stream = "marketing"
		to(ev, fmt.Sprint(i, "@y.example"), false)
		r.Observe(ev)
	}
	if rows, _ := r.List(Query{Scope: Client}); len(rows) != 0 {
		t.Errorf("%+v", rows)
	}
}

func TestSetConfigKeepsCounts(t *testing.T) {
	r := newRig(t, nil)
	r.send("shop", "", "a@x.example", 10, time.Hour, 0)
	var cfg Config
	cfg.SetDefaults()
	cfg.Sensitivity = 10
	if err := r.SetConfig(cfg); err != nil {
		t.Fatal(err)
	}
	if r.send("shop", "", "a@x.example", 2, time.Minute, 0); r.state(Sender, "a@x.example") < Alerted {
		t.Error("the new sensitivity is not in force, or the counts are gone")
	}
}

func TestEachStepCanBeSwitchedOnAndOff(t *testing.T) {
	for _, row := range []struct {
		name string
		l    Thresholds
		want []Level
	}{
		{"observe only", Thresholds{Observe: 0.5}, []Level{Observed}},
		{"observe, then alert", Thresholds{Observe: 0.5, Alert: 1}, []Level{Observed, Alerted}},
		{"no throttle", Thresholds{Alert: 1, Suspend: 3}, []Level{Alerted, Suspended}},
		{"suspend at once", Thresholds{Suspend: 1}, []Level{Suspended}},
		{"throttle without an end", Thresholds{Throttle: 1.5}, []Level{Throttled}},
		{"nothing", Thresholds{}, nil},
	} {
		r := newRig(t, func(c *Config) {
			c.Brake, c.Volume, c.Names, c.Refused = 0, row.l, Thresholds{}, RefusedRule{MinRecipients: 50}
		})
		r.ordinary("shop", "", "a@x.example", 70, 5)
		r.send("shop", "", "a@x.example", 400, time.Hour, 0)
		var got []Level
		for _, c := range r.changes {
			if c.Scope == Sender {
				got = append(got, c.Level)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestAlertEndsAfterItsCause(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Volume = Thresholds{Alert: 1} })
	r.ordinary("shop", "", "a@x.example", 70, 5)
	r.send("shop", "", "a@x.example", 100, time.Hour, 0)
	last := r.at
	r.at = last.Add(3*time.Hour + 50*time.Minute)
	r.tick()
	if r.state(Sender, "a@x.example") != Alerted {
		t.Error("the alert ended before its time")
	}
	r.at = last.Add(4*time.Hour + time.Minute)
	r.tick()
	if r.state(Sender, "a@x.example") != Normal {
		t.Error("the alert stands after its time")
	}
}

// found is mail to a new recipient in which a scanner found something.
func (r *rig) found(user, from, verdict string, shadow bool) *mail.Event {
	r.next++
	ev := event("shop", user, from)
	ev.Stage, ev.Outcome, ev.Rule = mail.StageScan, mail.Rejected, "scanner av"
	ev.Scans = []mail.ScanEvent{{Scanner: "av", Verdict: verdict, Shadow: shadow}}
	ev.To = []mail.RecipientEvent{{Address: fmt.Sprintf("new%d@y.example", r.next), Outcome: mail.Rejected, Code: 550, Status: "5.7.1", Rule: "scanner av"}}
	if shadow {
		ev.Stage, ev.Outcome, ev.Rule = mail.StageForward, mail.Relayed, "upstream"
		ev.To[0] = mail.RecipientEvent{Address: ev.To[0].Address, Outcome: mail.Relayed, Rule: "upstream", Code: 250}
	}
	return ev
}

func TestWhatScannersFindCountsAsRefused(t *testing.T) {
	for _, c := range []struct {
		verdict string
		shadow  bool
		counts  bool
	}{{"virus", false, true}, {"spam", false, true}, {"policy", false, false}, {"unscannable", false, false}, {"virus", true, false}} {
		r := newRig(t, nil)
		r.ordinary("shop", "anna", "a@x.example", 70, 5)
		n := 0
		for ; n < 10; n++ {
			r.at = r.at.Add(time.Minute)
			r.Observe(r.found("anna", "a@x.example", c.verdict, c.shadow))
		}
		d, err := r.Show(User, "anna")
		if err != nil {
			t.Fatal(err)
		}
		got := -1.0
		for _, w := range d.Windows {
			if w.Kind == "refused" && w.Window == "24h" {
				got = w.Now
			}
		}
		if got > 0 != c.counts || c.counts && got != 10 {
			t.Errorf("%s, shadow %v: %v of 10 count as refused", c.verdict, c.shadow, got)
		}
		for ; n < 60 && !r.Judge("shop", "anna", "a@x.example").Refuse(); n++ {
			r.Observe(r.found("anna", "a@x.example", c.verdict, c.shadow))
		}
		t.Logf("%s, shadow %v: %d let out, %v", c.verdict, c.shadow, n, r.states)
		if c.counts && r.state(UserSender, "anna a@x.example") < Throttled {
			t.Errorf("%s: nobody is held behind %d of them", c.verdict, n)
		}
	}
}
