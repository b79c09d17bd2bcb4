package direct

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx"
	"postern/upstream"
)

func TestMailGoesToTheBestExchanger(t *testing.T) {
	w := newWorld(t, nil)
	best, worse := w.receiver("127.0.0.2", smtptest.Options{}), w.receiver("127.0.0.3", smtptest.Options{})
	w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.3")
	for range 3 {
		if s := w.send("x@b.example", "y@b.example"); s.codes() != "250 250 final 250" || s.host != fmt.Sprintf("mx1.b.example[127.0.0.2]:%d", w.port) {
			t.Fatalf("%s at %s", s, s.host)
		}
	}
	if len(best.Messages()) != 3 || len(worse.Messages()) != 0 || best.Accepted() != 1 {
		t.Errorf("%d and %d messages, %d connections with the best", len(best.Messages()), len(worse.Messages()), best.Accepted())
	}
	m := best.Messages()[0]
	if m.EHLO != "relay.example" || len(m.To) != 2 || string(m.Data) != message {
		t.Errorf("got %+v", m)
	}
}

func TestRepliesWhereThereIsNoHost(t *testing.T) {
	w := newWorld(t, nil, "null.example. 60 MX 0 .", "loop.example. 60 MX 5 relay.example.", "relay.example. 60 A 127.0.0.9",
		"private.example. 60 A 10.0.0.1", "six.example. 60 AAAA 2a00:1::1", "closed.example. 60 A 127.0.0.77", "text.example. 60 TXT x")
	w.zone.Break("broken.example", dns.RcodeServerFailure)
	for _, row := range []struct{ domain, want string }{
		{"nowhere.test", "550 5.1.2 <x@nowhere.test>: domain does not exist"},
		{"null.example", "556 5.1.10 <x@null.example>: domain takes no mail (null MX)"},
		{"loop.example", "554 5.4.6 <x@loop.example>: mail for this domain loops back to this relay"},
		{"private.example", "550 5.4.4 <x@private.example>: domain has no address that mail may be sent to"},
		{"text.example", "550 5.4.4 <x@text.example>: domain has no address that mail may be sent to"},
		{"six.example", "451 4.4.4 <x@six.example>: mail hosts of this domain have no address that can be reached from here"},
		{"broken.example", "451 4.4.3 <x@broken.example>: DNS does not say now who takes mail for this domain, try again later"},
		{"closed.example", "451 4.4.1 <x@closed.example>: no mail host of this domain takes a connection now, try again later"},
	} {
		s := w.send("x@" + row.domain)
		if s.String() != row.want || s.to[0].Own == nil || s.to[0].Own.Rule != "mx" || (s.to[0].Own.Err != nil) != s.to[0].Temporary() {
			t.Errorf("%s: %s (%+v)", row.domain, s, s.to[0].Own)
		}
	}
}

// TestNextAddressIsTried where a host takes no session, and what it said is known.
func TestNextAddressIsTried(t *testing.T) {
	for _, row := range []struct {
		name   string
		fault  smtptest.Fault
		failed bool // the first host is asked last now
	}{
		{"a greeting of 554", smtptest.Fault{Stage: smtptest.Greeting, Reply: "554 5.7.1 127.0.0.1 is listed at zen.spamhaus.org"}, true},
		{"a greeting of 421", smtptest.Fault{Stage: smtptest.Greeting, Reply: "421 4.7.0 too many connections"}, true},
		{"no greeting", smtptest.Fault{Stage: smtptest.Greeting, Drop: smtptest.DropBefore}, true},
		{"EHLO is refused for now", smtptest.Fault{Stage: smtptest.Hello, Reply: "450 4.7.1 not now"}, true},
		{"the connection is lost at RCPT", smtptest.Fault{Stage: smtptest.Rcpt, Drop: smtptest.DropBefore}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, nil)
			first, second := w.receiver("127.0.0.2", smtptest.Options{Faults: []smtptest.Fault{row.fault}}), w.receiver("127.0.0.3", smtptest.Options{})
			w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.3")
			for range 2 {
				if s := w.send("x@b.example"); s.codes() != "250 final 250" || !strings.HasPrefix(s.host, "mx2.") {
					t.Fatalf("%s at %s", s, s.host)
				}
			}
			if n := first.Accepted(); n != 1 || len(second.Messages()) != 2 {
				t.Errorf("the first host was asked %d times", n)
			}
		})
	}
}

// TestRefusalIsHandedThrough: no other host is asked in the hope of a milder one.
func TestRefusalIsHandedThrough(t *testing.T) {
	for _, row := range []struct {
		name, want string
		fault      smtptest.Fault
	}{
		{"greylisted", "450 4.2.0 greylisted, come back", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "450 4.2.0 greylisted, come back"}},
		{"no such user", "550 5.1.1 no such user", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "550 5.1.1 no such user"}},
		{"the sender for now", "451 4.7.1 not now", smtptest.Fault{Stage: smtptest.Mail, Reply: "451 4.7.1 not now"}},
		{"the message", "250 2.1.5 recipient ok, final 554 5.7.1 spam", smtptest.Fault{Stage: smtptest.Dot, Reply: "554 5.7.1 spam"}},
		{"the message for now", "250 2.1.5 recipient ok, final 451 4.7.1 later", smtptest.Fault{Stage: smtptest.Dot, Reply: "451 4.7.1 later"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.receiver("127.0.0.2", smtptest.Options{Faults: []smtptest.Fault{row.fault}})
			second := w.receiver("127.0.0.3", smtptest.Options{})
			w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.3")
			s := w.send("x@b.example")
			if s.String() != row.want || second.Accepted() != 0 {
				t.Errorf("%s; the second host was asked %d times", s, second.Accepted())
			}
			refusal := s.final
			if refusal.Code == 0 {
				refusal = s.to[0]
			}
			if refusal.Said == nil || refusal.Said.Domain != "b.example" || refusal.Own != nil {
				t.Errorf("evidence %+v", refusal.Said)
			}
		})
	}
}

// TestWhatAllHostsSayInsteadOfASession becomes temporary for the client, and is
// evidence of the domain.
func TestWhatAllHostsSayInsteadOfASession(t *testing.T) {
	w := newWorld(t, nil)
	listed := []smtptest.Fault{{Stage: smtptest.Greeting, Reply: "554 5.7.1 Service unavailable; client host [127.0.0.1] blocked using zen.spamhaus.org"}}
	var all []*smtptest.Server
	for i := 2; i < 6; i++ {
		all = append(all, w.receiver(fmt.Sprintf("127.0.0.%d", i), smtptest.Options{Faults: listed}))
	}
	w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.3", "mx3.b.example 127.0.0.4", "mx4.b.example 127.0.0.5")
	s := w.send("x@b.example")
	if s.codes() != "451" || s.to[0].Own == nil || s.to[0].Own.Said == nil {
		t.Fatalf("%s", s)
	}
	if e := s.to[0].Own.Said; e.Domain != "b.example" || e.Class != mail.ClassListedIP || e.At != "connect" || s.to[0].Own.Class != mail.ClassListedIP {
		t.Errorf("evidence %+v", e)
	}
	n := 0
	for _, r := range all {
		n += r.Accepted()
	}
	if n != maxSessions {
		t.Errorf("%d hosts were asked, want %d", n, maxSessions)
	}
}

// TestOneDomainATransaction: others are told to come by themselves, where one was
// taken; where none was, the next domain has its turn.
func TestOneDomainATransaction(t *testing.T) {
	w := newWorld(t, nil, "null.example. 60 MX 0 .")
	b := w.receiver("127.0.0.2", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "no@c.example", Reply: "550 5.1.1 no such user"}}})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.domain("c.example", "mx.c.example 127.0.0.2")
	if s := w.send("x@b.example", "y@c.example", "z@b.example"); s.String() != "250 2.1.5 recipient ok, "+
		"452 4.5.3 too many recipient domains, send the rest in another transaction, 250 2.1.5 recipient ok, final 250 2.0.0 message taken" && s.codes() != "250 452 250 final 250" {
		t.Errorf("%s", s)
	}
	if s := w.send("x@null.example", "no@c.example", "y@b.example", "y@c.example"); s.codes() != "556 550 250 452 final 250" && s.codes() != "556 550 452 250 final 250" {
		t.Errorf("%s", s)
	}
	if n := len(b.Messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestTLSIsTriedAndItsFailureRemembered.
func TestTLSIsTriedAndItsFailureRemembered(t *testing.T) {
	w := newWorld(t, nil)
	good := w.receiver("127.0.0.2", smtptest.Options{Offer: append([]string{"STARTTLS"}, smtptest.Common...)})
	bad := w.receiver("127.0.0.3", smtptest.Options{Offer: append([]string{"STARTTLS"}, smtptest.Common...),
		Faults: []smtptest.Fault{{Stage: smtptest.Handshake, Drop: smtptest.DropBefore}, {Stage: smtptest.Dot, Reply: "250 2.0.0 ok", Drop: smtptest.DropAfter}}})
	w.domain("good.example", "mx.good.example 127.0.0.2")
	w.domain("bad.example", "mx.bad.example 127.0.0.3")
	if s := w.send("x@good.example"); s.codes() != "250 final 250" || s.tls != "TLSv1.3" {
		t.Errorf("%s over %q", s, s.tls)
	}
	if good.Messages()[0].TLS == nil {
		t.Error("not encrypted")
	}
	for i, want := range []int{2, 3, 4} { // connections: the first one fails at TLS
		if s := w.send("x@bad.example"); s.codes() != "250 final 250" || s.tls != "" {
			t.Errorf("%s over %q", s, s.tls)
		}
		if n := bad.Accepted(); n != want {
			t.Errorf("after message %d: %d connections, want %d", i+1, n, want)
		}
	}
}

func TestPolicyOfTLSIsKept(t *testing.T) {
	for policy, want := range map[upstream.TLSPolicy]string{upstream.EncryptRequired: "451", upstream.EncryptVerified: "451", upstream.EncryptOff: "250 final 250"} {
		w := newWorld(t, func(c *upstream.Config, _ *Options) { c.TLS = policy })
		w.receiver("127.0.0.2", smtptest.Options{})
		w.domain("b.example", "mx.b.example 127.0.0.2")
		if s := w.send("x@b.example"); s.codes() != want {
			t.Errorf("%s: %s", policy, s)
		}
	}
	// A certificate for another name is no good where one is asked for.
	for policy, want := range map[upstream.TLSPolicy]string{upstream.EncryptRequired: "250 final 250", upstream.EncryptVerified: "451"} {
		w := newWorld(t, func(c *upstream.Config, _ *Options) { c.TLS = policy })
		w.receiver("127.0.0.2", smtptest.Options{Offer: append([]string{"STARTTLS"}, smtptest.Common...)})
		w.domain("b.example", "mx.b.example 127.0.0.2")
		if s := w.send("x@b.example"); s.codes() != want {
			t.Errorf("%s with a certificate for another name: %s", policy, s)
		}
	}
}

// TestSourceStaysTheSameForADomain, and spreads over domains.
func TestSourceStaysTheSameForADomain(t *testing.T) {
	var all []netip.Addr
	for i := range 4 {
		all = append(all, netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}))
	}
	all = append(all, netip.MustParseAddr("::1"))
	to := netip.MustParseAddr("127.0.0.2")
	count, moved := map[netip.Addr]int{}, 0
	for i := range 4000 {
		domain := fmt.Sprintf("d%d.example", i)
		a, ok := Source(all, domain, to)
		b, _ := Source(all, domain, to)
		if !ok || a != b {
			t.Fatalf("%s: %s, then %s", domain, a, b)
		}
		count[a]++
		if c, _ := Source(all[1:], domain, to); a != all[0] && c != a {
			moved++
		}
	}
	for a, n := range count {
		if n < 850 || n > 1150 {
			t.Errorf("%s has %d of 4,000 domains", a, n)
		}
	}
	if len(count) != 4 || moved > 0 {
		t.Errorf("%v, %d domains moved when another address went", count, moved)
	}
	if a, _ := Source(all, "d.example", netip.MustParseAddr("2a00::1")); a != netip.MustParseAddr("::1") {
		t.Errorf("IPv6 from %s", a)
	}
	if _, ok := Source(all[:4], "d.example", netip.MustParseAddr("2a00::1")); ok {
		t.Error("IPv6 from an IPv4 address")
	}
	if a, ok := Source(nil, "d.example", to); !ok || a.IsValid() {
		t.Error("without source addresses")
	}
}

// TestGreylistPassesAtTheFirstRetry with four source addresses: the triple of
// client, sender and recipient stays.
func TestGreylistPassesAtTheFirstRetry(t *testing.T) {
	w := newWorld(t, nil)
	grey := w.receiver("127.0.0.2", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Times: 20, Reply: "450 4.2.0 greylisted"}}})
	via := upstream.Route{SourceIPs: []netip.Addr{netip.MustParseAddr("127.0.3.1"), netip.MustParseAddr("127.0.3.2"), netip.MustParseAddr("127.0.3.3"), netip.MustParseAddr("127.0.3.4")}}
	first := map[string]netip.Addr{}
	used := map[netip.Addr]bool{}
	for i := range 20 {
		domain := fmt.Sprintf("g%d.example", i)
		w.domain(domain, fmt.Sprintf("mx.g%d.example 127.0.0.2", i))
		s := w.sendBy(via, "x@"+domain)
		if s.codes() != "450" {
			t.Fatalf("%s", s)
		}
		first[domain], used[s.from] = s.from, true
	}
	for domain, from := range first {
		if s := w.sendBy(via, "x@"+domain); s.codes() != "250 final 250" || s.from != from {
			t.Errorf("%s: %s from %s, and from %s before", domain, s, s.from, from)
		}
	}
	if len(used) != 4 || len(grey.Messages()) != 20 {
		t.Errorf("%d addresses used, %d messages", len(used), len(grey.Messages()))
	}
}

func TestOwnListenerGetsNoMail(t *testing.T) {
	w := newWorld(t, func(c *upstream.Config, o *Options) {
		o.Self = mx.Self{Listeners: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.5"), uint16(c.Port))}}
	}, "x.example. 60 A 127.0.0.5")
	if s := w.send("a@x.example"); s.codes() != "554" {
		t.Errorf("%s", s)
	}
}

// TestRefusedAddressesAreTold once, and not for each of many domains.
func TestRefusedAddressesAreTold(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(_ *upstream.Config, o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for i := range 300 {
		w.zone.Add(fmt.Sprintf("p%d.example. 60 A 169.254.169.254", i))
		for range 2 {
			if s := w.send(fmt.Sprintf("a@p%d.example", i)); s.codes() != "550" {
				t.Fatalf("%s", s)
			}
		}
	}
	if n := strings.Count(log.String(), "\n"); n != maxTold || !strings.Contains(log.String(), "169.254.169.254 (link-local)") {
		t.Errorf("%d lines: %.300s", n, log.String())
	}
}

// TestSlowHostsCostBoundedTime: hosts that say nothing are given up, and asked
// last from then on.
func TestSlowHostsCostBoundedTime(t *testing.T) {
	w := newWorld(t, func(c *upstream.Config, _ *Options) {
		c.GreetingTimeout, c.FindTimeout = 200*time.Millisecond, 300*time.Millisecond
	})
	slow := []smtptest.Fault{{Stage: smtptest.Greeting, Gate: smtptest.NewGate()}} // for ever
	w.receiver("127.0.0.2", smtptest.Options{Faults: slow})
	w.receiver("127.0.0.3", smtptest.Options{Faults: slow})
	good := w.receiver("127.0.0.4", smtptest.Options{})
	w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.3", "mx3.b.example 127.0.0.4")
	began := time.Now()
	if s := w.send("x@b.example"); s.codes() != "451" {
		t.Errorf("%s", s)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %s", d)
	}
	s := w.send("x@b.example")
	for tries := 2; s.codes() == "451" && tries < 50; tries++ { // a busy machine
		s = w.send("x@b.example")
	}
	if s.codes() != "250 final 250" || len(good.Messages()) != 1 {
		t.Errorf("the next try: %s", s)
	}
}
