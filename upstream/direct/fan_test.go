package direct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx/provider"
	"postern/upstream"
)

// fanned is how a transaction with several domains went.
type fanned struct {
	to  []mail.Reply
	all []upstream.Verdict
	err error
}

// codes are those of all replies and then of the domains, "lost" for an unknown outcome.
func (s fanned) codes() string {
	var words []string
	for i := range s.to {
		words = append(words, fmt.Sprint(s.to[i].Code))
	}
	for _, v := range s.all {
		word := v.Domain + "=" + fmt.Sprint(v.Reply.Code)
		if v.Err != nil {
			word = v.Domain + "=fault"
		}
		if errors.Is(v.Err, upstream.ErrUnknownOutcome) {
			word = v.Domain + "=unknown"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func recipients(to ...string) (rs []mail.Recipient) {
	for _, a := range to {
		rs = append(rs, rcpt(a))
	}
	return rs
}

// fan is one whole transaction with several domains.
func (w *world) fan(to ...string) (s fanned) {
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	if s.to, s.err = f.Recipients(w.t.Context(), recipients(to...), nil); s.err == nil {
		s.all = f.Send(w.t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}})
	}
	return s
}

// domains makes n of them, d0.example and so on, each with a receiver of its own.
func (w *world) domains(n int, o smtptest.Options) (all []*smtptest.Server) {
	for i := range n {
		ip := fmt.Sprintf("127.0.2.%d", i+1)
		w.domain(fmt.Sprintf("d%d.example", i), fmt.Sprintf("mx.d%d.example %s", i, ip))
		all = append(all, w.receiver(ip, o))
	}
	return all
}

func TestEachDomainHasItsVerdict(t *testing.T) {
	w := newWorld(t, nil)
	w.receiver("127.0.0.2", smtptest.Options{})
	w.receiver("127.0.0.3", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Dot, Reply: "451 4.7.1 later"}}})
	w.receiver("127.0.0.4", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Dot, Drop: smtptest.DropBefore}}})
	w.receiver("127.0.0.5", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Data, Drop: smtptest.DropBefore}}})
	for i, d := range []string{"b", "c", "d", "e"} {
		w.domain(d+".example", fmt.Sprintf("mx.%s.example 127.0.0.%d", d, i+2))
	}
	s := w.fan("x@b.example", "x@c.example", "y@b.example", "x@d.example", "x@e.example", "x@nowhere.example")
	if s.codes() != "250 250 250 250 250 550 b.example=250 c.example=451 d.example=unknown e.example=fault" {
		t.Fatalf("%s, %v", s.codes(), s.err)
	}
	if v := s.all[1]; v.Reply.Said == nil || v.Reply.Said.Domain != "c.example" || !strings.HasPrefix(v.Host, "mx.c.example[127.0.0.3]") {
		t.Errorf("the verdict of c.example is %+v", v)
	}
}

// TestDomainsThatShareAHostAreApart: receivers refuse two domains in one transaction.
func TestDomainsThatShareAHostAreApart(t *testing.T) {
	w := newWorld(t, nil)
	r := w.receiver("127.0.0.2", smtptest.Options{})
	w.domain("b.example", "mx.shared.example 127.0.0.2")
	w.domain("c.example", "mx.shared.example")
	if s := w.fan("x@b.example", "x@c.example"); s.codes() != "250 250 b.example=250 c.example=250" {
		t.Fatalf("%s", s.codes())
	}
	for _, m := range r.Messages() {
		if len(m.To) != 1 {
			t.Errorf("one message went to %v", m.To)
		}
	}
	if len(r.Messages()) != 2 {
		t.Errorf("%d messages", len(r.Messages()))
	}
}

// meeting returns what lets nobody go on before n have come; it says false to who waits in
// vain.
func meeting(n int64) (come func() bool) {
	var came atomic.Int64
	all := make(chan struct{})
	return func() bool {
		if came.Add(1) == n {
			close(all)
		}
		select {
		case <-all:
			return true
		case <-time.After(30 * time.Second):
			return false
		}
	}
}

// TestDomainsAreAskedAndSentToAtTheSameTime: each of 20 exchangers answers at RCPT and at
// the dot once all have been asked.
func TestDomainsAreAskedAndSentToAtTheSameTime(t *testing.T) {
	w := newWorld(t, nil)
	meetings := map[smtptest.Stage]func() bool{smtptest.Rcpt: meeting(20), smtptest.Dot: meeting(20)}
	w.domains(20, smtptest.Options{Judge: func(s smtptest.Step) string {
		if come := meetings[s.Stage]; come != nil && !come() {
			return "451 4.3.0 the others have not been asked"
		}
		return ""
	}})
	var to []string
	for i := range 20 {
		to = append(to, fmt.Sprintf("x@d%d.example", i))
	}
	if s := w.fan(to...); strings.Count(s.codes(), "=250") != 20 {
		t.Errorf("%s", s.codes())
	}
}

// TestSlowDomainStallsNoOther: while one reads nothing, the others have the message
// and their connections are free again.
func TestSlowDomainStallsNoOther(t *testing.T) {
	gate := smtptest.NewGate()
	// The next message waits for the only connection.
	w := newWorld(t, func(c *upstream.Config, _ *Options) { c.MaxConnections, c.WaitTimeout = 1, 30*time.Second })
	quick := w.receiver("127.0.0.2", smtptest.Options{})
	w.receiver("127.0.0.3", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Data, Gate: gate}}})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.domain("c.example", "mx.c.example 127.0.0.3")
	done := make(chan fanned)
	go func() { done <- w.fan("x@b.example", "x@c.example") }()
	for deadline := time.Now().Add(30 * time.Second); len(quick.Messages()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the quick domain has nothing")
		}
	}
	if s := w.fan("y@b.example"); s.codes() != "250 b.example=250" || quick.Accepted() != 1 {
		t.Errorf("%s over %d connections", s.codes(), quick.Accepted())
	}
	gate.Release()
	if s := <-done; s.codes() != "250 250 b.example=250 c.example=250" {
		t.Errorf("%s", s.codes())
	}
}

// TestSilentDomainAtRCPTStallsNoOther beyond the patience of the caller: the others
// keep their verdicts.
func TestSilentDomainAtRCPTStallsNoOther(t *testing.T) {
	w := newWorld(t, nil)
	w.receiver("127.0.0.2", smtptest.Options{})
	w.receiver("127.0.0.3", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, Gate: smtptest.NewGate()}}})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.domain("c.example", "mx.c.example 127.0.0.3")
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	got, err := f.Recipients(ctx, recipients("x@c.example", "x@b.example"), nil)
	if err != nil || got[0].Code != 451 || got[0].Own == nil || got[1].Code != 250 {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err = f.Recipients(t.Context(), recipients("y@b.example", "y@c.example"), nil); err != nil || got[0].Code != 250 || got[1].Code != 451 {
		t.Errorf("%v, %v", got, err)
	}
	if all := f.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}}); len(all) != 1 || all[0].Reply.Code != 250 {
		t.Errorf("%+v", all)
	}
}

// TestOnlySoManyDomains have recipients that were taken, however the groups come.
func TestOnlySoManyDomains(t *testing.T) {
	w := newWorld(t, func(c *upstream.Config, _ *Options) { c.MaxDomains = 2 })
	all := w.domains(6, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "no@d1.example", Reply: "550 5.1.1 no such user"}, {Stage: smtptest.Rcpt, To: "no@d2.example", Reply: "550 5.1.1 no such user"}}})
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	ask := func(want string, to ...string) {
		t.Helper()
		got, err := f.Recipients(t.Context(), recipients(to...), nil)
		if s := (fanned{to: got}); err != nil || s.codes() != want {
			t.Fatalf("%s, %v; want %s", s.codes(), err, want)
		}
	}
	ask("550 550", "no@d1.example", "no@d2.example")
	ask("250 250 452 452", "x@d0.example", "x@d1.example", "x@d2.example", "x@d3.example")
	ask("452 250 452", "x@d4.example", "y@d0.example", "x@d2.example")
	if n := len(f.legs); n != 2 {
		t.Errorf("%d legs", n)
	}
	if v := f.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}}); len(v) != 2 {
		t.Errorf("%+v", v)
	}
	for i, n := range []int{1, 1, 0, 0, 0, 0} {
		if got := len(all[i].Messages()); got != n {
			t.Errorf("d%d.example has %d messages, want %d", i, got, n)
		}
	}
}

// TestOneDomain where the client can be told of one alone.
func TestOneDomain(t *testing.T) {
	w := newWorld(t, nil, "null.example. 60 MX 0 .")
	w.domains(2, smtptest.Options{})
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	f.OneDomain = true
	got, err := f.Recipients(t.Context(), recipients("x@null.example", "x@d0.example", "x@d1.example", "y@d0.example"), nil)
	if s := (fanned{to: got}); err != nil || s.codes() != "556 250 452 250" {
		t.Fatalf("%s, %v", s.codes(), err)
	}
	f.OneDomain = false
	if got, err = f.Recipients(t.Context(), recipients("x@d1.example"), nil); err != nil || got[0].Code != 250 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLargeBodyGoesToAllFromOneFile by DATA and by BDAT, whoever reads first.
func TestLargeBodyGoesToAllFromOneFile(t *testing.T) {
	w := newWorld(t, func(c *upstream.Config, _ *Options) { c.Chunking = true })
	all := w.domains(5, smtptest.Options{Offer: append([]string{"CHUNKING"}, smtptest.Common...)})
	all = append(all, w.receiver("127.0.2.9", smtptest.Options{}))
	w.domain("data.example", "mx.data.example 127.0.2.9")
	name, text := filepath.Join(t.TempDir(), "body"), strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 100_000)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	if _, err := f.Recipients(t.Context(), recipients("x@d0.example", "x@d1.example", "x@d2.example", "x@d3.example", "x@d4.example", "x@data.example"), nil); err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Send(t.Context(), upstream.Content{Prefix: []byte("Subject: x\r\n\r\n"), File: file, FileSize: int64(len(text))}) {
		if v.Reply.Code != 250 {
			t.Errorf("%s: %v, %v", v.Domain, v.Reply, v.Err)
		}
	}
	for i, r := range all {
		if m := r.Messages(); len(m) != 1 || string(m[0].Data) != "Subject: x\r\n\r\n"+text {
			t.Errorf("receiver %d has %d messages", i, len(m))
		}
	}
}

// TestParkedDomainsComeBack, each with its own verdict where it has another one.
func TestParkedDomainsComeBack(t *testing.T) {
	w := newWorld(t, nil)
	w.receiver("127.0.0.2", smtptest.Options{})
	w.receiver("127.0.0.3", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, After: 1, Reply: "450 4.2.1 later"}}})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.domain("c.example", "mx.c.example 127.0.0.3")
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	if _, err := f.Recipients(t.Context(), recipients("x@b.example", "x@c.example"), nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Park(); err != nil {
		t.Fatal(err)
	}
	if parked, err := f.Resume(t.Context(), int64(len(message))); !parked || err != nil {
		t.Errorf("%v, %v", parked, err)
	}
	s := fanned{all: f.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}})}
	if s.codes() != "b.example=250 c.example=fault" || !errors.Is(s.all[1].Err, upstream.ErrVerdictChanged) {
		t.Errorf("%s", s.codes())
	}
}

// TestParkedDomainsOfAGroupComeBackTogether: two messages that each need all connections
// of a group have them one after the other, and do not wait for one another.
func TestParkedDomainsOfAGroupComeBackTogether(t *testing.T) {
	w := grouped(t, provider.Config{Connections: 2}, func(c *upstream.Config, _ *Options) { c.WaitTimeout = 30 * time.Second })
	for i, domain := range []string{"b.example", "c.example"} {
		w.receiver(fmt.Sprintf("127.0.3.%d", i+1), smtptest.Options{})
		w.domain(domain, fmt.Sprintf("mx%d.big.example 127.0.3.%d", i, i+1))
	}
	var fans []*Fan
	for range 4 {
		f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
		defer f.Close()
		got, err := f.Recipients(t.Context(), recipients("x@b.example", "x@c.example"), nil)
		if err != nil || got[0].Code != 250 || got[1].Code != 250 {
			t.Fatal(got, err)
		}
		if err := f.Park(); err != nil {
			t.Fatal(err)
		}
		fans = append(fans, f)
	}
	began := time.Now()
	atOnce(fans, func(f *Fan) {
		defer f.Close()
		if _, err := f.Resume(t.Context(), int64(len(message))); err != nil {
			t.Error(err)
			return
		}
		if s := (fanned{all: f.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}})}); s.codes() != "b.example=250 c.example=250" {
			t.Errorf("%s", s.codes())
		}
	})
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("they waited for one another: %v", took)
	}
	for _, l := range w.up.Lanes() {
		if l.InUse != 0 || l.Waiting != 0 || l.Refused != 0 {
			t.Errorf("%+v", l)
		}
	}
}

// TestWhoWaitsForTwoIsNotPassed by those who want one, and does not hold them when he leaves.
func TestWhoWaitsForTwoIsNotPassed(t *testing.T) {
	l := newLane(&provider.Group{Connections: 2}, time.Minute)
	first, second, two, one := new(mail.Envelope), new(mail.Envelope), new(mail.Envelope), new(mail.Envelope)
	for _, env := range []*mail.Envelope{first, second} {
		if err := l.room(t.Context(), env, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func(n int) {
		for have := -1; have != n; {
			l.mu.Lock()
			have = len(l.waiting)
			l.mu.Unlock()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	left, came := make(chan error, 1), make(chan error, 1)
	go func() { left <- l.rooms(ctx, two, 2, time.Minute) }()
	waiting(1)
	go func() { came <- l.room(t.Context(), one, time.Minute) }()
	waiting(2)
	l.leave(first)
	select {
	case err := <-came:
		t.Fatalf("who wants one has passed: %v", err)
	default:
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-came; err != nil {
		t.Error(err)
	}
	if err := l.rooms(t.Context(), two, 3, time.Minute); !errors.Is(err, errOwnTurn) {
		t.Errorf("more than there are: %v", err)
	}
}

// TestLostFan: where nothing is left, that is a fault of the transaction.
func TestLostFan(t *testing.T) {
	w := newWorld(t, nil)
	w.receiver("127.0.0.2", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "drop@b.example", Drop: smtptest.DropBefore}}})
	w.receiver("127.0.0.3", smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "drop@c.example", Drop: smtptest.DropBefore}}})
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.domain("c.example", "mx.c.example 127.0.0.3")
	f := w.up.Fan(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address})
	defer f.Close()
	if _, err := f.Recipients(t.Context(), recipients("x@b.example", "x@c.example"), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Recipients(t.Context(), recipients("drop@b.example"), nil); err != nil || got[0].Code != 451 {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err := f.Recipients(t.Context(), recipients("drop@c.example"), nil); err == nil {
		t.Fatalf("%v", got)
	}
	f.Close()
	if _, err := f.Recipients(t.Context(), recipients("x@b.example"), nil); !errors.Is(err, upstream.ErrClosed) {
		t.Errorf("%v", err)
	}
}
