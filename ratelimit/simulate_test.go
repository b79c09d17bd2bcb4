package ratelimit

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func past(at time.Time, sender string, to ...PastRecipient) *Past {
	return &Past{Time: at, Facts: factsOf(sender, sender[strings.LastIndexByte(sender, '@')+1:]), Bytes: 1000, To: to}
}

func passed(address string) PastRecipient { return PastRecipient{Recipient: at(address)} }

func refusedBy(limit, address string) PastRecipient {
	return PastRecipient{Recipient: at(address), Limit: limit}
}

func TestSimulationFindsWhatWouldDiffer(t *testing.T) {
	s := NewSimulation(compile(t, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "3/1h")},
		"bytes":  {Per: Per{PerClient}, Bytes: parseNumbers(t, "100000/24h")},
		"shadow": {Per: Per{PerSender}, Messages: parseNumbers(t, "2/1h"), Mode: Shadow},
		"unused": {Per: Per{PerUser}, Messages: parseNumbers(t, "1/1h"), Absent: AbsentSkip},
	}))
	start := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	minute := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	for i := range 5 { // three fit
		s.Add(past(minute(i), "a@example.org", passed("r@x.example")))
	}
	for i := range 4 { // the upstream deferred them, so they cost nothing
		s.Add(past(minute(5+i), "b@example.org", PastRecipient{Recipient: at("r@x.example"), GivenBack: true}))
	}
	s.Add(past(minute(10), "b@example.org", refusedBy("old", "r@x.example")))
	s.Add(past(minute(11), "a@example.org", refusedBy("old", "r@x.example")))
	// The journal is in the order of endings: an earlier MAIL may come later.
	s.Add(past(minute(9), "a@example.org", passed("r@x.example"), passed("s@x.example")))
	large := past(minute(12), "c@example.org", passed("r@x.example"))
	large.Bytes = 99_000
	s.Add(large)

	r := s.Report()
	if r.Transactions != 13 || r.Recipients != 14 || !r.From.Equal(start) || !r.To.Equal(minute(12)) || r.Undecided != 0 {
		t.Errorf("%+v", r)
	}
	got := map[string]string{}
	for _, l := range r.Limits {
		text := fmt.Sprintf("refused %d passed %d both %d shadow %d", l.Refused, l.Passed, l.Both, l.Shadow)
		for _, s := range l.Senders {
			text += fmt.Sprintf("; %s %s %d %d %d %d", s.Client, s.Sender, s.Refused, s.Passed, s.Both, s.Shadow)
		}
		for _, h := range l.Highest {
			text += fmt.Sprintf("; %d/%d %s in %s of %s", h.Used, h.Max, h.Unit, h.Window, h.Key)
		}
		got[l.Limit] = text
	}
	for limit, want := range map[string]string{
		"sender": "refused 4 passed 0 both 1 shadow 0; shop a@example.org 4 0 1 0; 3/3 messages in 1h of sender=a@example.org",
		"bytes":  "refused 1 passed 0 both 0 shadow 0; shop c@example.org 1 0 0 0; 4000/100000 bytes in 24h of client=shop",
		"shadow": "refused 0 passed 0 both 0 shadow 1; shop a@example.org 0 0 0 1; 2/2 messages in 1h of sender=a@example.org",
		"old":    "refused 0 passed 1 both 0 shadow 0; shop b@example.org 0 1 0 0",
		"unused": "refused 0 passed 0 both 0 shadow 0",
	} {
		if got[limit] != want {
			t.Errorf("%s:\ngot  %s\nwant %s", limit, got[limit], want)
		}
	}
	if l := r.Limits[0]; l.Limit != "sender" || len(l.First) != 3 || !l.First[0].Equal(minute(3)) {
		t.Errorf("first moments of %s: %v", l.Limit, l.First)
	}
	if again := s.Report(); len(again.Limits) != len(r.Limits) || len(again.Limits[0].Senders) != 1 {
		t.Errorf("a second report differs: %+v", again)
	}
}

func TestSuggestLeavesHeadroom(t *testing.T) {
	s := NewSuggester()
	start := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for j := range 10 {
		for i := range 20 {
			s.Add(past(start.Add(time.Duration(j)*10*time.Second), fmt.Sprintf("s%d@example.org", i), passed("r@x.example"), passed("s@x.example"),
				refusedBy("old", "t@x.example"), PastRecipient{Recipient: at("u@x.example"), GivenBack: true}))
		}
	}
	for j := range 100 {
		s.Add(past(start.Add(time.Duration(4+j)*30*time.Second), `"big \ one"@example.org`, passed("r@x.example")))
	}
	list := s.Suggest(1.5)
	if len(list) != 22 || list[0].Per != "client" || list[0].Name != "shop" {
		t.Fatalf("%+v", list)
	}
	var got []string
	for _, w := range list[0].Windows {
		got = append(got, fmt.Sprintf("%d %s/%s -> %d", w.Highest, w.Unit, w.Window, w.Limit))
	}
	want := "300 messages/1h -> 450, 300 messages/24h -> 450, 240 recipients/1m -> 360, 500 recipients/1h -> 750, 500 recipients/24h -> 750"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	var b strings.Builder
	if err := WriteSuggestions(&b, list); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"[limit.client]\nper = \"client\"\nmessages = [\"450/1h\", \"450/24h\"]\n",
		"[limit.sender]\nper = \"sender\"\nmessages = [\"15/1h\", \"15/24h\"]\nrecipients = [\"18/1m\", \"30/1h\", \"30/24h\"]\n",
		`"\"big \\ one\"@example.org" = { messages = ["150/1h", "150/24h"], recipients = ["18/1m", "150/1h", "150/24h"] } # at most 100 messages in 1h`,
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("missing:\n%s\nin:\n%s", line, b.String())
		}
	}
}

func TestRoundUp(t *testing.T) {
	for x, want := range map[float64]int64{0: 0, 1: 1, 1.2: 2, 99: 99, 99.5: 100, 101: 110, 450: 450, 451: 460, 12345: 13000} {
		if got := roundUp(x); got != want {
			t.Errorf("%v: %d, want %d", x, got, want)
		}
	}
}

// BenchmarkSimulate is one transaction of two recipients under four limits.
func BenchmarkSimulate(b *testing.B) {
	s := NewSimulation(compile(b, map[string]RuleConfig{
		"client": {Per: Per{PerClient}, Messages: parseNumbers(b, "5000/1h"), Recipients: parseNumbers(b, "50000/24h")},
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(b, "60/1m", "500/1h"), Recipients: parseNumbers(b, "2000/24h")},
		"domain": {Per: Per{PerRecipientDomain}, Recipients: parseNumbers(b, "1000/1m")},
		"bytes":  {Per: Per{PerClient}, Bytes: parseNumbers(b, "1GiB/24h")},
	}))
	at := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	var all []*Past
	for i := range 5000 {
		p := past(at, fmt.Sprintf("s%d@example.org", i%700), passed("r@x.example"), passed(fmt.Sprintf("s@d%d.example", i%50)))
		all = append(all, p)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := all[i%len(all)]
		at = at.Add(700 * time.Millisecond)
		p.Time = at
		s.Add(p)
	}
}
