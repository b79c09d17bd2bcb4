package syntax

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/spellings"

	"golang.org/x/text/secure/precis"

	"postern/mail"
)

func mailbox(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := Mailbox(s, true)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}

func TestSpellingsOfASenderHaveOneIdentity(t *testing.T) {
	seen := map[mail.Identity]bool{}
	for _, block := range spellings.Blocks() {
		want := mail.Identity(block[0])
		if seen[want] {
			t.Errorf("%s stands twice", want)
		}
		seen[want] = true
		for _, text := range block {
			a := mailbox(t, text)
			if got := a.Identity(); got != want {
				t.Errorf("%s: identity %s, want %s", text, got, want)
			}
			if got := mail.IdentityOf(a.Key()); got != want {
				t.Errorf("%s: identity of its key %s, want %s", text, got, want)
			}
			if got := mail.User(text, func(s string) (mail.Address, error) { return Mailbox(s, true) }); got != string(want) {
				t.Errorf("%s: as a SASL user %s, want %s", text, got, want)
			}
			if a.String() != text && !strings.Contains(text, `"`) && !strings.Contains(text, "[") {
				t.Errorf("%s: on the wire it is %s", text, a)
			}
		}
	}
}

func TestOneEntryOwnsTheSpellingsOfItsSenderAlone(t *testing.T) {
	blocks := spellings.Blocks()
	for _, entries := range blocks {
		for _, entry := range entries {
			p, err := mail.ParsePattern(entry, func(s string) (mail.Address, error) { return Mailbox(s, true) })
			if err != nil {
				t.Fatalf("%s: %v", entry, err)
			}
			var set mail.Patterns
			set.Add(p)
			for _, others := range blocks {
				for _, text := range others {
					a, owned := mailbox(t, text), others[0] == entries[0]
					if set.MatchSender(a) != owned || set.Match(a.Identity()) != owned {
						t.Errorf("%s of the entry %s: owned %v, want %v", text, entry, !owned, owned)
					}
				}
			}
		}
	}
}

// TestRecipientsFoldLess: a mailbox of others is not taken for one of which only
// we say that it is the same.
func TestRecipientsFoldLess(t *testing.T) {
	for _, row := range []struct {
		name, one, other string
		same             bool
	}{
		{"ASCII letters of another case", "Bob@dest.example", "bob@DEST.example", true},
		{"quotes that are not needed", `"bob"@dest.example`, "bob@dest.example", true},
		{"composed and decomposed letters", "jürgen@dest.example", "ju\u0308rgen@dest.example", true},
		{"A-labels and U-labels", "bob@bücher.example", "bob@xn--bcher-kva.example", true},
		{"wide letters", "ｂｏｂ@dest.example", "bob@dest.example", false},
		{"letters beyond ASCII of another case", "JÜRGEN@dest.example", "jürgen@dest.example", false},
		{"the Kelvin sign, which Unicode has for a K", "\u212Aim@dest.example", "kim@dest.example", true},
	} {
		one, other := mailbox(t, row.one), mailbox(t, row.other)
		if got := one.RecipientID() == other.RecipientID(); got != row.same {
			t.Errorf("%s: one recipient %v: %s and %s", row.name, got, one.RecipientID(), other.RecipientID())
		}
		for _, a := range []mail.Address{one, other} {
			if mail.RecipientOf(a.Key()) != a.RecipientID() || mail.RecipientOf(string(a.RecipientID())) != a.RecipientID() {
				t.Errorf("%s: %s and its key differ", row.name, a.RecipientID())
			}
		}
	}
}

// TestIdentityAgreesWithPRECIS holds the mappings against a second
// implementation of UsernameCaseMapped, for every character.
func TestIdentityAgreesWithPRECIS(t *testing.T) {
	accepted := 0
	for r := rune(0x80); r < 0x20000; r++ { // beyond it are ideographs only
		if !utf8.ValidRune(r) {
			continue
		}
		for _, local := range []string{"a" + string(r) + "Z", string(r) + "\u0301"} {
			a := mail.Address{Local: local, Domain: "example.org"}
			id := a.Identity()
			if mail.IdentityOf(string(id)) != id {
				t.Fatalf("%U: identity %q has the identity %q", r, id, mail.IdentityOf(string(id)))
			}
			want, err := precis.UsernameCaseMapped.String(local)
			if err != nil {
				continue
			}
			accepted++
			if again, err := precis.UsernameCaseMapped.String(want); err == nil {
				want = again // RFC 8264 s. 7: until nothing changes
			}
			if want = (mail.Address{Local: want, Domain: "example.org"}).Key(); string(id) != want {
				t.Errorf("%U: identity %q, PRECIS has %q", r, id, want)
			}
		}
	}
	if accepted < 100_000 {
		t.Errorf("PRECIS accepts %d", accepted)
	}
}

// TestIdentityOfHostileNamesIsCheap: time and memory grow with the length alone.
func TestIdentityOfHostileNamesIsCheap(t *testing.T) {
	for _, unit := range []string{"\u0301", "a\u0301", "\u0130", "\u0345", "\uFF21", "\uFF76\uFF9E", "\U0001D15F", "\u1E9B\u0323", "\u0F71\u0F72\u0F74", "\xff", `\"`} {
		local := strings.Repeat(unit, 256/len(unit)+1)[:256/len(unit)*len(unit)]
		a := mail.Address{Local: local, Domain: "example.org"}
		if id := a.Identity(); len(id) > 4*len(local)+len("@example.org") || mail.IdentityOf(string(id)) != id {
			t.Errorf("%q: %d octets of identity, again %q", unit, len(id), mail.IdentityOf(string(id)))
		}
		if n := testing.AllocsPerRun(10, func() { a.Identity() }); n > 60 {
			t.Errorf("%q: %v allocations", unit, n)
		}
	}
}

func FuzzIdentity(f *testing.F) {
	for _, block := range spellings.Blocks() {
		for _, text := range block {
			f.Add(block[0], text)
		}
	}
	f.Add(`"x+y"@a.example`, "+x@a.example")
	f.Fuzz(func(t *testing.T, entry, text string) {
		parse := func(s string) (mail.Address, error) { return Mailbox(s, true) }
		a, err := parse(text)
		if err != nil {
			return
		}
		id := a.Identity()
		if mail.IdentityOf(a.Key()) != id || mail.IdentityOf(string(id)) != id || len(id) > 4*len(text)+2 {
			t.Fatalf("%q: %q, of its key %q, again %q", text, id, mail.IdentityOf(a.Key()), mail.IdentityOf(string(id)))
		}
		if plain := id.Untagged(); plain.Untagged() != plain || mail.IdentityOf(string(plain)) != plain || plain.Domain() != a.Domain {
			t.Fatalf("%q without a tag: %q, again %q, identity %q", text, plain, plain.Untagged(), mail.IdentityOf(string(plain)))
		}
		if u := mail.User(text, parse); mail.User(u, parse) != u {
			t.Fatalf("%q as a user: %q, again %q", text, u, mail.User(u, parse))
		}
		if again, err := parse(string(id)); err == nil && again.Identity() != id {
			t.Fatalf("%q: %q is read as %q", text, id, again.Identity())
		}
		if r := a.RecipientID(); mail.RecipientOf(a.Key()) != r || mail.RecipientOf(string(r)) != r {
			t.Fatalf("%q as a recipient: %q, of its key %q", text, r, mail.RecipientOf(a.Key()))
		}
		p, err := mail.ParsePattern(entry, parse)
		if err != nil {
			return
		}
		if again, err := mail.ParsePattern(p.String(), nil); err != nil || again.String() != p.String() {
			t.Fatalf("%q: pattern %q is read as %q, %v", entry, p, again, err)
		}
		own, exact := p.Identity()
		var set mail.Patterns
		set.Add(p)
		if exact && set.MatchSender(a) != (own == id) || set.MatchSender(a) != set.Match(id) {
			t.Fatalf("%q owns %q: %v, identities %q and %q", entry, text, set.MatchSender(a), own, id)
		}
		if set.MatchRecipient(a) && !set.MatchSender(a) {
			t.Fatalf("%q is as a recipient %q, not as a sender", text, entry)
		}
	})
}

func BenchmarkIdentity(b *testing.B) {
	for name, text := range map[string]string{
		"plain": "news@example.org", "capital": "News@example.org", "quoted": `"a b"@example.org`, "UTF-8": "JÜRGEN@example.org",
	} {
		a := mailbox(b, text)
		key := a.Key()
		b.Run(name+"/key", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mail.IdentityOf(key)
			}
		})
		b.Run(name+"/address", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.Identity()
			}
		})
	}
}
