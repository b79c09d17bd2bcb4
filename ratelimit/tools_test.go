package ratelimit_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

func testTools(t *testing.T, bed storetest.Bed) *ratelimit.Limiter {
	return bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {
			Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "10/1h"), FoldTag: true, Overrides: map[string]ratelimit.Override{
				"vip@example.org":      {Messages: storetest.Numbers(t, "100/1h")},
				"@lists.example.org":   {Messages: storetest.Numbers(t, "20/1h"), Shared: true},
				"@*.lists.example.org": {Messages: storetest.Numbers(t, "30/1h"), Shared: true},
			},
		},
		"client":   {Per: ratelimit.Per{ratelimit.PerClient}, Messages: storetest.Numbers(t, "50/1h"), Recipients: storetest.Numbers(t, "1000/24h")},
		"user":     {Per: ratelimit.Per{ratelimit.PerUser}, Messages: storetest.Numbers(t, "5/1h"), Absent: ratelimit.AbsentSkip},
		"upstream": {Per: ratelimit.Per{ratelimit.PerUpstream}, Messages: storetest.Numbers(t, "40/1h"), Reserve: map[string]ratelimit.Percent{"transactional": 25}},
		"pair":     {Per: ratelimit.Per{ratelimit.PerClient, ratelimit.PerRecipientDomain}, Recipients: storetest.Numbers(t, "10/1m"), RecipientsNotAt: []string{"internal"}},
		"shadow":   {Per: ratelimit.Per{ratelimit.PerAll}, Messages: storetest.Numbers(t, "1/1h"), Mode: ratelimit.Shadow},
		"others":   {Per: ratelimit.Per{ratelimit.PerAll}, Messages: storetest.Numbers(t, "0/1h"), Clients: []string{"elsewhere"}},
	})
}

func TestShowListsTheFullestFirst(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := testTools(t, bed)
	for i, sender := range []string{"a@example.org", "b@example.org", "vip@example.org", "x@lists.example.org", "y@deep.lists.example.org"} {
		for range 2 + 2*i {
			if got := storetest.Send(t, l, storetest.FactsOf(sender, storetest.At(sender).Domain), "r@x"+sender[:1]+".example"); got != "+" {
				t.Fatal(sender)
			}
		}
	}
	states, err := l.Show(t.Context(), ratelimit.Filter{Limit: "sender"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, st := range states {
		w := st.Windows[0]
		got = append(got, fmt.Sprintf("%s %d/%d %.2f %s", st.Key, w.Used, w.Max, st.Use, st.Override))
	}
	want := []string{
		"sender=b@example.org 4/10 0.40 ",
		"sender=@lists.example.org 8/20 0.40 @lists.example.org",
		"sender=@*.lists.example.org 10/30 0.33 @*.lists.example.org",
		"sender=a@example.org 2/10 0.20 ",
		"sender=vip@example.org 6/100 0.06 vip@example.org",
	}
	slices.Sort(want[:2])
	slices.Sort(got[:2])
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	top, err := l.Top(t.Context(), 3)
	if err != nil || len(top) != 3 || top[0].Use != 1 || top[2].Use != 1 {
		t.Errorf("top: %+v, %v", top, err)
	}
	if _, err := l.Show(t.Context(), ratelimit.Filter{Limit: "none"}, 0); err == nil || !strings.Contains(err.Error(), "client, others, pair") {
		t.Errorf("unknown limit: %v", err)
	}
}

func TestShowFilters(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := testTools(t, bed)
	storetest.Send(t, l, storetest.FactsOf("a@example.org", "example.org"), "r@x.example", "s@y.example")
	f := storetest.FactsOf("b@lists.example.org", "lists.example.org")
	f.Client, f.User, f.Stream = "mail", "bob", "transactional"
	storetest.Send(t, l, f, "r@x.example")
	for _, test := range []struct {
		filter ratelimit.Filter
		want   string
	}{
		{ratelimit.Filter{Sender: "a+tag@example.org"}, "sender sender=a@example.org"},
		{ratelimit.Filter{Sender: "z@lists.example.org"}, "sender sender=@lists.example.org"},
		{ratelimit.Filter{Client: "mail"}, "client client=mail, pair client=mail recipient_domain=x.example"},
		{ratelimit.Filter{User: "bob"}, "user user=bob"},
		{ratelimit.Filter{RecipientDomain: "x.example", Client: "shop"}, "pair client=shop recipient_domain=x.example"},
		{ratelimit.Filter{Upstream: "provider"}, "upstream upstream=provider, upstream upstream=provider transactional"},
		{ratelimit.Filter{Sender: "nobody@example.org"}, ""},
		{ratelimit.Filter{ClientIP: "192.0.2.7"}, ""},
		{ratelimit.Filter{Limit: "pair", RecipientDomain: "y.example"}, "pair client=shop recipient_domain=y.example"},
	} {
		states, err := l.Show(t.Context(), test.filter, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, st := range states {
			got = append(got, strings.TrimSpace(st.Limit+" "+st.Key+" "+st.Stream))
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", test.filter, strings.Join(got, ", "), test.want)
		}
	}
}

func TestShowOfManyKeysIsBounded(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := testTools(t, bed)
	for i := range 1500 {
		sender := fmt.Sprintf("s%d@example.org", i)
		storetest.Send(t, l, storetest.FactsOf(sender, "example.org"), "r@corp.example")
	}
	for range 4 {
		storetest.Send(t, l, storetest.FactsOf("s777@example.org", "example.org"), "r@corp.example")
	}
	states, err := l.Show(t.Context(), ratelimit.Filter{Limit: "sender"}, 5)
	if err != nil || len(states) != 5 || states[0].Key != "sender=s1@example.org" && states[0].Use < states[4].Use {
		t.Errorf("%+v, %v", states, err)
	}
}

func TestStateOfAWindow(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := testTools(t, bed)
	f := storetest.FactsOf("a@example.org", "example.org")
	for range 8 {
		storetest.Send(t, l, f, "r@corp.example")
		bed.Clock.Add(time.Minute)
	}
	key, err := l.KeyOf("sender", ratelimit.Facts{Sender: "a+x@example.org"}, "")
	if err != nil || key != "sender=a@example.org" {
		t.Fatal(key, err)
	}
	allowance := ratelimit.Allowance{Limit: "sender", Key: key, Unit: ratelimit.Messages, Add: 5, Until: bed.Clock.Now().Add(20 * time.Minute), Reason: "campaign"}
	made, err := l.Allow(t.Context(), allowance)
	if err != nil || made.Made.IsZero() {
		t.Fatal(made, err)
	}
	for range 9 {
		storetest.Send(t, l, f, "r@corp.example")
	}
	states, err := l.Show(t.Context(), ratelimit.Filter{Sender: "a@example.org"}, 0)
	if err != nil || len(states) != 1 {
		t.Fatal(states, err)
	}
	want := ratelimit.WindowUsage{Unit: ratelimit.Messages, Window: "1h", Max: 15, Used: 15, Raised: 5, Wait: 52 * 60}
	if states[0].Windows[0] != want {
		t.Errorf("got %+v, want %+v", states[0].Windows[0], want)
	}
	text, err := json.Marshal(states[0])
	if err != nil || !strings.Contains(string(text), `"unit":"messages","window":"1h","max":15,"used":15,"room":0,"raised":5,"wait_seconds":3120`) {
		t.Errorf("%s, %v", text, err)
	}
	allowances, err := l.Allowances(t.Context())
	if err != nil || len(allowances) != 1 || allowances[0].Reason != "campaign" {
		t.Errorf("%+v, %v", allowances, err)
	}
	before, err := l.Reset(t.Context(), "sender", key)
	if err != nil || before.Windows[0].Used != 15 {
		t.Errorf("%+v, %v", before, err)
	}
	if got := storetest.Send(t, l, f, "r@corp.example"); got != "+" {
		t.Error("refused after the reset")
	}
	allowance.Add = 0
	if _, err := l.Allow(t.Context(), allowance); err != nil {
		t.Error(err)
	}
	if allowances, _ := l.Allowances(t.Context()); len(allowances) != 0 {
		t.Errorf("taken back, yet listed: %+v", allowances)
	}
}

func TestAllowRefusesWhatMakesNoSense(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := testTools(t, bed)
	good := ratelimit.Allowance{Limit: "sender", Key: "sender=a@example.org", Unit: ratelimit.Messages, Add: 5, Until: bed.Clock.Now().Add(time.Hour), Reason: "why"}
	for want, change := range map[string]func(*ratelimit.Allowance){
		"no limit":                   func(r *ratelimit.Allowance) { r.Limit = "none" },
		"is no key":                  func(r *ratelimit.Allowance) { r.Key = "a@example.org" },
		"no number of bytes":         func(r *ratelimit.Allowance) { r.Unit = ratelimit.Bytes },
		"in such a window":           func(r *ratelimit.Allowance) { r.Window = time.Minute },
		"an allowance of -1":         func(r *ratelimit.Allowance) { r.Add = -1 },
		"would have ended":           func(r *ratelimit.Allowance) { r.Until = bed.Clock.Now() },
		"would last over 31d":        func(r *ratelimit.Allowance) { r.Until = bed.Clock.Now().Add(32 * 24 * time.Hour) },
		"no reason is given":         func(r *ratelimit.Allowance) { r.Reason = " " },
		"an allowance of 1000000000": func(r *ratelimit.Allowance) { r.Add = ratelimit.MaxNumber * 10 },
	} {
		r := good
		change(&r)
		if _, err := l.Allow(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if allowances, _ := l.Allowances(t.Context()); len(allowances) != 0 {
		t.Errorf("made all the same: %+v", allowances)
	}
	for want, ask := range map[string]func() error{
		"no limit":                  func() error { _, err := l.KeyOf("none", ratelimit.Facts{}, ""); return err },
		"name the recipient domain": func() error { _, err := l.KeyOf("pair", ratelimit.Facts{Client: "shop"}, ""); return err },
		"name the client":           func() error { _, err := l.KeyOf("client", ratelimit.Facts{}, ""); return err },
		"name the sender":           func() error { _, err := l.KeyOf("sender", ratelimit.Facts{}, ""); return err },
		"name it":                   func() error { _, err := l.KeyOf("user", ratelimit.Facts{Client: "shop"}, ""); return err },
		"name one of them":          func() error { _, err := l.KeyOf("upstream", ratelimit.Facts{}, ""); return err },
		"is no key":                 func() error { _, err := l.Reset(t.Context(), "sender", "x"); return err },
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestExplainSaysWhyAndHowMuch(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := testTools(t, bed)
	f := storetest.FactsOf("a@example.org", "example.org")
	for range 10 {
		storetest.Send(t, l, f, "r@x.example")
	}
	explain := func(f ratelimit.Facts, to string) string {
		t.Helper()
		all, err := l.Explain(t.Context(), f, ratelimit.Recipient{Address: mail.RecipientID(to)})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, x := range all {
			if !x.Applies {
				fmt.Fprintf(&b, "%s: %s\n", x.Limit, x.Why)
				continue
			}
			fmt.Fprintf(&b, "%s %s %s per %s %d/%d %v %v %v\n", x.Limit, x.Key, x.Override, x.Per, x.Windows[0].Used, x.Windows[0].Max, x.Fits, x.Refused, x.Top)
		}
		return b.String()
	}
	want := `client client=shop  per client 10/50 true [] [a@example.org 100%]
others: is for other clients: elsewhere
pair client=shop recipient_domain=x.example  per client and recipient domain 10/10 false [recipients in 1m] [a@example.org 100%]
sender sender=a@example.org  per sender 10/10 false [messages in 1h] []
shadow all  per all 1/1 false [messages in 1h] [a@example.org 100%]
upstream upstream=provider  per upstream 10/30 true [] [a@example.org 100%]
user: counts per user, and this mail has none
`
	for range 2 { // asking charges nothing
		if got := explain(f, "r@x.example"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	f = storetest.FactsOf("x@lists.example.org", "") // the domain follows
	f.User = "bob"
	got := explain(f, "r@corp.example")
	for _, line := range []string{
		"pair: does not count recipients at internal\n", "user user=bob  per user 0/5 true",
		"sender sender=@lists.example.org @lists.example.org per sender 0/20 true",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is missing in\n%s", line, got)
		}
	}
}
