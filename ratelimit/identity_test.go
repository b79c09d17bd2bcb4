package ratelimit

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/internal/syntax"
	"postern/mail"
)

func parseMailbox(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }

// spellings reads the table of spellings: the identity first in each block.
func spellings(t *testing.T) (blocks [][]string) {
	text, err := os.ReadFile("../mail/testdata/spellings.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		var lines []string
		for line := range strings.Lines(block) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			blocks = append(blocks, lines)
		}
	}
	return blocks
}

// spelled is mail of a sender as a session tells of it.
func spelled(t *testing.T, sender string) Facts {
	a, err := parseMailbox(sender)
	if err != nil {
		t.Fatal(err)
	}
	return Facts{Client: "shop", User: syntax.User(sender), Sender: a.Identity(), SenderDomain: a.Domain}
}

// testSpellings holds one sender to one budget in all that has to do with it.
func testSpellings(t *testing.T, bed testBed) {
	for n, block := range spellings(t) {
		last := block[len(block)-1] // as an operator may write it
		l := NewLimiter(bed.Store, compileEnv(t, map[string]RuleConfig{
			fmt.Sprintf("all%d", n):   {Per: Per{PerSender}, Messages: parseNumbers(t, "2/1h")},
			fmt.Sprintf("user%d", n):  {Per: Per{PerUser}, Messages: parseNumbers(t, "2/1h"), Overrides: map[string]Override{"user=" + last: {Messages: parseNumbers(t, "4/1h")}}},
			fmt.Sprintf("named%d", n): {Per: Per{PerClient}, Messages: parseNumbers(t, "9/1h"), Senders: []string{last}},
			fmt.Sprintf("over%d", n):  {Per: Per{PerSender}, Messages: parseNumbers(t, "1/1h"), Overrides: map[string]Override{last: {Messages: parseNumbers(t, "5/1h")}}},
		}, Env{Parse: parseMailbox}), bed.clock.now)
		passed := 0
		for range 3 {
			for _, sender := range block {
				passed += strings.Count(send(t, l, spelled(t, sender), "a@x.example"), "+")
			}
		}
		if passed != 2 {
			t.Errorf("%s: %d passed in %d spellings, want 2", block[0], passed, len(block))
		}
		spelledBudget(t, l, n, block)
		refused := Filter{Sender: "someone@else.example"}
		if states, err := l.Show(t.Context(), refused, 0); err != nil || len(states) > 0 {
			t.Errorf("someone else: %v, %v", states, err)
		}
	}
}

// spelledBudget asks as an operator does, in each spelling.
func spelledBudget(t *testing.T, l *Limiter, n int, block []string) {
	limit := fmt.Sprintf("all%d", n)
	for _, sender := range block {
		written := Facts{Client: "shop", User: sender, Sender: mail.Identity(sender)}
		all, err := l.Explain(t.Context(), written, Recipient{Address: "A@X.example"})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			// of each limit as in the file, in the order of their names
			want := map[byte][2]int64{'a': {2, 2}, 'n': {9, 2}, 'o': {5, 2}, 'u': {4, 2}}[x.Limit[0]]
			if x.Applies && (x.Windows[0].Max != want[0] || x.Windows[0].Used != want[1]) || !x.Applies {
				t.Errorf("%s by %s: %+v", sender, x.Limit, x)
			}
		}
		key, err := l.KeyOf(limit, written, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{key, string(appendPart(nil, 0, PerSender, sender))} {
			raise, err := l.Allow(t.Context(), Raise{Limit: limit, Key: k, Unit: Messages, Add: 1, Until: l.now().Add(time.Hour), Reason: "r"})
			if err != nil || raise.Key != key {
				t.Errorf("%s: raised %+v, %v", sender, raise, err)
			}
		}
		if raises, err := l.Raises(t.Context()); err != nil || len(raises) != 1 {
			t.Errorf("%s: raises %+v, %v", sender, raises, err)
		}
		states, err := l.Show(t.Context(), Filter{Limit: limit, Sender: mail.Identity(sender)}, 0)
		if err != nil || len(states) != 1 || states[0].Windows[0].Max != 3 || states[0].Windows[0].Used != 2 {
			t.Errorf("%s: shown %+v, %v", sender, states, err)
		}
		if _, err := l.Allow(t.Context(), Raise{Limit: limit, Key: key, Unit: Messages, Until: l.now()}); err != nil {
			t.Error(err)
		}
	}
	was, err := l.Reset(t.Context(), limit, string(appendPart(nil, 0, PerSender, block[len(block)-1])))
	if err != nil || was.Windows[0].Used != 2 {
		t.Errorf("%s: reset %+v, %v", block[0], was, err)
	}
	if states, err := l.Show(t.Context(), Filter{Limit: limit}, 0); err != nil || len(states) > 0 && states[0].Windows[0].Used > 0 {
		t.Errorf("%s: after a reset %+v, %v", block[0], states, err)
	}
}

// old is mail of a sender as an older version counted it: by the letters.
func old(sender string, to ...string) (Facts, []string) {
	return Facts{Client: "shop", User: sender, Sender: mail.Identity(sender), SenderDomain: "example.org"}, to
}

// olderCounts leaves what an older version did, and gives rules for both.
func olderCounts(t *testing.T, bed testBed) *Limiter {
	t.Helper()
	hourly := parseNumbers(t, "9/1h")
	l := bed.limiter(t, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Messages: hourly, Recipients: parseNumbers(t, "90/24h"), DistinctRecipients: parseNumbers(t, "90/24h")},
		"user":   {Per: Per{PerUser, PerClient}, Messages: hourly},
	})
	for sender, n := range map[string]int{"News@example.org": 4, "NEWS@example.org": 2, "news@example.org": 3, "other@example.org": 1, "Apart@Example.org": 5} {
		for i := range n {
			f, to := old(sender, fmt.Sprintf("r%d@x.example", i))
			if got := send(t, l, f, to...); got != "+" {
				t.Fatalf("%s: %s", sender, got)
			}
			bed.clock.add(time.Second)
		}
	}
	f, _ := old("news@example.org")
	send(t, l, f, "a@x.example", "b@x.example", "c@x.example", "d@x.example") // one message, so that both are the larger in one window
	for key, add := range map[string]int64{"sender=News@example.org": 7, "sender=news@example.org": 5} {
		if err := bed.Store.SetRaise(t.Context(), Raise{Limit: "sender", Key: key, Unit: Messages, Add: add, Until: bed.clock.now().Add(time.Hour), Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// joined says how the counts of olderCounts are after an upgrade.
func joined(t *testing.T, l *Limiter, name string) {
	t.Helper()
	for sender, want := range map[string]string{
		"News@example.org":  "messages 4, recipients 7, distinct_recipients 7",
		"news@example.org":  "messages 4, recipients 7, distinct_recipients 7",
		"other@example.org": "messages 1, recipients 1, distinct_recipients 1",
		"apart@example.org": "messages 5, recipients 5, distinct_recipients 5",
	} {
		states, err := l.Show(t.Context(), Filter{Limit: "sender", Sender: mail.Identity(sender)}, 0)
		if err != nil || len(states) != 1 {
			t.Errorf("%s: %s: %+v, %v", name, sender, states, err)
			continue
		}
		var got []string
		for _, w := range states[0].Windows {
			got = append(got, fmt.Sprintf("%s %d", w.Unit, w.Used))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s has %s, want %s", name, sender, strings.Join(got, ", "), want)
		}
	}
	states, err := l.Show(t.Context(), Filter{Limit: "user", User: "NEWS@EXAMPLE.ORG"}, 0)
	if err != nil || len(states) != 1 || states[0].Windows[0].Used != 4 {
		t.Errorf("%s: user %+v, %v", name, states, err)
	}
	if all, err := l.Show(t.Context(), Filter{}, 0); err != nil || len(all) != 6 {
		t.Errorf("%s: %d keys of 3 senders and users: %+v, %v", name, len(all), all, err)
	}
	raises, err := l.Raises(t.Context())
	if err != nil || len(raises) != 1 || raises[0].Add != 7 || raises[0].Key != "sender=news@example.org" {
		t.Errorf("%s: raises %+v, %v", name, raises, err)
	}
}

func TestSnapshotOfAnOlderVersionIsJoined(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := newFakeClock()
	bed, e := newBed(t, clock)
	olderCounts(t, bed)
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"the first start", "the next start"} {
		again, e2 := newBed(t, clock)
		if err := e2.Load(path); err != nil {
			t.Fatal(err)
		}
		l := again.limiter(t, map[string]RuleConfig{
			"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "9/1h"), Recipients: parseNumbers(t, "90/24h"), DistinctRecipients: parseNumbers(t, "90/24h")},
			"user":   {Per: Per{PerUser, PerClient}, Messages: parseNumbers(t, "9/1h")},
		})
		joined(t, l, name)
		if err := e2.Save(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJoinedCountsEndInTime: what is joined counts no longer than it did.
func TestJoinedCountsEndInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := newFakeClock()
	bed, e := newBed(t, clock)
	l := bed.limiter(t, map[string]RuleConfig{"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "9/1h")}})
	for _, sender := range []string{"News@example.org", "News@example.org", "news@example.org"} {
		f, _ := old(sender)
		send(t, l, f, "a@x.example")
		clock.add(25 * time.Minute)
	}
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	l = again.limiter(t, map[string]RuleConfig{"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "9/1h")}})
	// Charged at 0, 25 and 50 minutes; each spelling has one left at 75.
	for _, step := range []struct {
		after time.Duration
		used  int64
	}{{0, 1}, {9 * time.Minute, 1}, {27 * time.Minute, 0}} {
		clock.add(step.after)
		states, err := l.Show(t.Context(), Filter{Sender: "NEWS@example.org"}, 0)
		if err != nil || len(states) == 0 && step.used > 0 || len(states) == 1 && states[0].Windows[0].Used != step.used {
			t.Errorf("%s later %+v, %v, want %d", step.after, states, err, step.used)
		}
	}
}

func TestRedisOfAnOlderVersionIsJoined(t *testing.T) {
	bed := simulated(t, redisSettings(redistest.Start(t).Addr))
	r := bed.Store.(*Redis)
	l := olderCounts(t, bed)
	for _, name := range []string{"once", "twice"} {
		if err := r.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		joined(t, l, name)
	}
}

func TestKeysOfOneSenderAreOne(t *testing.T) {
	for key, want := range map[string]string{
		"sender=News@example.org":                     "sender=news@example.org",
		"sender=news@example.org":                     "sender=news@example.org",
		`client=Shop sender="\"A\x20b\"@example.org"`: `client=Shop sender="\"a\x20b\"@example.org"`,
		"sender=@example.org":                         "sender=@example.org",
		"sender=@*.example.org":                       "sender=@*.example.org",
		"sender=<>":                                   "sender=<>",
		"client=Shop user=Shop@Example.ORG":           "client=Shop user=shop@example.org",
		"client=shop recipient=A@x.example":           "client=shop recipient=A@x.example",
		"all":                                         "all",
		"client=sender=X":                             "client=sender=X",
		"sender":                                      "sender",
		"sender=JÜRGEN@example.org user=JU\u0308RGEN": "sender=jürgen@example.org user=jürgen",
	} {
		if got := CanonicalKey(key); got != want || CanonicalKey(got) != got {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

// TestImportKeepsOneOfTwoSpellings: what is one sender here can have one number.
func TestImportKeepsOneOfTwoSpellings(t *testing.T) {
	l := importedLimit{name: "x", per: `"sender"`, numbers: importedNumbers{messages: []string{"9/1h"}}, overrides: []importedOverride{
		{key: "Bob@example.org", numbers: importedNumbers{messages: []string{"5/1h"}}},
		{key: "bob@example.org", numbers: importedNumbers{messages: []string{"6/1h"}}},
	}}
	var out strings.Builder
	w := bufio.NewWriter(&out)
	l.write(w)
	w.Flush()
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{` "Bob@example.org" = {`, ` # "bob@example.org" = {`, `it is "Bob@example.org" in another spelling`, "] [limit.x.overrides]"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}
