package relay

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/mx/provider"
)

// TestQuestionsForGroupsAreBounded: at most 100 a minute for each client.
func TestQuestionsForGroupsAreBounded(t *testing.T) {
	var a askers
	now := time.Unix(1_800_000_000, 0)
	most := 0
	var times []time.Time
	for range 5 * 60 * 20 { // 20 a second for five minutes
		if a.may("shop", now) {
			times = append(times, now)
		}
		n := 0
		for _, at := range times {
			if now.Sub(at) < time.Minute {
				n++
			}
		}
		most = max(most, n)
		now = now.Add(50 * time.Millisecond)
	}
	if most > 100 || len(times) < 5*questionsPerTime {
		t.Errorf("%d within a minute, %d in all", most, len(times))
	}
	if !a.may("corporate", now) {
		t.Error("another client pays for it")
	}
}

// TestGroupWithoutAnAnswerIsOther: DNS that says nothing is no pass, and a question too
// many is not asked.
func TestGroupWithoutAnAnswerIsOther(t *testing.T) {
	r := newRig(t)
	for _, line := range []string{"limit.group.per provider", "limit.group.recipients 2/1h", "group.big mx.b.example mx.c.example"} {
		r.set("test", line)
	}
	r.mx("test", "b.example")
	r.mx("test", "c.example")
	r.start()
	r.world.zone.Break("slow1.example", dns.RcodeServerFailure)
	r.world.zone.Break("slow2.example", dns.RcodeServerFailure)
	p := r.dial()
	p.send("EHLO c.example\r\nMAIL FROM:<a@example.org>\r\n")
	p.want("250")
	p.want("250")
	ask := func(to, want string) {
		t.Helper()
		p.send("RCPT TO:<x@" + to + ">\r\n")
		p.want(want)
	}
	ask("slow1.example", "451 4.4.3") // mail waits, and costs nothing
	ask("slow2.example", "451 4.4.3")
	ask("b.example", "250")
	// With no question left a domain that nobody has asked for yet is in the group of all others.
	for r.server.asking.may("corporate", time.Now()) {
	}
	ask("c.example", "250")
	p.send("QUIT\r\n")
	p.want("221")
	var keys []string
	for _, l := range r.events.wait(t, 0).Limits {
		keys = append(keys, l.Key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"provider=big", "provider=" + provider.Other}) {
		t.Errorf("%v", keys)
	}
}

// TestGroupOutlivesAReload: with no question left a domain is in the group that it was in
// before its upstream was made anew.
func TestGroupOutlivesAReload(t *testing.T) {
	r := newRig(t)
	for _, line := range []string{"limit.group.per provider", "limit.group.recipients 2/1h", "group.big mx.b.example mx.c.example"} {
		r.set("test", line)
	}
	r.mx("test", "b.example")
	r.mx("test", "c.example")
	r.world.asked = []string{"b.example"}
	r.start()
	for r.server.asking.may("corporate", time.Now()) {
	}
	p := r.dial()
	p.send("EHLO c.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<x@b.example>\r\nRCPT TO:<x@c.example>\r\nQUIT\r\n")
	for _, want := range []string{"250", "250", "250", "250", "221"} {
		p.want(want)
	}
	var keys []string
	for _, l := range r.events.wait(t, 0).Limits {
		keys = append(keys, l.Key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"provider=big", "provider=" + provider.Other}) {
		t.Errorf("%v: c.example was not known before, and b.example was", keys)
	}
}
