package replies

import (
	"strings"
	"testing"

	"postern/mail"
)

func TestMaskedSaysNothingOfAnybody(t *testing.T) {
	for in, want := range map[string]string{
		"550 5.9.9 Zorp <ben@partner.example> at mx1.partner.example[192.0.2.7], see https://partner.example/x?u=ben": "550 5.9.9 zorp <someone@masked.example> at host.masked.example[192.0.2.1], see https://masked.example/",
		"550-5.9.9 Ben has\n550 5.9.9 zorped (4XkQb21sZz) S3140 1768000000":                                           "550 5.9.9 someone has zorped (0) s3140 0",
		"450 ask zen.spamhaus.org": "450 ask host.masked.example",
		"550":                      "550",
		"":                         "",
	} {
		got := Masked(in, "ben", "")
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if again := Masked(got); again != got {
			t.Errorf("%q masked once more is %q", got, again)
		}
	}
}

// TestTaughtRuleTakesRepliesThatDifferInNames, and no others.
func TestTaughtRuleTakesRepliesThatDifferInNames(t *testing.T) {
	const first = "550 5.9.9 Zorp ben (4XkQb21sZz) at mx1.partner.example, level 7: {spf} a|b quota 12, see https://partner.example/x"
	reply := Masked(first, "ben")
	rule, err := Teach("rcpt", reply, mail.ClassListedDomain, "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := Add("# ours\nlet a b\n\nrule broad other\n  text zorp\n", rule, "rcpt", reply, mail.ClassListedDomain)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRules(text)
	if err != nil {
		t.Fatal(err)
	}
	for reply, want := range map[string]mail.Class{
		first: mail.ClassListedDomain,
		"550 5.9.9 zorp anna (9abc12d) at mx2.free.example, level 12: {spf} a|b quota 3, see https://free.example/y": mail.ClassListedDomain,
		"550 5.9.9 Zorp ben (4XkQb21sZz) at mx1.partner.example, level 7: {spf} ab quota 12":                         mail.ClassOther,
		"550 5.9.8 Zorp": mail.ClassOther,
	} {
		if v := r.Classify("rcpt", reply); v.Class != want {
			t.Errorf("%s: %s by %s, want %s\n%s", reply, v.Class, v.Rule, want, text)
		}
	}
	if v := r.Classify("dot", first); v.Rule != "broad" {
		t.Errorf("at another stage: %+v", v)
	}
	if _, err := Add(text, rule, "rcpt", reply, mail.ClassListedDomain); err == nil {
		t.Error("the same rule is written twice")
	}
}

func TestTeachRefusesWhatItCannot(t *testing.T) {
	for name, tc := range map[string]struct{ reply, class, words, want string }{
		"no such class":         {"550 frobnicated", "moon", "", "unknown class"},
		"a class of ours":       {"550 frobnicated", "credentials", "", "unknown class"},
		"no refusal":            {"250 frobnicated", "other", "", "4yz or 5yz"},
		"no code":               {"frobnicated", "other", "", "4yz or 5yz"},
		"hardly a word":         {"550 no", "other", "", "too short"},
		"words that it has not": {"550 frobnicated by us", "other", "something else", "does not hold"},
	} {
		if rule, err := Teach("", tc.reply, mail.Class(tc.class), tc.words); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %q", name, err, rule)
		}
	}
}

func TestTeachCutsLongReplies(t *testing.T) {
	for _, word := range []string{"zorp ", "zorp", "\u00e9"} {
		reply := "550 " + strings.Repeat(word, 1000)
		rule, err := Teach("", reply, mail.ClassOther, "")
		if err != nil || len(rule) > 2*maxTaught+100 {
			t.Fatalf("%v, %d octets", err, len(rule))
		}
		if _, err := Add("", rule, "", reply, mail.ClassOther); err != nil {
			t.Error(err)
		}
	}
}

// FuzzTeach: whatever a receiver writes, the rule for it can be read, and nothing in
// it begins another rule.
func FuzzTeach(f *testing.F) {
	f.Add("550 5.7.1 Zorp {list} (a|b) \\d [x] $^ LISTURL someone 0", "")
	f.Add("450-zorp\n450 rule evil listed-ip\n450 text x", "rule evil")
	f.Fuzz(func(t *testing.T, reply, words string) {
		rule, err := Teach("rcpt", reply, mail.ClassContentSpam, words)
		if err != nil {
			return
		}
		if strings.Count(rule, "\n") > 7 {
			t.Errorf("%q", rule)
		}
		if _, err := newRules(rule); err != nil {
			t.Errorf("%q: %v", rule, err)
		}
	})
}
