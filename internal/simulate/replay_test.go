package simulate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
)

// story makes transactions.
type story struct {
	t   *testing.T
	all []*Transaction
}

// mail adds a relayed message to some recipients, which lasted a second.
func (s *story) mail(at int, from string, to ...string) *Transaction {
	x := &Transaction{
		Time: second(at).UnixNano(), End: second(at + 1).UnixNano(), Client: "shop", ClientIP: "192.0.2.1", Stream: "main", Upstream: "up",
		From: from, Stage: "forward", Outcome: mail.Relayed, Rule: "upstream", Code: 250, Size: 1000,
	}
	for _, r := range to {
		x.To = append(x.To, Recipient{Address: r, Outcome: mail.Relayed, Rule: "upstream"})
	}
	s.all = append(s.all, x)
	return x
}

// refused adds one whose recipients a limit refused.
func (s *story) refused(at int, limit, from string, to ...string) {
	x := s.mail(at, from, to...)
	x.Stage, x.Outcome, x.Rule, x.Code = "rcpt", mail.Deferred, "limit "+limit, 450
	for i := range x.To {
		x.To[i].Outcome, x.To[i].Rule = mail.Deferred, "limit "+limit
	}
}

func (s *story) replay(limits map[string]ratelimit.RuleConfig) *Report {
	s.t.Helper()
	r, err := New(Options{Limits: limits, Store: embedded.Config{Memory: 64 << 20}})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, x := range s.all {
		copied := *x
		copied.To = append([]Recipient(nil), x.To...)
		if err := r.Add(&copied); err != nil {
			s.t.Fatal(err)
		}
	}
	return r.Report()
}

func perSender(t *testing.T, messages ...string) map[string]ratelimit.RuleConfig {
	return map[string]ratelimit.RuleConfig{"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: numbers(t, messages...)}}
}

// words says what a report counted.
func (r *Report) words() string {
	return fmt.Sprintf("%d of %d with %d: then %d, now %d, newly %d, passed %d, retries %d",
		r.Replayed, r.Transactions, r.Recipients, r.RefusedThen, r.RefusedNow, r.Refused, r.Passed, r.Retries)
}

func expect(t *testing.T, r *Report, want string) {
	t.Helper()
	if got := r.words(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReplayFindsWhatWouldBeRefused(t *testing.T) {
	s := &story{t: t}
	for i := range 5 {
		s.mail(10*i, "a@example.org", "r@x.example", "s@x.example")
	}
	s.mail(60, "b@example.org", "r@x.example")
	s.mail(3605, "a@example.org", "r@x.example") // the first has left the window
	r := s.replay(perSender(t, "3/1h"))
	expect(t, r, "7 of 7 with 12: then 0, now 4, newly 4, passed 0, retries 0")
	l := r.Limits[0]
	if l.Refused != 4 || l.New != 4 || len(l.First) != 1 || !l.First[0].Time.Equal(second(30)) || l.First[0].Key != "sender=a@example.org" || l.First[0].Max != 3 {
		t.Errorf("limit %+v", l)
	}
	if p := l.Windows[0]; p.Window != "1h" || len(p.Top) != 2 || p.Top[0].Used != 3 || p.Top[0].Max != 3 || !p.Top[0].Time.Equal(second(20)) || p.Top[1].Key != "sender=b@example.org" {
		t.Errorf("window %+v", p)
	}
	if len(r.Senders) != 1 || r.Senders[0].Refused != 4 || r.Senders[0].Sender != "a@example.org" || r.Senders[0].Limits[0] != "sender" {
		t.Errorf("senders %+v", r.Senders)
	}
	if !r.From.Equal(start) || !r.To.Equal(second(3606)) {
		t.Errorf("from %s to %s", r.From, r.To)
	}
}

func TestReplayGivesBackWhatWasDeferred(t *testing.T) {
	s := &story{t: t}
	deferred := func(at int) {
		x := s.mail(at, "a@example.org", "r@x.example")
		x.Outcome, x.Code, x.To[0].Outcome = mail.Deferred, 451, mail.Deferred
		x.End = second(at + 5).UnixNano()
	}
	deferred(0)
	deferred(10)
	s.mail(20, "a@example.org", "r@x.example")
	expect(t, s.replay(perSender(t, "1/1h")), "3 of 3 with 3: then 0, now 0, newly 0, passed 0, retries 0")

	s = &story{t: t}
	deferred(0) // is under way until 5
	s.mail(3, "a@example.org", "r@x.example")
	s.mail(6, "a@example.org", "r@x.example")
	expect(t, s.replay(perSender(t, "1/1h")), "3 of 3 with 3: then 0, now 1, newly 1, passed 0, retries 0")

	s = &story{t: t}
	x := s.mail(0, "a@example.org", "r@x.example") // refused for good: stays charged
	x.Outcome, x.Code, x.To[0].Outcome = mail.Rejected, 550, mail.Rejected
	s.mail(6, "a@example.org", "r@x.example")
	expect(t, s.replay(perSender(t, "1/1h")), "2 of 2 with 2: then 0, now 1, newly 1, passed 0, retries 0")
}

func TestReplayLetsThroughAndCountsRetriesOnce(t *testing.T) {
	s := &story{t: t}
	for i := range 3 {
		s.mail(i, "a@example.org", fmt.Sprintf("r%d@x.example", i))
	}
	for i := range 10 { // one message, tried until it passed
		s.refused(10+i*60, "old", "a@example.org", "late@x.example")
	}
	s.mail(3700, "a@example.org", "late@x.example")
	s.mail(3800, "a@example.org", "late@x.example") // another one
	r := s.replay(perSender(t, "5/24h"))
	expect(t, r, "5 of 15 with 5: then 10, now 0, newly 0, passed 1, retries 10")
	if len(r.Were) != 1 || r.Were[0] != (Were{Name: "old", Refused: 10, Passed: 1}) {
		t.Errorf("limits of then: %+v", r.Were)
	}
	// Under the same number as then nothing changes.
	expect(t, s.replay(perSender(t, "3/1h")), "15 of 15 with 15: then 10, now 10, newly 0, passed 0, retries 0")
	// A retry that comes after a day is another message.
	s = &story{t: t}
	s.refused(0, "old", "a@example.org", "r@x.example")
	s.mail(24*3600, "a@example.org", "r@x.example")
	expect(t, s.replay(perSender(t, "5/1h")), "2 of 2 with 2: then 1, now 0, newly 0, passed 1, retries 0")
}

func TestReplayLeavesOtherRefusalsAlone(t *testing.T) {
	s := &story{t: t}
	for i, rule := range []string{"syntax", "max_recipients", "postmaster", "recipients", "suppression", "backoff", "check_recipient_domain"} {
		x := s.mail(i, "a@example.org", "r@x.example")
		x.Stage, x.Outcome, x.Rule, x.To[0].Outcome, x.To[0].Rule = "rcpt", mail.Rejected, rule, mail.Rejected, rule
	}
	none := s.mail(10, "a@example.org")
	none.Stage, none.Outcome, none.Rule = "mail", mail.Rejected, "senders"
	stranger := s.mail(11, "a@example.org", "r@x.example")
	stranger.Client = ""
	auth := s.mail(12, "a@example.org")
	auth.Stage, auth.Rule = "auth", "auth"
	expect(t, s.replay(perSender(t, "0/1h")), "0 of 10 with 0: then 0, now 0, newly 0, passed 0, retries 0")

	// Beside one that was refused by policy the others count.
	s = &story{t: t}
	x := s.mail(0, "a@example.org", "r@x.example", "bad@x.example")
	x.To[1].Outcome, x.To[1].Rule = mail.Rejected, "recipients"
	expect(t, s.replay(perSender(t, "0/1h")), "1 of 1 with 1: then 0, now 1, newly 1, passed 0, retries 0")
}

func TestReplayOfSomeRecipients(t *testing.T) {
	s := &story{t: t}
	x := s.mail(0, "a@example.org", "r1@x.example", "r2@x.example", "r3@x.example", "r4@x.example")
	for i := 2; i < 4; i++ {
		x.To[i].Outcome, x.To[i].Rule = mail.Deferred, "limit sender"
	}
	limits := map[string]ratelimit.RuleConfig{"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Recipients: numbers(t, "3/1h")}}
	expect(t, s.replay(limits), "1 of 1 with 4: then 2, now 1, newly 0, passed 1, retries 0")
}

func TestReplayCountsBytes(t *testing.T) {
	limits := func(n string) map[string]ratelimit.RuleConfig {
		return map[string]ratelimit.RuleConfig{"bytes": {Per: ratelimit.Per{ratelimit.PerClient}, Bytes: numbers(t, n)}}
	}
	s := &story{t: t}
	for i := range 3 {
		s.mail(i, "a@example.org", "r@x.example")
	}
	early := s.mail(4, "a@example.org", "r@x.example") // never came in whole
	early.Stage, early.Outcome, early.Rule, early.To[0].Outcome, early.To[0].Rule = "data", mail.Aborted, "client", mail.Aborted, "client"
	expect(t, s.replay(limits("3000/1h")), "4 of 4 with 4: then 0, now 0, newly 0, passed 0, retries 0")
	expect(t, s.replay(limits("2000/1h")), "4 of 4 with 4: then 0, now 1, newly 1, passed 0, retries 0")
	expect(t, s.replay(limits("999/1h")), "4 of 4 with 4: then 0, now 4, newly 4, passed 0, retries 0")

	s = &story{t: t}
	x := s.mail(0, "a@example.org") // refused at MAIL, by the size that it declared
	x.Stage, x.Outcome, x.Rule, x.Code = "mail", mail.Rejected, "limit bytes", 552
	expect(t, s.replay(limits("2000/1h")), "1 of 1 with 1: then 1, now 0, newly 0, passed 1, retries 0")
	expect(t, s.replay(limits("500/1h")), "1 of 1 with 1: then 1, now 1, newly 0, passed 0, retries 0")
}

// TestReplayGivesBackWhatTheBodyWasRefused: a message that the octets stop costs
// nothing under any other limit.
func TestReplayGivesBackWhatTheBodyWasRefused(t *testing.T) {
	limits := perSender(t, "2/1h")
	limits["bytes"] = ratelimit.RuleConfig{Per: ratelimit.Per{ratelimit.PerClient}, Bytes: numbers(t, "2000/1h")}
	s := &story{t: t}
	for i, size := range []int64{1500, 1500, 400} {
		s.mail(i, "a@example.org", "r@x.example").Size = size
	}
	expect(t, s.replay(limits), "3 of 3 with 3: then 0, now 1, newly 1, passed 0, retries 0")
}

func TestReplayOfShadowLimits(t *testing.T) {
	limits := perSender(t, "2/1h")
	l := limits["sender"]
	l.Mode = ratelimit.Shadow
	limits["sender"] = l
	s := &story{t: t}
	for i := range 5 {
		s.mail(i, "a@example.org", "r@x.example")
	}
	r := s.replay(limits)
	expect(t, r, "5 of 5 with 5: then 0, now 0, newly 0, passed 0, retries 0")
	if l := r.Limits[0]; l.Refused != 3 || len(l.First) != 1 || !l.First[0].Time.Equal(second(2)) || l.Mode != ratelimit.Shadow {
		t.Errorf("%+v", l)
	}
}

func TestReplayCountsFromTheBeginningOfATransaction(t *testing.T) {
	s := &story{t: t}
	// A long one began first and ended last: it took its room first.
	s.mail(10, "a@example.org", "r@x.example")
	long := s.mail(0, "a@example.org", "first@x.example")
	long.End = second(100).UnixNano()
	r := s.replay(perSender(t, "1/1h"))
	expect(t, r, "2 of 2 with 2: then 0, now 1, newly 1, passed 0, retries 0")
	if !r.Limits[0].First[0].Time.Equal(second(10)) || r.Late != 0 {
		t.Errorf("%+v", r.Limits[0].First)
	}
	// One that lasted for longer than anything waits counts late, and is said
	// to.
	s = &story{t: t}
	s.mail(10, "a@example.org", "r@x.example")
	s.mail(4000, "a@example.org", "r@x.example")
	s.mail(6000, "a@example.org", "r@x.example")
	long = s.mail(0, "a@example.org", "r@x.example")
	long.End = second(6001).UnixNano()
	if r = s.replay(perSender(t, "10/1h")); r.Late != 1 {
		t.Errorf("late %d", r.Late)
	}
}

func TestPeaksKeepTheHighest(t *testing.T) {
	var p Peaks
	for round := range 20 {
		for key := range 50 {
			p.note(fmt.Sprintf("k%d", key), int64(round*key), 1000, second(round).UnixNano())
		}
	}
	if len(p.Top) != topPeaks {
		t.Fatalf("%d keys", len(p.Top))
	}
	for i, top := range p.Top {
		if want := int64(19 * (49 - i)); top.Key != fmt.Sprintf("k%d", 49-i) || top.Used != want || !top.Time.Equal(second(19)) {
			t.Errorf("%d: %+v, want %d", i, top, want)
		}
	}
}

// TestProposedLimitsRefuseNothing: what propose finds holds the mail that it was
// found from, bursts and all.
func TestProposedLimitsRefuseNothing(t *testing.T) {
	path := writeJournal(t, 1500)
	var windows []Window
	for _, unit := range []ratelimit.Unit{ratelimit.Messages, ratelimit.Recipients, ratelimit.Bytes} {
		for _, length := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
			windows = append(windows, Window{unit, length})
		}
	}
	d, err := NewDemand(windows)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read([]string{path}, nil, d.Add); err != nil {
		t.Fatal(err)
	}
	found := d.Demands()
	if len(found.Clients) != 20 || len(found.Senders) < 500 || found.Clients[0].Peaks[2].Used < found.Clients[1].Peaks[2].Used {
		t.Fatalf("%d clients, %d senders", len(found.Clients), len(found.Senders))
	}
	limits := map[string]ratelimit.RuleConfig{}
	for name, uses := range map[string][]Uses{"client": found.Clients, "sender": found.Senders} {
		p := propose(uses, 1, 10)
		cfg := ratelimit.RuleConfig{Overrides: map[string]ratelimit.Override{}}
		cfg.Per.UnmarshalText([]byte(name))
		numbersOf := func(n []int64) (o ratelimit.Override) {
			for i, w := range windows {
				list := []*ratelimit.Numbers{&o.Messages, &o.Recipients, &o.Bytes}[w.Unit]
				*list = append(*list, ratelimit.Number{N: n[i], Window: w.Length})
			}
			return o
		}
		base := numbersOf(p.Base)
		cfg.Messages, cfg.Recipients, cfg.Bytes = base.Messages, base.Recipients, base.Bytes
		for _, o := range p.Overrides {
			cfg.Overrides[o.Name] = numbersOf(o.Numbers)
		}
		if len(p.Overrides) == 0 || len(p.Overrides) > 10 {
			t.Errorf("%s: %d overrides", name, len(p.Overrides))
		}
		limits[name] = cfg
	}
	r, err := New(Options{Limits: limits, Store: embedded.Config{Memory: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read([]string{path}, nil, r.Add); err != nil {
		t.Fatal(err)
	}
	if report := r.Report(); report.RefusedNow != 0 || report.Transactions != 1500 {
		t.Errorf("%s", report.words())
	}
}

func TestProposeBases(t *testing.T) {
	uses := func(n ...int64) (all []Uses) {
		for i, used := range n {
			all = append(all, Uses{Name: fmt.Sprintf("n%d", i), Peaks: []Use{{Used: used}}})
		}
		return all
	}
	for name, row := range map[string]struct {
		uses   []Uses
		listed int
		want   string
	}{
		"the one in the middle, when all are listed": {uses(100, 40, 10), 3, "base [60] n0[150]"},
		"the rest":       {uses(100, 40, 10, 4), 2, "base [15] n0[150] n1[60]"},
		"one alone":      {uses(101), 50, "base [160]"},
		"nobody":         {nil, 50, "base []"},
		"none is listed": {uses(7, 3), 0, "base [11]"},
	} {
		p := propose(row.uses, 1.5, row.listed)
		got := fmt.Sprintf("base %v", p.Base)
		for _, o := range p.Overrides {
			got += fmt.Sprintf(" %s%v", o.Name, o.Numbers)
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
	if got := need(&Use{Used: 1 << 60}, 100); got != ratelimit.MaxNumber {
		t.Errorf("an impossible number: %d", got)
	}
}

func TestNewReportsBadLimits(t *testing.T) {
	_, err := New(Options{Limits: map[string]ratelimit.RuleConfig{"x": {}}})
	if err == nil || !strings.Contains(err.Error(), "limit.x") {
		t.Errorf("error %v", err)
	}
}

// TestReplayTakesSpellingsOfASenderForOne: a journal keeps what was written.
func TestReplayTakesSpellingsOfASenderForOne(t *testing.T) {
	s := story{t: t}
	for i, from := range []string{"news@example.org", "News@example.org", "NEWS@example.org", "nEws@example.org"} {
		s.mail(i, from, "bob@dest.example")
	}
	r := s.replay(perSender(t, "2/1h"))
	if len(r.Senders) != 1 || r.Senders[0].Sender != "news@example.org" || r.Senders[0].Refused != 2 {
		t.Errorf("%+v", r.Senders)
	}
}
