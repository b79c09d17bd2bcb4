package ratelimit_test

import (
	"context"
	"strings"
	"testing"

	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

// at is a recipient at a domain of a group.
func at(domain, group string) ratelimit.Recipient {
	return ratelimit.Recipient{Address: mail.RecipientID("x@" + domain), Domain: domain, Provider: group}
}

// TestLimitPerProvider: all domains of a group have one budget, also those of one
// message, and an override is for a group by its name.
func TestLimitPerProvider(t *testing.T) {
	clock := storetest.NewClock()
	rules := map[string]ratelimit.RuleConfig{
		"group": {Per: ratelimit.Per{ratelimit.PerProvider}, Recipients: storetest.Numbers(t, "2/1h"), RecipientsNotAt: []string{"own.example"},
			Overrides: map[string]ratelimit.Override{"google": {Recipients: storetest.Numbers(t, "3/1h")}}},
		"pair": {Per: ratelimit.Per{ratelimit.PerProvider, ratelimit.PerRecipientDomain}, Recipients: storetest.Numbers(t, "2/1h")},
	}
	l := ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 16 << 20}, clock.Now), storetest.Compile(t, rules), clock.Now)
	l.UseProviders(func(_ context.Context, upstream, domain string) string {
		return map[string]string{"a.example": "google"}[domain]
	})
	a := l.Begin(storetest.FactsOf("news@example.org", "example.org"))
	defer a.End()
	if !a.NeedsProvider("a.example") {
		t.Error("no limit wants to know the group")
	}
	var got strings.Builder
	for _, v := range a.Recipients(t.Context(), []ratelimit.Recipient{
		at("a.example", "google"), at("b.example", "google"), at("c.example", "google"), at("d.example", "google"),
		at("e.example", "other"), at("f.example", "other"), at("g.example", "other"), at("h.example", ""),
	}, nil) {
		if v.OK {
			got.WriteString("+")
		} else {
			got.WriteString("-" + v.Limit)
		}
	}
	if got.String() != "+++-group++-group+" {
		t.Errorf("%s", got.String())
	}
	for f, want := range map[ratelimit.Filter]string{
		{Limit: "group", Provider: "google"}: "provider=google", {Limit: "group", Provider: "other"}: "provider=other", {Limit: "group", Client: "shop"}: "client=shop",
	} {
		all, err := l.Show(t.Context(), f, 0)
		if err != nil || len(all) != 1 || all[0].Key != want {
			t.Errorf("%+v: %+v, %v", f, all, err)
		}
	}
	all, err := l.Explain(t.Context(), ratelimit.Facts{Client: "shop", Sender: "news@example.org", Upstream: "world"}, ratelimit.Recipient{Address: "x@a.example", Domain: "a.example"})
	if err != nil || all[0].Key != "provider=google" || all[0].Fits || all[0].Override != "google" || all[1].Key != "recipient_domain=a.example provider=google" {
		t.Errorf("%+v, %v", all, err)
	}
	if key, err := l.KeyOf("group", (&ratelimit.Filter{Provider: "google"}).Facts(), ""); err != nil || key != "provider=google" {
		t.Errorf("%q, %v", key, err)
	}
}

// TestExplainSaysWhyMailHasNoKeyPerProvider: by no receiver's own hosts, or since another
// part of the key is missing.
func TestExplainSaysWhyMailHasNoKeyPerProvider(t *testing.T) {
	clock := storetest.NewClock()
	rules := map[string]ratelimit.RuleConfig{"group": {Per: ratelimit.Per{ratelimit.PerProvider, ratelimit.PerUser}, Absent: ratelimit.AbsentSkip, Recipients: storetest.Numbers(t, "2/1h")}}
	l := ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 16 << 20}, clock.Now), storetest.Compile(t, rules), clock.Now)
	for _, row := range []struct{ group, user, want string }{
		{"", "anna", "counts per provider, and mail that does not go to the receivers' own hosts (mx = true) has none"},
		{"google", "", "counts per user, and this mail has none"},
	} {
		all, err := l.Explain(t.Context(), ratelimit.Facts{Client: "shop", Sender: "news@example.org", Upstream: "world", User: row.user}, at("a.example", row.group))
		if err != nil || all[0].Why != row.want {
			t.Errorf("%+v: %+v, %v", row, all, err)
		}
	}
}

// TestProviderIsNotAskedForWhereNoLimitCountsIt, so that no look at DNS goes before the
// limits in vain.
func TestProviderIsNotAskedForWhereNoLimitCountsIt(t *testing.T) {
	clock := storetest.NewClock()
	rules := map[string]ratelimit.RuleConfig{
		"client": {Per: ratelimit.Per{ratelimit.PerClient}, Recipients: storetest.Numbers(t, "100/1h")},
		"group":  {Per: ratelimit.Per{ratelimit.PerProvider}, Recipients: storetest.Numbers(t, "2/1h"), RecipientsNotAt: []string{"own.example"}, Senders: []string{"news@example.org"}},
	}
	l := ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 16 << 20}, clock.Now), storetest.Compile(t, rules), clock.Now)
	for sender, want := range map[string]bool{"news@example.org": true, "boss@example.org": false} {
		a := l.Begin(storetest.FactsOf(sender, "example.org"))
		if a.NeedsProvider("a.example") != want || a.NeedsProvider("own.example") {
			t.Errorf("%s: %v, %v", sender, a.NeedsProvider("a.example"), a.NeedsProvider("own.example"))
		}
		a.End()
	}
}

func TestOverrideNamesAProvider(t *testing.T) {
	_, err := ratelimit.Compile(map[string]ratelimit.RuleConfig{
		"group": {Per: ratelimit.Per{ratelimit.PerProvider}, Recipients: storetest.Numbers(t, "2/1h"), Overrides: map[string]ratelimit.Override{"gogle": {Recipients: storetest.Numbers(t, "3/1h")}}},
	}, ratelimit.Env{Providers: []string{"google", "other"}})
	if err == nil || !strings.Contains(err.Error(), `limit.group.overrides.gogle: names "gogle", which is no group of receivers; there are: google, other`) {
		t.Errorf("%v", err)
	}
}
