package main

import (
	"bytes"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/upstream"
)

// TestMain also serves as the floor, which the rows start as a child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "floor" {
		floorMain(os.Args[2:], os.Stdout)
		return
	}
	goleak.VerifyTestMain(m)
}

func testSink(t *testing.T, chunking bool) *sink {
	t.Helper()
	s, err := newSink(chunking, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestMessageIsWellFormed(t *testing.T) {
	for _, size := range []int{2 * kib, 20 * kib, 100 * kib, mib} {
		m := newMessage(size)
		if d := len(m.plain) - size; d < -2 || d > 2 {
			t.Errorf("message of %d octets has %d", size, len(m.plain))
		}
		text := strings.ReplaceAll(string(m.plain), "\r\n", "")
		if strings.ContainsAny(text, "\r\n") || !bytes.HasSuffix(m.plain, []byte("\r\n")) {
			t.Errorf("%d: stray line ends", size)
		}
		if size == 100*kib && !bytes.Contains(m.wire, []byte("\r\n..")) {
			t.Error("no dot that needs doubling")
		}
	}
}

// TestSourceAndSinkCountTheSame lets them speak to each other without anything
// between.
func TestSourceAndSinkCountTheSame(t *testing.T) {
	s := testSink(t, true)
	m := newMessage(20 * kib)
	for name, p := range map[string]plan{
		"kept connections": {conns: 3, recipients: 2, messages: []message{m}},
		"redial":           {conns: 2, redial: true, messages: []message{m}},
		"some refused":     {conns: 2, senders: 7, messages: []message{m}, refuse: func(n int) bool { return n%4 == 1 }},
	} {
		s.keep(1)
		before, octets := s.messages.Load(), s.octets.Load()
		l, err := p.run(t.Context(), s.addr(), time.Minute, 10)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		took := int(s.messages.Load() - before)
		if l.messages+l.refused != 10*p.conns || took != l.messages || (l.refused > 0) != (p.refuse != nil) {
			t.Errorf("%s: %d sent and %d refused, %d came", name, l.messages, l.refused, took)
		}
		if got, want := s.octets.Load()-octets, int64(took*(len(m.wire)-3)); got != want {
			t.Errorf("%s: %d octets came, want %d", name, got, want)
		}
		if kept := s.keptMessages(); len(kept) != 1 || !bytes.Equal(kept[0], m.plain) {
			t.Errorf("%s: what came is not what was sent", name)
		}
		if len(l.latencies) != l.messages || l.quantile(0.5) <= 0 || l.rate() <= 0 {
			t.Errorf("%s: %d latencies, p50 %v", name, len(l.latencies), l.quantile(0.5))
		}
	}
}

// TestSinkTakesWhatOurUpstreamSends compares octets by DATA and by BDAT.
func TestSinkTakesWhatOurUpstreamSends(t *testing.T) {
	for _, chunking := range []bool{true, false} {
		s := testSink(t, chunking)
		var cfg upstream.Config
		cfg.SetDefaults()
		cfg.Hosts, cfg.TLS = []string{s.addr()}, upstream.EncryptOff
		u, err := upstream.New("sink", cfg, upstream.Options{Hostname: "relay.example"})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{2 * kib, 100 * kib, 3 * mib} {
			s.keep(1)
			m := newMessage(size)
			tx := u.Begin(upstream.Route{}, &envelope)
			if _, err := tx.Recipients(t.Context(), envelope.To, nil); err != nil {
				t.Fatal(err)
			}
			r, err := tx.Send(t.Context(), upstream.Content{Chunks: [][]byte{m.plain}})
			tx.Close()
			if err != nil || r.Code != 250 {
				t.Fatal(r, err)
			}
			if kept := s.keptMessages(); len(kept) != 1 || !bytes.Equal(kept[0], m.plain) {
				t.Errorf("chunking %v, %d octets: what came is not what was sent", chunking, size)
			}
		}
		if n := s.accepted.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		u.Close(t.Context())
	}
}

// TestFloorSendsByWhatTheSinkOffers: a sink without CHUNKING refuses BDAT, so the
// floor saves no round trip that the relay does not save.
func TestFloorSendsByWhatTheSinkOffers(t *testing.T) {
	for _, chunking := range []bool{true, false} {
		s := testSink(t, chunking)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f := floor{upstream: s.addr()}
		var served sync.WaitGroup
		served.Go(func() { f.serve(ln) })
		for _, size := range []int{2 * kib, 100 * kib} {
			s.keep(1)
			m := newMessage(size)
			p := plan{conns: 1, messages: []message{m}}
			if _, err := p.run(t.Context(), ln.Addr().String(), time.Minute, 2); err != nil {
				t.Fatalf("chunking %v, %d octets: %v", chunking, size, err)
			}
			kept := s.keptMessages()
			if len(kept) != 1 {
				t.Fatalf("chunking %v, %d octets: %d messages kept", chunking, size, len(kept))
			}
			_, got, _ := bytes.Cut(kept[0], []byte("\r\n")) // without Received
			if !bytes.Equal(got, m.plain) {
				t.Errorf("chunking %v, %d octets: what came is not what was sent", chunking, size)
			}
		}
		ln.Close()
		served.Wait()
		for _, l := range f.spare {
			l.up.Close()
		}
	}
}

func TestStuffedDoublesDots(t *testing.T) {
	for plain, want := range map[string]string{
		"a\r\nb.\r\n":          "a\r\nb.\r\n",
		".a\r\n.\r\n..b\r\n":   "..a\r\n..\r\n...b\r\n",
		"a\r\n.\r\n.\r\nb\r\n": "a\r\n..\r\n..\r\nb\r\n",
		"":                     "",
	} {
		if got := string(stuffed([]byte(plain))); got != want {
			t.Errorf("%q became %q, want %q", plain, got, want)
		}
	}
}

func TestSinkWantsRecipients(t *testing.T) {
	s := testSink(t, true)
	c, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "MAIL FROM:<a@a.example>\r\nRCPT TO:<refused@b.example>\r\nDATA\r\nBDAT 2 LAST\r\nx\nQUIT\r\n")
	got, _ := io.ReadAll(c)
	if n := s.messages.Load(); n != 0 || !strings.Contains(string(got), "550 5.1.1") || strings.Count(string(got), "554 5.5.1") != 2 {
		t.Errorf("%d messages, replies %q", n, got)
	}
}

// testRunner needs redis-server.
func testRunner(t *testing.T) *runner {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("Debian package redis-server is not installed")
	}
	l, err := newLab(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return &runner{lab: l, duration: 50 * time.Millisecond, rounds: 1, idle: 20, hosts: 200, soak: time.Second, race: underRace()}
}

// TestFloorForwardsSignedMail: what the relay is compared with does its work.
func TestFloorForwardsSignedMail(t *testing.T) {
	r := testRunner(t)
	s := testSink(t, true)
	for _, conf := range []setup{{}, {keys: "rsa", redis: r.lab.redis}} {
		sub, err := r.lab.startFloor(t.Context(), conf, s.addr())
		if err != nil {
			t.Fatal(err)
		}
		m := &meter{subject: sub}
		for _, size := range []int{2 * kib, 100 * kib, mib} {
			p := plan{conns: 3, recipients: 2, messages: []message{newMessage(size)}}
			if err := r.verify(t.Context(), s, m, p, conf.keys); err != nil {
				t.Errorf("%+v, %d octets: %v", conf, size, err)
			}
		}
		if err := m.round(t.Context(), &plan{conns: 2, messages: []message{newMessage(2 * kib)}}, time.Minute, 20); err != nil {
			t.Fatal(err)
		}
		if got, err := m.result(); err != nil || got.Messages != 40 || got.Rate <= 0 || got.Peak <= 0 {
			t.Errorf("measured %+v, %v", got, err)
		}
		sub.stop()
	}
}

func TestVerifySeesWhatIsWrong(t *testing.T) {
	r := testRunner(t)
	f := floor{}
	m := newMessage(2 * kib)
	if err := r.verifySignatures(m.plain, "rsa"); err == nil {
		t.Error("mail without signature passed")
	}
	if err := r.verifySignatures(m.plain, ""); err != nil {
		t.Error(err)
	}
	key, err := os.ReadFile(filepath.Join(r.lab.dir, "rsa.pem"))
	if err != nil || len(key) == 0 {
		t.Fatal(err)
	}
	f.key = mustKey(t, filepath.Join(r.lab.dir, "rsa.pem"))
	field, err := f.sign(m.plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verifySignatures(append(field, m.plain...), "rsa"); err != nil {
		t.Error(err)
	}
	broken := bytes.Replace(append(field, m.plain...), []byte("little"), []byte("Little"), 1)
	if err := r.verifySignatures(broken, "rsa"); err == nil {
		t.Error("changed mail passed")
	}
}

func TestBarsTellGoodFromBad(t *testing.T) {
	for _, tc := range []struct {
		c    check
		want string
	}{
		{check{Have: 0.96, Least: true, Bar: 0.88, Aim: 0.95}, "aim"},
		{check{Have: 0.9, Least: true, Bar: 0.88, Aim: 0.95}, "bar"},
		{check{Have: 0.8, Least: true, Bar: 0.88, Aim: 0.95}, "BELOW"},
		{check{Have: 1.0, Bar: 1.15, Aim: 1.08}, "aim"},
		{check{Have: 1.1, Bar: 1.15, Aim: 1.08}, "bar"},
		{check{Have: 1.2, Bar: 1.15, Aim: 1.08}, "BELOW"},
	} {
		if got := tc.c.verdict(); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.c, got, tc.want)
		}
	}
}

func TestReportsAreKeptAndComparedWith(t *testing.T) {
	dir := t.TempDir()
	for i, have := range []float64{0.7, 0.8} {
		r := report{Time: time.Date(2026, 11, 25, i, 0, 0, 0, time.UTC), Rows: []result{{Row: "a", Checks: []check{{What: "b", Have: have, Bar: 1}}}}}
		if _, err := r.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	earlier, err := readReports(dir)
	if err != nil || len(earlier) != 2 {
		t.Fatal(err, len(earlier))
	}
	now := report{Rows: []result{{Row: "a", Relay: measure{Messages: 1, Rate: 5}, Floor: measure{Rate: 10}, Checks: []check{{What: "b", Have: 1.5, Bar: 1}}}}}
	var out bytes.Buffer
	now.figures(&out)
	if below := now.bars(&out, earlier); below != 1 {
		t.Errorf("%d below their bar", below)
	}
	for _, want := range []string{"0.50", "1.50", "0.80", "BELOW  a: b"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestWatcherComparesSpans(t *testing.T) {
	w := watcher{began: time.Now().Add(-3500 * time.Millisecond), span: time.Second, memory: []int64{50, 100, 100, 120, 500}}
	for _, d := range []time.Duration{10, 15, 20, 99} {
		w.spans = append(w.spans, []time.Duration{d * time.Millisecond})
	}
	if growth, slowest := w.judge(); growth != 1 || slowest != 2 {
		t.Errorf("growth %v, slowest %v", growth, slowest)
	}
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	if err := bench(t.Context(), []string{"-list", "-run", "KiB, 20 conn"}, &out); err != nil || strings.Count(out.String(), "\n") != 6 {
		t.Errorf("%v, %s", err, out.String())
	}
	for _, args := range [][]string{{"-run", "("}, {"-rounds", "0"}, {"x"}, {"-no"}} {
		if err := bench(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// TestRowsRunAgainstTheRelay is every kind of row once, with the relay as it is.
func TestRowsRunAgainstTheRelay(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the relay")
	}
	r := testRunner(t)
	full := setup{keys: "rsa+ed25519", windows: 3, journal: true, secure: true}
	rsa := setup{keys: "rsa", windows: 3}
	for _, row := range []row{
		pair{name: "floor", size: 20 * kib, conns: 2, recipients: 2, relay: rsa, redis: true, bars: []bar{throughput(0.1, 0.2), processor(20, 10)}},
		pair{name: "relay", size: 2 * kib, conns: 2, redial: true, relay: rsa, base: &setup{}, bars: []bar{processor(20, 10)}},
		pair{name: "TLS", size: 2 * kib, conns: 2, relay: full, redis: true, base: &rsa, bars: []bar{processor(20, 10)}},
		fan{}, exchangers{name: "to MX", conns: 2, domains: 10, each: 40, bars: []bar{throughput(0.1, 0.2)}}, hosts{},
		idle{}, rest{}, soak{},
	} {
		res, err := row.run(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", row.title(), err)
		}
		if len(res.Checks) == 0 {
			t.Errorf("%s: no figure", row.title())
		}
		for _, c := range res.Checks {
			// A base that took less than one tick of the processor's clock gives no
			// ratio.
			if math.IsNaN(c.Have) || math.IsInf(c.Have, 0) && !strings.Contains(c.What, "CPU") {
				t.Errorf("%s: %s is %v", row.title(), c.What, c.Have)
			}
		}
	}
}
