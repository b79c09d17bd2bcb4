package ratelimit

import (
	"encoding/json"
	"slices"
	"testing"
)

func FuzzKey(f *testing.F) {
	f.Add("shop", "bob", "news@example.org")
	f.Add(`a" \`, "\x00=", " x")
	f.Fuzz(func(t *testing.T, client, user, sender string) {
		if client == "" || user == "" || sender == "" || max(len(client), len(user), len(sender)) > maxValue {
			return
		}
		var key []byte
		want := []part{{PerClient, client}, {PerUser, user}, {PerSender, sender}}
		for _, p := range want {
			key = appendPart(key, 0, p.d, p.value)
		}
		if got, ok := parseKey(string(key)); !ok || !slices.Equal(got, want) {
			t.Fatalf("key %q reads as %v", key, got)
		}
	})
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

// TestEveryDimensionIsWhole: a per key has all that a row of dimensions asks for.
func TestEveryDimensionIsWhole(t *testing.T) {
	if len(matchOrder) != len(dimensions) {
		t.Errorf("%d of %d stand in matchOrder", len(matchOrder), len(dimensions))
	}
	for d := range Dimension(len(dimensions)) {
		if !slices.Contains(matchOrder[:], d) || d.String() == "" {
			t.Errorf("%q is without a name or a place in matchOrder", d)
		}
	}
	for _, d := range Dimensions() {
		var f Filter
		*f.Of(d) = "x"
		text, err := json.Marshal(f)
		if want := `{"` + d.String() + `":"x"}`; err != nil || string(text) != want || d.About() == "" {
			t.Errorf("a filter of %s is %s, %v; its flag %q", d, text, err, d.About())
		}
		facts := f.Facts()
		if got := facts.value(d); got != "x" && d != PerRecipientDomain {
			t.Errorf("a transaction has %q for %s", got, d)
		}
	}
}
