package ratelimit

import (
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
