package direct

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx/provider"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/upstream"
	"postern/upstream/warmup"
)

// warming is a world whose address 127.0.0.9 is warmed up with n messages.
func warming(t *testing.T, n warmup.Step, over *warmup.Overflow) (*world, *warmup.Gate, upstream.Route) {
	t.Helper()
	cold := netip.MustParseAddr("127.0.0.9")
	g := warmup.New(warmup.Options{Upstream: "world", Config: warmup.Config{Schedule: warmup.Schedule{n}, Sources: []netip.Addr{cold}, Overflow: warmup.Defer},
		Store: embedded.New(embedded.Config{Memory: 16 << 20}, nil), Overflow: over})
	w := grouped(t, provider.Config{}, func(_ *upstream.Config, o *Options) { o.Warmup = g })
	return w, g, upstream.Route{SourceIPs: []netip.Addr{cold}, EHLO: "cold.example"}
}

// gathering is a store whose refunds wait for so many others.
type gathering struct {
	ratelimit.Store
	here chan struct{} // of the capacity of those that have to come
}

func (s *gathering) Refund(ctx context.Context, id ratelimit.Attempt, returns []ratelimit.Return) error {
	s.here <- struct{}{}
	for len(s.here) < cap(s.here) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return s.Store.Refund(ctx, id, returns)
}

// TestDomainsGiveTheirPlacesBackAtOnce, so that a client waits for one answer of the
// store and not for one for each domain.
func TestDomainsGiveTheirPlacesBackAtOnce(t *testing.T) {
	cold := netip.MustParseAddr("127.0.0.9")
	s := &gathering{Store: embedded.New(embedded.Config{Memory: 16 << 20}, nil), here: make(chan struct{}, 2)}
	g := warmup.New(warmup.Options{Upstream: "world", Config: warmup.Config{Schedule: warmup.Schedule{5}, Sources: []netip.Addr{cold}}, Store: s})
	w := grouped(t, provider.Config{}, func(_ *upstream.Config, o *Options) { o.Warmup = g })
	w.domains(2, smtptest.Options{})
	f := w.up.Fan(upstream.Route{SourceIPs: []netip.Addr{cold}}, &mail.Envelope{From: rcpt("a@a.example").Address})
	if _, err := f.Recipients(t.Context(), recipients("x@d0.example", "x@d1.example"), nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if r := used(t, g, provider.Other); r.Sent != 0 {
		t.Errorf("%d places are kept", r.Sent)
	}
}

// used is how many of the budget of a group are used.
func used(t *testing.T, g *warmup.Gate, group string) warmup.Row {
	t.Helper()
	rows, err := g.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Provider == group {
			return r
		}
	}
	return warmup.Row{}
}

// TestBudgetOfANewAddress: all domains of a group have one, those in no group another one,
// and what does not fit is told when to come.
func TestBudgetOfANewAddress(t *testing.T) {
	w, g, via := warming(t, 3, nil)
	w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	w.domain("c.example", "mx1.big.example")
	w.domain("d.example", "mx.d.example 127.0.3.1")
	for i, to := range []string{"x@b.example", "x@c.example", "x@b.example"} {
		if s := w.sendBy(via, to, "y"+to[1:]); s.codes() != "250 250 final 250" || s.from.String() != "127.0.0.9" {
			t.Fatalf("message %d: %s from %s", i, s, s.from)
		}
	}
	s := w.sendBy(via, "x@b.example", "y@b.example")
	if s.codes() != "450 450" || s.to[0].Status != "4.7.1" || !strings.Contains(s.to[0].Text, "<x@b.example>: sending to this receiver is being warmed up, retry in 86") ||
		s.to[0].Own == nil || s.to[0].Own.Rule != "warmup" || s.to[0].Provider != "big" {
		t.Errorf("%s, %+v", s, s.to[0].Own)
	}
	if s := w.sendBy(via, "x@d.example"); s.codes() != "250 final 250" {
		t.Errorf("another group: %s", s)
	}
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("from an address that is not warmed up: %s", s)
	}
	if r := used(t, g, "big"); r.Sent != 3 || r.Tried != 3 {
		t.Errorf("%+v", r)
	}
	w.up.UseWarmup(nil)
	if s := w.sendBy(via, "x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("without a budget: %s", s)
	}
}

// TestPlaceIsSpentByWhatLeft: what comes again is counted when it has left.
func TestPlaceIsSpentByWhatLeft(t *testing.T) {
	for _, row := range []struct {
		name                    string
		fault                   smtptest.Fault
		sent, deferred, refused int64
	}{
		{"taken", smtptest.Fault{}, 1, 0, 0},
		{"deferred at RCPT", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "450 4.7.1 later"}, 0, 1, 0},
		{"greylisted", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "450 4.7.1 Greylisted, see http://postgrey.schweikert.ch/"}, 0, 0, 0},
		{"refused at RCPT", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "550 5.1.1 no such user"}, 0, 0, 1},
		{"deferred behind the dot", smtptest.Fault{Stage: smtptest.Dot, Reply: "451 4.7.1 later"}, 0, 1, 0},
		{"refused behind the dot", smtptest.Fault{Stage: smtptest.Dot, Reply: "554 5.7.1 spam"}, 1, 0, 1},
		{"lost behind the dot", smtptest.Fault{Stage: smtptest.Dot, Drop: smtptest.DropBefore}, 1, 0, 0},
		{"no session", smtptest.Fault{Stage: smtptest.Greeting, Reply: "421 4.7.0 busy"}, 0, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, g, via := warming(t, 5, nil)
			o := smtptest.Options{}
			if row.fault != (smtptest.Fault{}) {
				o.Faults = []smtptest.Fault{row.fault}
			}
			w.receiver("127.0.3.1", o)
			w.domain("b.example", "mx1.big.example 127.0.3.1")
			s := w.sendBy(via, "x@b.example")
			if r := used(t, g, "big"); r.Sent != row.sent || r.Deferred != row.deferred || r.Refused != row.refused {
				t.Errorf("%s: %+v", s, r)
			}
		})
	}
	w, g, via := warming(t, 5, nil)
	w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	tx := w.up.Begin(via, &mail.Envelope{From: rcpt("a@a.example").Address})
	if r, err := tx.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil); err != nil || r[0].Code != 250 {
		t.Fatal(r, err)
	}
	if r := used(t, g, "big"); r.Sent != 1 {
		t.Errorf("while it goes on: %+v", r)
	}
	tx.Close()
	if r := used(t, g, "big"); r.Sent != 0 || r.Tried != 0 {
		t.Errorf("its client has left: %+v", r)
	}
}

// TestOverflowLeavesByOtherAddresses, with their EHLO name, and only what does not fit.
func TestOverflowLeavesByOtherAddresses(t *testing.T) {
	w, _, via := warming(t, 1, &warmup.Overflow{Sources: []netip.Addr{netip.MustParseAddr("127.0.0.8")}, EHLO: "warm.example"})
	r := w.receiver("127.0.3.1", smtptest.Options{})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	for i, want := range []string{"127.0.0.9", "127.0.0.8", "127.0.0.8"} {
		if s := w.sendBy(via, "x@b.example"); s.codes() != "250 final 250" || s.from.String() != want {
			t.Fatalf("message %d: %s from %s, want %s", i, s, s.from, want)
		}
	}
	m := r.Messages()
	if m[0].EHLO != "cold.example" || m[1].EHLO != "warm.example" {
		t.Errorf("%s, %s", m[0].EHLO, m[1].EHLO)
	}
}

// TestEvidenceNamesOurAddress, also where no session began.
func TestEvidenceNamesOurAddress(t *testing.T) {
	w, _, via := warming(t, 5, nil)
	w.receiver("127.0.3.1", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Greeting, Reply: "554 5.7.1 127.0.0.9 listed at zen.spamhaus.org"}}})
	w.domain("b.example", "mx1.big.example 127.0.3.1")
	s := w.sendBy(via, "x@b.example")
	if said := s.to[0].Own.Said; said == nil || said.SourceIP != "127.0.0.9" || said.Provider != "big" || said.Class != mail.ClassListedIP {
		t.Errorf("%s: %+v", s, said)
	}
}
