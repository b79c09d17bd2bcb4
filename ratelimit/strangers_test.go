package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
	"postern/ratelimit/strangers"
)

// testStrangers: recipients who are known do not count, those of an unwatched client
// count in shadow, and new senders have numbers of their own.
func testStrangers(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, strangers.Expand(map[string]ratelimit.RuleConfig{
		"new": {Per: ratelimit.Per{ratelimit.PerClient}, Strangers: storetest.Numbers(t, "3/1h"), StrangersNew: storetest.Numbers(t, "2/2h")},
		"own": {Per: ratelimit.Per{ratelimit.PerSender}, Strangers: storetest.Numbers(t, "2/1h"), StrangersOf: ratelimit.OfSender, Recipients: storetest.Numbers(t, "9/1h")},
	}))
	send := func(f ratelimit.Facts, toClient, toSender bool, n int) string {
		a := l.Begin(f)
		defer a.End()
		if !a.NeedsStrangers() {
			t.Error("does not ask for strangers")
		}
		rs := make([]ratelimit.Recipient, n)
		for i := range rs {
			rs[i] = storetest.At("r@x.example")
			rs[i].NewToClient, rs[i].NewToSender = toClient, toSender
		}
		var b strings.Builder
		for _, v := range a.Recipients(t.Context(), rs, nil) {
			if v.OK {
				b.WriteByte('+')
			} else {
				b.WriteString(v.Limit + " ")
			}
		}
		return b.String()
	}
	facts := func(sender string, watched, isNew bool) ratelimit.Facts {
		f := storetest.FactsOf(sender, "shop.example")
		f.Watched, f.NewSender = watched, isNew
		return f
	}
	for _, row := range []struct {
		name               string
		f                  ratelimit.Facts
		toClient, toSender bool
		n                  int
		want               string
	}{
		{"known ones do not count", facts("a@shop.example", true, false), false, false, 5, "+++++"},
		{"an unwatched client is not refused, and is counted", facts("b@shop.example", false, false), true, true, 1, "+"},
		{"strangers to the client", facts("c@shop.example", true, false), true, false, 3, "++new.strangers "},
		{"whom the client knows they do not stop", facts("c@shop.example", true, false), false, false, 2, "++"},
		{"strangers to the sender alone", facts("d@shop.example", true, false), false, true, 3, "++own.strangers "},
		{"the limit's own numbers hold beside", facts("d@shop.example", true, false), false, false, 8, "+++++++own "},
	} {
		if got := send(row.f, row.toClient, row.toSender, row.n); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	bed.Clock.Add(2 * time.Hour)
	if got := send(facts("e@shop.example", true, true), true, false, 3); got != "++new.strangers_new " {
		t.Errorf("a new sender: %q", got)
	}
}

// testNewSendersOfSubmitters: whether a sender is new for whoever submits with it is
// known behind the header, message by message, and so are limits per submitter.
func testNewSendersOfSubmitters(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, strangers.Expand(map[string]ratelimit.RuleConfig{
		"new": {Per: ratelimit.Per{ratelimit.PerSender}, StrangersNew: storetest.Numbers(t, "2/2h")},
		"box": {Per: ratelimit.Per{ratelimit.PerSubmitter}, Strangers: storetest.Numbers(t, "3/1h")},
	}))
	send := func(submitter string, isNew bool) string {
		f := storetest.FactsOf("a@shop.example", "shop.example")
		f.Watched, f.Tells, f.Names = true, true, true
		a := l.Begin(f)
		defer a.End()
		to := storetest.At("r@x.example")
		if to.NewToClient = a.NeedsStrangers(); !to.NewToClient {
			t.Error("does not ask for strangers")
		}
		rs := []ratelimit.Recipient{to}
		if v := a.Recipients(t.Context(), rs, nil); !v[0].OK {
			t.Errorf("%s answers before the header", v[0].Limit)
		}
		if !a.HeaderCame(ratelimit.Header{Submitter: submitter, NewSender: isNew}) {
			t.Error("no limit goes by the header")
		}
		if v := a.Submitted(t.Context(), rs, []int{0}); !v.OK {
			return v.Limit
		}
		return "+"
	}
	for i, want := range []string{"+", "+", "new.strangers_new"} {
		if got := send("shop/anna", true); got != want {
			t.Errorf("message %d of a new sender: %s", i, got)
		}
	}
	for i, want := range []string{"+", "+", "+", "box.strangers"} {
		if got := send("shop/bob", false); got != want {
			t.Errorf("message %d of a mailbox that has long used it: %s", i, got)
		}
	}
}

// TestStrangersAreExpanded into limits that concern whom their table does.
func TestStrangersAreExpanded(t *testing.T) {
	table := ratelimit.RuleConfig{
		Per: ratelimit.Per{ratelimit.PerUser}, Absent: ratelimit.AbsentSkip, Strangers: storetest.Numbers(t, "30/1h", "100/24h"),
		Clients: []string{"shop"}, Streams: []string{"main"}, Senders: []string{"@x.example"}, RecipientsNotAt: []string{"y.example"},
		Networks: office, NotNetworks: office[:1], Mode: ratelimit.Shadow, OnStoreFailure: ratelimit.FailDefer, FoldTag: true,
	}
	all := strangers.Expand(map[string]ratelimit.RuleConfig{"new": table})
	got, ok := all["new.strangers"]
	if len(all) != 1 || !ok || len(got.Recipients) != 2 || got.Only != (ratelimit.Only{Strangers: ratelimit.OfClient}) || got.Clients[0] != "shop" ||
		got.Streams[0] != "main" || got.Senders[0] != "@x.example" || got.RecipientsNotAt[0] != "y.example" || got.Mode != ratelimit.Shadow || len(got.Networks) != 2 || len(got.NotNetworks) != 1 ||
		got.OnStoreFailure != ratelimit.FailDefer || !got.FoldTag || got.Absent != ratelimit.AbsentSkip || got.Per[0] != ratelimit.PerUser {
		t.Errorf("%+v", all)
	}
	if strangers.OfSenders(map[string]ratelimit.RuleConfig{"new": table}) || !strangers.Any(map[string]ratelimit.RuleConfig{"new": table}) {
		t.Error("counts those of senders, or none at all")
	}
	table.StrangersOf = ratelimit.OfSender
	if !strangers.OfSenders(map[string]ratelimit.RuleConfig{"new": table}) {
		t.Error("does not count those of senders")
	}
	if limits := strangers.Expand(nil); limits == nil || len(limits) != 0 {
		t.Error("no table gives no limits that can be added to")
	}
}

// TestProblemsNameTheirKey: numbers for strangers are recipients, but stand elsewhere.
func TestProblemsNameTheirKey(t *testing.T) {
	table := ratelimit.RuleConfig{
		Per: ratelimit.Per{ratelimit.PerSender}, Recipients: storetest.Numbers(t, "1MiB/1h"),
		Strangers: storetest.Numbers(t, "3/1h", "4/1h"), StrangersNew: storetest.Numbers(t, "1KiB/2h"),
	}
	var keys []string
	table.Check(func(key, _ string) { keys = append(keys, key) })
	if got := strings.Join(keys, " "); got != "recipients strangers strangers_new" {
		t.Error(got)
	}
}

// TestExplainShowsLimitsOnStrangers, also those of new senders.
func TestExplainShowsLimitsOnStrangers(t *testing.T) {
	bed, _ := newBed(t, storetest.NewClock())
	l := bed.Limiter(t, strangers.Expand(map[string]ratelimit.RuleConfig{
		"new": {Per: ratelimit.Per{ratelimit.PerClient}, Strangers: storetest.Numbers(t, "3/1h"), StrangersNew: storetest.Numbers(t, "2/2h")},
	}))
	all, err := l.Explain(t.Context(), storetest.FactsOf("a@shop.example", "shop.example"), ratelimit.Recipient{Address: "r@x.example"})
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %+v", err, all)
	}
	for _, x := range all {
		if !x.Applies || !x.Fits || x.Key != "client=shop" {
			t.Errorf("%+v", x)
		}
	}
}
