package policy

import (
	"strings"
	"testing"

	"postern/mail"
)

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern  string
		own, not []string
	}{
		{"news@example.org",
			[]string{"news@example.org", "NEWS@Example.ORG", `"news"@example.org`, `"ne\ws"@example.org`},
			[]string{"new@example.org", "news2@example.org", "news+tag@example.org", "news@www.example.org", "news@example.org.evil.example", "news@example.com", `" news"@example.org`, `"news@example.org"@evil.example`, "news%example.org@evil.example", "example.org!news@evil.example"}},
		{"@example.org",
			[]string{"a@example.org", "A@EXAMPLE.org", `"a b"@example.org`, `"a@evil.example"@example.org`, "a%evil.example@example.org", "evil.example!a@example.org", "jdöe@example.org"},
			[]string{"a@sub.example.org", "a@evil-example.org", "a@example.org.evil.example", "a@org", "a@xexample.org", "a@[192.0.2.1]", `"@example.org"@evil.example`, "a%example.org@evil.example", "example.org!a@evil.example"}},
		{"@*.example.org",
			[]string{"a@sub.example.org", "a@deep.sub.example.org", "a@SUB.example.org", "a@xn--mchine-bua.example.org", "a@mächine.example.org"},
			[]string{"a@example.org", "a@subexample.org", "a@sub.example.org.evil.example", "a@sub.example.com", "a@org"}},
		{"@Mächine.example",
			[]string{"a@mächine.example", "a@MÄCHINE.example", "a@xn--mchine-bua.example", "a@XN--MCHINE-BUA.EXAMPLE"},
			[]string{"a@machine.example", "a@maechine.example", "a@sub.mächine.example"}},
		{"@xn--mchine-bua.example",
			[]string{"a@mächine.example", "a@xn--mchine-bua.example"},
			[]string{"a@machine.example"}},
		{"@*.mächine.example",
			[]string{"a@x.mächine.example", "a@x.xn--mchine-bua.example"},
			[]string{"a@mächine.example"}},
		{"jdöe@example.org",
			[]string{"jdöe@example.org", "JDöe@example.org", "jdo\u0308e@example.org", "JDÖE@example.org"},
			[]string{"jdoe@example.org"}},
		{"k@example.org",
			[]string{"K@example.org", "\u212a@example.org"}, // Unicode has the Kelvin sign for a K
			[]string{"\u043a@example.org"}},                 // not the Cyrillic letter that looks like one
		{`"a b"@example.org`,
			[]string{`"a b"@example.org`, `"A\ B"@example.org`},
			[]string{"ab@example.org", `"a  b"@example.org`}},
		{`"*"@example.org`,
			[]string{`"*"@example.org`, "*@example.org"},
			[]string{"a@example.org"}},
		{"@[192.0.2.1]",
			[]string{"a@[192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"},
			[]string{"a@[192.0.2.2]", "a@example.org", "a@[IPv6:2001:db8::1]"}},
		{"@example",
			[]string{"a@example"},
			[]string{"a@x.example"}},
	} {
		t.Run(tt.pattern, func(t *testing.T) {
			var p patterns
			if problem := p.add(tt.pattern, parse); problem != "" {
				t.Fatal(problem)
			}
			for _, s := range tt.own {
				if !p.MatchSender(addr(t, s)) {
					t.Errorf("%s does not match", s)
				}
			}
			for _, s := range tt.not {
				if p.MatchSender(addr(t, s)) {
					t.Errorf("%s matches", s)
				}
			}
			if p.MatchSender(mail.Address{}) || p.MatchSender(mail.Postmaster) {
				t.Error("an address without a domain matches")
			}
		})
	}
}

func TestPatternsThatAreNone(t *testing.T) {
	for _, s := range []string{
		"", " ", "@", "@*", "@*.", "*", "**", "*@*", "example.org", "*.example.org", "a@", "@@example.org", "a@@example.org", "<a@example.org>",
		"@example.org.", "@.example.org", "@*.example.org.", "@*.*.example.org", "@x.*.example.org", "@*example.org", "a@*.example.org", " a@example.org",
		"a@example.org ", "*.x@example.org", "@ example.org", "a@example.org,b@example.org", "@[192.0.2.1", "@*.[192.0.2.1]", `""@example.org`, "*.x@example.org@y", "@exam_ple.org", "@-a.example",
		"@192.0.2.1", "@xn--a-ecp.ru", "@ｅxample.org", "@evil。example.org", "a b@example.org", "@example.org\r\n", "@exa\x00mple.org",
	} {
		var p patterns
		if problem := p.add(s, parse); !strings.HasPrefix(problem, "is not a pattern of addresses; write one such as") {
			t.Errorf("%q: %q", s, problem)
		}
		if !p.Empty() {
			t.Errorf("%q is kept", s)
		}
	}
}

// Such a pattern would quietly own, refuse or allow almost nothing.
func TestPatternWithAStarForTheLocalPartIsRefused(t *testing.T) {
	for _, s := range []string{"*@example.org", "news-*@example.org", "a*b@[192.0.2.1]"} {
		var p patterns
		if problem := p.add(s, parse); !strings.Contains(problem, `has a "*" that stands for itself alone`) {
			t.Errorf("%q: %q", s, problem)
		}
	}
}

func TestNullReversePathIsNotASenderPattern(t *testing.T) {
	var p patterns
	if problem := p.add("<>", parse); !strings.Contains(problem, "null_sender") || !p.Empty() {
		t.Errorf("<>: %q", problem)
	}
}

// TestAllowedRecipientsFoldLess: what is refused is refused in every spelling,
// what is allowed only in those that are surely the same mailbox.
func TestAllowedRecipientsFoldLess(t *testing.T) {
	refuse := testRules(t, []string{"bob@dest.example"}, nil)
	allow := testRules(t, nil, []string{"bob@dest.example"})
	for _, row := range []struct {
		to              string
		refused, passes bool
	}{
		{"bob@dest.example", true, true}, {"Bob@DEST.example", true, true}, {`"bob"@dest.example`, true, true},
		{"ｂｏｂ@dest.example", true, false}, {"bobby@dest.example", false, false},
	} {
		if got := refuse.Recipient(refuse.clients[0], addr(t, row.to)) != nil; got != row.refused {
			t.Errorf("%s: refused %v", row.to, got)
		}
		if got := allow.Recipient(allow.clients[0], addr(t, row.to)) == nil; got != row.passes {
			t.Errorf("%s: allowed %v", row.to, got)
		}
	}
}

func testRules(t *testing.T, refuse, allow []string) *Rules {
	t.Helper()
	var c ClientConfig
	c.SetDefaults()
	c.RefuseRecipients, c.AllowRecipients = refuse, allow
	c.Users, c.Stream, c.Senders = []string{"Shop@Example.ORG"}, "s", []string{"News@example.org"}
	fail := func(path, text string) { t.Fatal(path, text) }
	return Compile(Config{Clients: map[string]ClientConfig{"one": c}, Streams: map[string]StreamConfig{"s": {}}}, parse, fail, func(string, string) {})
}

// TestUserOfAClientIsOneUserInEverySpelling: a session has the user's one form.
func TestUserOfAClientIsOneUserInEverySpelling(t *testing.T) {
	r := testRules(t, nil, nil)
	if c, reply := r.Client(&mail.Peer{User: mail.User("SHOP@example.org", parse)}); c == nil {
		t.Error(reply)
	}
	if c, _ := r.Client(&mail.Peer{User: "shop"}); c != nil {
		t.Error("another user is the client")
	}
}
