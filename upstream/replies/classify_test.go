package replies

import (
	"bufio"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// sample is one line of testdata/replies.tsv.
type sample struct {
	reply, stage, class, list string
	also                      []string
}

func samples(t testing.TB, path string) []sample {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []sample
	in := bufio.NewScanner(f)
	for in.Scan() {
		c := strings.Split(in.Text(), "\t")
		if len(c) < 7 || c[0] == "reply" {
			continue
		}
		out = append(out, sample{strings.ReplaceAll(c[0], `\n`, "\n"), c[1], c[3], c[5], strings.Split(c[6], ",")})
	}
	if in.Err() != nil || len(out) == 0 {
		t.Fatal(path, in.Err(), "no samples")
	}
	return out
}

func (s sample) right(c mail.Class) bool {
	return string(c) == s.class || hasWord(s.also, string(c))
}

// heldOut picks three samples in ten by their text alone.
func heldOut(s sample) bool {
	h := fnv.New32a()
	h.Write([]byte(s.reply))
	return h.Sum32()%10 < 3
}

// TestClassifyRealReplies holds the rules to their promise: 95 % of all right,
// the mean of the classes 0.9, listings found and not imagined.
func TestClassifyRealReplies(t *testing.T) {
	type count struct{ n, right int }
	var all, held, listed, rest count
	classes := map[string]*count{}
	add := func(c *count, right bool) {
		c.n++
		if right {
			c.right++
		}
	}
	for _, s := range samples(t, "testdata/replies.tsv") {
		v := Classify(s.stage, s.reply)
		ok := s.right(v.Class)
		if !ok {
			t.Logf("want %s, got %s by rule %q: %s", s.class, v.Class, v.Rule, s.reply)
		}
		if classes[s.class] == nil {
			classes[s.class] = &count{}
		}
		add(classes[s.class], ok)
		add(&all, ok)
		if heldOut(s) {
			add(&held, ok)
		}
		if mail.Class(s.class).Listed() {
			add(&listed, v.Class.Listed() || ok)
		} else {
			add(&rest, !v.Class.Listed() || ok)
		}
	}
	share := func(c count) float64 { return float64(c.right) / float64(c.n) }
	var mean float64
	for _, c := range classes {
		mean += share(*c) / float64(len(classes))
	}
	t.Logf("right: all %.3f, three in ten %.3f, mean of classes %.3f; listed found %.3f, others left alone %.3f",
		share(all), share(held), mean, share(listed), share(rest))
	if share(all) < 0.95 || share(held) < 0.85 || mean < 0.9 || share(listed) < 0.95 || share(rest) < 0.98 {
		t.Error("the rules are worse than promised")
	}
}

// The model was trained on these, too: make bench-replies tells how well it does on
// what it has not seen.
func TestClassifyOtherReplies(t *testing.T) {
	all := slices.Concat(samples(t, "testdata/replies-2.tsv"), samples(t, "testdata/replies-more.tsv"), samples(t, "testdata/replies-written.tsv"))
	wrong := 0
	for _, s := range all {
		if v := Classify(s.stage, s.reply); !s.right(v.Class) {
			t.Logf("want %s, got %s by rule %q: %s", s.class, v.Class, v.Rule, s.reply)
			wrong++
		}
	}
	if wrong*40 > len(all) {
		t.Errorf("%d of %d wrong", wrong, len(all))
	}
}

func TestEveryRuleIsUsed(t *testing.T) {
	used := map[string]bool{}
	for _, file := range []string{"testdata/replies.tsv", "testdata/replies-2.tsv", "testdata/replies-more.tsv", "testdata/replies-written.tsv"} {
		for _, s := range samples(t, file) {
			used[Classify(s.stage, s.reply).Rule] = true
		}
	}
	for _, r := range builtIn().rules {
		if !used[r.name] {
			t.Errorf("no reply is decided by rule %s", r.name)
		}
	}
}

func TestClassifyNamesTheList(t *testing.T) {
	for _, s := range samples(t, "testdata/replies.tsv") {
		switch v := Classify(s.stage, s.reply); s.list {
		case "-", "private", "dnsbl":
		case "spamhaus":
			if v.List != s.list && !strings.Contains(s.reply, "on one or more DNSBLs") {
				t.Errorf("list %q, want %q: %s", v.List, s.list, s.reply)
			}
		default:
			if v.List != s.list {
				t.Errorf("list %q, want %q: %s", v.List, s.list, s.reply)
			}
		}
	}
	v := Classify("rcpt", "550 5.7.1 Rejected: 192.0.2.34 listed at bl.partner.example")
	if v.List != "bl.partner.example" {
		t.Errorf("an unknown zone is named %q", v.List)
	}
}

func TestClassifyLeavesNamesOut(t *testing.T) {
	for _, row := range []struct {
		name, reply string
		want        mail.Class
	}{
		{"a list's name in a mailbox", "550 5.1.1 <spamhaus-blacklist@partner.example>: User unknown", mail.ClassNoSuchUser},
		{"words in a host name", "451 4.3.0 mx.spam-virus-quota.example: temporary failure", mail.ClassTemporaryFault},
		{"words in a link", "450 4.3.2 system busy, try again later, https://partner.example/virus/spam/blacklisted/dmarc", mail.ClassTemporaryFault},
		{"words in a link without scheme", "451 try later, see www.partner.example/spam?listed=blacklist", mail.ClassTemporaryFault},
		{"an address without brackets", "550 no such user dmarc-blocked-spf@partner.example", mail.ClassNoSuchUser},
		{"a quoted line of another receiver", "550 5.1.1 host mx.spf-fail.example[192.0.2.1] said: 550 5.1.1 User unknown", mail.ClassNoSuchUser},
		{"a positive reply that speaks of spam", "250 2.0.0 queued, spam score 3, listed by zen.spamhaus.org", mail.ClassOther},
		{"text that no rule knows", "550 5.9.9 Zorp quux frobnicated", mail.ClassOther},
		{"the same with a mailbox", "550 5.9.9 Zorp for <a@b.example>: quux", mail.ClassOther},
		{"a bare code", "550", mail.ClassOther},
		{"nothing", "", mail.ClassOther},
		{"no code", "user unknown", mail.ClassOther},
		{"capitals that imitate a mask", "550 LISTURL", mail.ClassOther},
	} {
		if v := Classify("rcpt", row.reply); v.Class != row.want {
			t.Errorf("%s: %s by rule %q, want %s", row.name, v.Class, v.Rule, row.want)
		}
	}
}

func TestMask(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"550 5.7.1 Host [192.0.2.1] said", " host [IP] said"},
		{"550-5.7.1 one\n550 5.7.1 two", " one two"},
		{"550-5.7.1 one 550-5.7.1 two 550 5.7.1 three", " one two three"},
		{"550 5.7.1 one / two", " one two"},
		{"550 #5.1.0 no", " no"},
		{"550 <a@b.example>: no", " <ADDR>: no"},
		{"550 a.b@c.example, no", " ADDR, no"},
		{"550 <http://zen.spamhaus.org/x>", " <LISTURL>"},
		{"550 see https://a.example/x?y=z.", " see URL"},
		{"550 2001:db8::1 and 2001:db8::/32", " IP and IP"},
		{"550 IP:192.0.2.7:25", " ip:IP:25"},
		{"550 by zen.spamhaus.org; mx1.a.example.", " by LIST; HOST."},
		{"550 rejected.Please RESOLVER.ADR.NotFound", " rejected.please resolver.adr.notfound"},
		{"550 here.If you", " here.if you"},
		{"550 Fini\u2019ed \u00c9t\u00e9", " fini'ed \u00e9t\u00e9"},
		{"550 a\tb  \x00c", " a b c"},
		{"550 <not closed@", " <not closed@"},
		{"550 refused (client=[192.0.2.1] relay=<a.example>)", " refused ([IP] <ADDR>)"},
		{"550 a=b c= d", " a=b c= d"},
	} {
		if got := readReply(row.in, builtIn().lists); got.text != row.want {
			t.Errorf("%q: %q, want %q", row.in, got.text, row.want)
		}
	}
}

// TestStatusWithinTheText: qmail and hosts that quote another put the enhanced status
// code there.
func TestStatusWithinTheText(t *testing.T) {
	for in, want := range map[string]string{
		"550 sorry, no (#5.1.1)":                "5.1.1",
		"550 5.0.0 it said <550 5.7.606 no>":    "5.7.606",
		"550 5.7.1 it said 550 5.1.1 no":        "5.7.1",
		"451 it said: 550 5.1.1 no":             "",
		"550 version 5.1.1 of the rules":        "",
		"250 2.0.0 it said 550 5.1.1 to (#5.1)": "2.0.0",
	} {
		if got := readReply(in, builtIn().lists); got.status != want {
			t.Errorf("%s: %q, want %q", in, got.status, want)
		}
	}
}

// TestLinkAboutAnAddress: a list's own page about an address says that it is listed.
func TestLinkAboutAnAddress(t *testing.T) {
	for reply, want := range map[string]bool{
		"554 5.7.1 nope, see https://www.spamhaus.org/query/ip/192.0.2.1":                       true,
		"554 5.7.1 nope, see https://www.spamhaus.org/query/dbl?domain=a.example":               false,
		"451 4.7.1 greylisted, see https://www.spamhaus.org/query/ip/192.0.2.1":                 false,
		"554 5.7.1 the sender's address is wrong, see https://other.example/query/ip/192.0.2.1": false,
	} {
		if v := Classify("rcpt", reply); (v.Class == mail.ClassListedIP) != want {
			t.Errorf("%s: %+v", reply, v)
		}
	}
}

func TestClassifyReadsTheWait(t *testing.T) {
	for reply, want := range map[string]time.Duration{
		"451 Greylisted, please try again in 300 seconds":               5 * time.Minute,
		"451 4.7.1 Greylisting in action, please come back in 00:05:00": 5 * time.Minute,
		"450 Greylisted for 10 minutes":                                 10 * time.Minute,
		"421 4.7.0 Sending rate exceeded, retry in 2 hours":             2 * time.Hour,
		"421 too many messages, try again later":                        0,
		"421 too many messages in 1 hour":                               0,
		"421 rate limited, try again in 99999 days":                     maxWait,
		"550 5.7.1 user unknown, try again in 10 minutes":               0,
	} {
		if v := Classify("rcpt", reply); v.Wait != want {
			t.Errorf("%s: wait %v, want %v", reply, v.Wait, want)
		}
	}
}

func TestClassifySeesSignsOfListing(t *testing.T) {
	for reply, want := range map[string]bool{
		"554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org":       true,
		"421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints": true,
		"451 4.7.650 temporarily rate limited due to IP reputation":              true,
		"421 4.7.0 too many connections":                                         false,
		"550 5.1.1 user unknown":                                                 false,
	} {
		if v := Classify("rcpt", reply); v.Sign != want {
			t.Errorf("%s: %+v", reply, v)
		}
	}
}

// TestDoubtIsSeen: what may be trouble of the receiver says of no recipient for good
// that there is none.
func TestDoubtIsSeen(t *testing.T) {
	for reply, want := range map[string]bool{
		"550 5.1.1 user unknown": false,
		"550-5.1.1 The email account that you tried to reach does not exist": false,
		"550 No such user here":                                      false,
		"550 5.1.1 Mailbox unavailable: no such recipient":           false,
		"550 Empf\u00e4nger unbekannt":                               false,
		"550 5.1.1 LDAP: user unknown":                               true,
		"550 5.1.1 User unknown (lookup failed)":                     true,
		"550 5.1.1 user unknown, temporarily":                        true,
		"550 5.1.1 User unknown for policy reasons":                  true,
		"550 5.4.1 Recipient address rejected: Access denied":        true,
		"550 5.1.1 No such user, try again later":                    true,
		"550 Utilisateur inconnu, veuillez r\u00e9essayer plus tard": true,
		"450 4.7.1 slow down":                                        false,
		"550 5.9.9 zorp for <ben@partner.example>: quux frobnicated": true,
		"451 zorp for <ben@partner.example>":                         true,
		"451 4.3.0 internal error, try again later":                  false,
	} {
		if v := Classify("rcpt", reply); v.Doubt != want {
			t.Errorf("%s: %+v", reply, v)
		}
	}
}

func TestOperatorRulesComeFirst(t *testing.T) {
	r, err := newRules(`
# ours
let frob frob(?:bed|nicated)
known frobzilla bl.frob.example | frob list
rule our-frob listed-ip
  stage rcpt
  code 55x
  text {frob} by
  not LISTURL
  remedy Ask frob.
rule our-zen listed-ip
  text zen says no
  list our-zen
class other Ask Anna.
`)
	if err != nil {
		t.Fatal(err)
	}
	v := r.Classify("rcpt", "550 Frobnicated by bl.frob.example")
	if v != (Meaning{Class: mail.ClassListedIP, List: "frobzilla", Rule: "our-frob", Sure: 1, Remedy: "Ask frob.", Sign: true}) {
		t.Errorf("%+v", v)
	}
	if v := r.Classify("dot", "550 Frobnicated by bl.frob.example"); v.Class != mail.ClassOther || v.Remedy != "Ask Anna." {
		t.Errorf("at another stage: %+v", v)
	}
	if v := r.Classify("rcpt", "450 zen says no"); v.List != "our-zen" {
		t.Errorf("%+v", v)
	}
	if v := r.Classify("rcpt", "550 5.1.1 user unknown"); v.Class != mail.ClassNoSuchUser {
		t.Errorf("built-in rules are gone: %+v", v)
	}
}

func TestNewRulesNamesEachFault(t *testing.T) {
	_, err := newRules("text x\nrule a nonsense\nrule b other\ncode 550\nrule b other\nrule b2 other\n text (\nrule c other\n text Capital\n" +
		"rule d other\n code 9xx\n stage later\n status 5\n word x\nknown alone\nrule e other\nclass none x\n")
	for _, want := range []string{
		"line 1: text: stands before the first rule", `unknown class "nonsense"`, `"b" is used twice`, "missing closing )",
		`"C" can never match`, `"9xx" is not`, `"later" is none of`, `"5" is not`, "word: unknown word", "names neither",
		"rule e has neither text nor code nor status", `unknown class "none"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from:\n%v", want, err)
		}
	}
}

func TestLoadRulesReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte("rule mine content-spam\n text quux"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := LoadRules(path)
	if err != nil || r.Classify("", "550 quux").Rule != "mine" {
		t.Error(r, err)
	}
	if _, err := LoadRules(path + "x"); err == nil {
		t.Error("a missing file is no fault")
	}
	if r, err := LoadRules(""); err != nil || r.Classify("", "550 5.1.1 user unknown").Class != mail.ClassNoSuchUser {
		t.Error("without a file the built-in rules hold:", err)
	}
}

// FuzzClassify looks for panics, for classes that do not exist, and for a
// verdict that hangs on what stands behind the part that is read.
func FuzzClassify(f *testing.F) {
	for _, s := range samples(f, "testdata/replies.tsv") {
		f.Add(s.stage, s.reply)
	}
	f.Fuzz(func(t *testing.T, stage, reply string) {
		v := Classify(stage, reply)
		if !v.Class.OfReply() || v.Wait < 0 || v.Wait > maxWait {
			t.Errorf("%+v", v)
		}
		if len(reply) > maxReply && Classify(stage, reply[:maxReply]) != v {
			t.Error("the rest of a long reply counts")
		}
	})
}

func FuzzNewRules(f *testing.F) {
	f.Add(rulesText[:2000])
	f.Add("rule a other\n text x{1,100}\n and y\n not z")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := newRules(text); err == nil {
			r.Classify("rcpt", "550 5.1.1 user unknown")
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	all := samples(b, "testdata/replies.tsv")
	Classify("rcpt", all[0].reply)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s := all[i%len(all)]
		Classify(s.stage, s.reply)
		i++
	}
}

func BenchmarkNewRules(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newRules(""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClassifyHostile feeds texts made to wake as many rules as possible.
func BenchmarkClassifyHostile(b *testing.B) {
	word := strings.Repeat("blocked spam sender domain user unknown rejected mailbox limit exceeded ip reverse dkim relay ", 60)
	b.ReportAllocs()
	for b.Loop() {
		Classify("rcpt", "550 5.7.1 "+word)
	}
}
