package auth

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// Hashes of "open sesame" by openssl passwd and by crypt(3).
const (
	sha512Crypt  = "$6$abcdefgh$CkjGkP7IIgZVUCNlt.Vi53LOYJLXZ5KzdpzEYCj01XGruA1hxZYJqccTU2zz68oJwAGsd1iPty5F7dHIatUTy/"
	sha256Crypt  = "$5$abcdefgh$FWXdh6oXOJQkX7oAcP02d0Gnxjct6ra8Fwv29U9RIN2"
	sha512Rounds = "$6$rounds=1000$abcdefgh$Xh.7.kL3HzhnviFlsn40n4gUrDaYioIIiDlHiWZorP18.1JsnixO1BkqKbso/o60j4iwJz6yRdVGlrUTIYtXT/"
)

func TestParseHashRefusals(t *testing.T) {
	argon := func(params string) string {
		return "$argon2id$v=19$" + params + "$c29tZXNhbHQ$" + cheapSum
	}
	for _, row := range []struct{ name, text, says string }{
		{"nothing", "", "is missing"},
		{"a password", "secret", "is not a hash"},
		{"a hash of another kind", "$1$salt$sum", "another kind"},
		{"SSHA", "{SSHA}ZGFtYWdlZA==", "another kind"},
		{"plain text", "{PLAIN}secret", "another kind"},
		{"a name that does not go with its hash", "{BLF-CRYPT}" + cheapArgon, "another kind"},
		{"a name alone", "{BLF-CRYPT}", "another kind"},
		{"SHA-crypt, damaged", "$6$salt$sum", "damaged SHA-crypt"},
		{"SHA-crypt, cut", sha512Crypt[:90], "damaged SHA-crypt"},
		{"SHA-crypt, absurd rounds", strings.Replace(sha512Rounds, "=1000", "=999999999", 1), "rounds=999999999"},
		{"argon2i", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + cheapSum, "another kind"},
		{"too long", "$argon2id$" + strings.Repeat("a", 600), "longer than"},
		{"old version", strings.Replace(cheapArgon, "v=19", "v=16", 1), "damaged"},
		{"parts missing", "$argon2id$v=19$m=64,t=1,p=1", "damaged"},
		{"no memory", argon("m=0,t=1,p=1"), "damaged"},
		{"too little memory for its lanes", argon("m=8,t=1,p=2"), "damaged"},
		{"no passes", argon("m=64,t=0,p=1"), "damaged"},
		{"parameters in another order", argon("t=1,m=64,p=1"), "damaged"},
		{"negative", argon("m=-64,t=1,p=1"), "damaged"},
		{"absurd memory", argon("m=4194304,t=1,p=1"), "m=4194304"},
		{"absurd passes", argon("m=65536,t=2147483647,p=1"), "t=2147483647"},
		{"absurd lanes", argon("m=65536,t=1,p=255"), "p=255"},
		{"overflowing", argon("m=99999999999999999999,t=1,p=1"), "damaged"},
		{"short salt", "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + cheapSum, "damaged"},
		{"short sum", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$c2FsdA", "damaged"},
		{"padding", cheapArgon + "=", "damaged"},
		{"bcrypt, cut", cheapBcrypt[:59], "damaged"},
		{"bcrypt, absurd cost", strings.Replace(cheapBcrypt, "$04$", "$31$", 1), "cost 31"},
	} {
		_, err := parseHash(row.text)
		if err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestHashesVerify(t *testing.T) {
	long := strings.Repeat("x", 73)
	if _, err := HashBcrypt(long); err == nil {
		t.Error("bcrypt took 73 octets")
	}
	bcrypt, err := HashBcrypt("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{bcrypt, HashArgon2id("open sesame"), cheapArgon, cheapBcrypt,
		sha512Crypt, sha256Crypt, sha512Rounds, "{SHA512-CRYPT}" + sha512Crypt, "{sha256-crypt}" + sha256Crypt, "{CRYPT}" + sha512Rounds,
		"{BLF-CRYPT}" + cheapBcrypt, "{ARGON2ID}" + cheapArgon, "{CRYPT}" + cheapBcrypt,
		strings.Replace(cheapBcrypt, "$2y$", "$2b$", 1), strings.Replace(cheapBcrypt, "$2y$", "$2a$", 1)} {
		h, err := parseHash(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !h.matches("open sesame") || h.matches("open sesamf") || h.matches("") {
			t.Errorf("%s: wrong verdict", text)
		}
	}
	if one, two := HashArgon2id("a"), HashArgon2id("a"); one == two {
		t.Error("two hashes share a salt")
	}
}

// TestSHACryptReadsNoMoreThanItsBound: each of its rounds reads the whole
// password, so that a long wrong one would cost seconds.
func TestSHACryptReadsNoMoreThanItsBound(t *testing.T) {
	password := strings.Repeat("x", maxSHAPassword)
	d, err := shacrypt.New(shacrypt.WithIterations(1000))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := d.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(digest.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches(password) || h.matches(password+"x") {
		t.Error("wrong verdict at the bound")
	}
}

func TestRateText(t *testing.T) {
	for _, row := range []struct {
		in   string
		want Rate
		out  string
	}{
		{"10/10m", Rate{10, 10 * time.Minute}, "10/10m"},
		{"1/90s", Rate{1, 90 * time.Second}, "1/1m30s"},
		{"5/1h", Rate{5, time.Hour}, "5/1h"},
		{"5/1d", Rate{5, 24 * time.Hour}, "5/24h"},
		{"5/1h30m", Rate{5, 90 * time.Minute}, "5/1h30m"},
	} {
		var r Rate
		err := r.UnmarshalText([]byte(row.in))
		out, _ := r.MarshalText()
		if err != nil || r != row.want || string(out) != row.out {
			t.Errorf("%s: %+v, %q, %v", row.in, r, out, err)
		}
	}
	for _, bad := range []string{"", "10", "/1m", "10/", "0/1m", "-1/1m", "10/0s", "10/-1m", "10/5", "a/1m", "10/1m/1m", "1.5/1m", "1/99999d"} {
		if err := new(Rate).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	var told []string
	report := func(key, problem string) { told = append(told, key) }
	var c Config
	c.SetDefaults()
	c.Check(report)
	if len(told) > 0 {
		t.Errorf("defaults draw reports: %q", told)
	}
	if c.concurrency() < 1 {
		t.Errorf("concurrency %d", c.concurrency())
	}
	(&Config{Delay: time.Second, Concurrency: -1, Remember: -1, Trusted: make([]netip.Prefix, 1)}).Check(report)
	new(UserConfig).Check(report)
	(&UserConfig{Password: cheapArgon}).Check(report)
	want := "failures suspend_after suspend_after suspend_for concurrency remember max_delay trusted.0 password"
	if got := strings.Join(told, " "); got != want {
		t.Errorf("reported %s, want %s", got, want)
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(cheapArgon)
	f.Add(cheapBcrypt)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			return
		}
		if h.lanes == 0 {
			return
		}
		if h.memory > maxArgonMemory || uint64(h.memory)*uint64(h.passes) > maxArgonWork || h.passes == 0 {
			t.Errorf("%q: absurd parameters taken", text)
		}
	})
}

func FuzzRate(f *testing.F) {
	f.Add("10/10m")
	f.Add("5/1d")
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Rate
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		out, _ := r.MarshalText()
		if err := again.UnmarshalText(out); err != nil || again != r || r.N < 1 || r.Period <= 0 {
			t.Errorf("%q: %+v, then %q: %+v, %v", text, r, out, again, err)
		}
	})
}
