package storetest

import (
	"strings"
	"testing"

	"postern/mail"
	"postern/ratelimit"
)

func (bed Bed) Limiter(t *testing.T, cfg map[string]ratelimit.RuleConfig) *ratelimit.Limiter {
	t.Helper()
	return ratelimit.NewLimiter(bed.Store, CompileEnv(t, cfg, ratelimit.Env{InternalDomains: []string{"corp.example", "*.corp.example"}}), bed.Clock.Now)
}

// At makes a recipient of its key.
func At(address string) ratelimit.Recipient {
	domain := ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		domain = address[i+1:]
	}
	return ratelimit.Recipient{Address: mail.RecipientID(address), Domain: domain}
}

// Send is one message; its verdicts as "+" and "-".
func Send(t *testing.T, l *ratelimit.Limiter, f ratelimit.Facts, to ...string) string {
	t.Helper()
	a := l.Begin(f)
	defer a.End()
	rs := make([]ratelimit.Recipient, len(to))
	for i := range to {
		rs[i] = At(to[i])
	}
	var b strings.Builder
	for _, v := range a.Recipients(t.Context(), rs, nil) {
		if v.OK {
			b.WriteByte('+')
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}

// Numbers parses "500/1h" and the like.
func Numbers(t testing.TB, texts ...string) ratelimit.Numbers {
	t.Helper()
	list := make(ratelimit.Numbers, len(texts))
	for i, s := range texts {
		if err := list[i].UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func Compile(t testing.TB, cfg map[string]ratelimit.RuleConfig) *ratelimit.Limits {
	t.Helper()
	return CompileEnv(t, cfg, ratelimit.Env{})
}

func CompileEnv(t testing.TB, cfg map[string]ratelimit.RuleConfig, env ratelimit.Env) *ratelimit.Limits {
	t.Helper()
	rs, err := ratelimit.Compile(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// FactsOf is mail of client shop from a sender.
func FactsOf(sender, domain string) ratelimit.Facts {
	return ratelimit.Facts{
		Client: "shop", ClientIP: "192.0.2.7", Sender: mail.IdentityOf(sender), SenderDomain: domain,
		Stream: "marketing", Upstream: "provider", SourceIP: "192.0.2.25",
	}
}
