package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestResolverTakesOnlyPlainAnswers(t *testing.T) {
	f := dnstest.StartFaulty(t)
	cases := []struct {
		how  string
		want AnswerState
		say  string // part of the error
	}{
		{"x-good", Found, ""},
		{"x-nxdomain", NoName, ""},
		{"x-empty", NoData, ""},
		{"x-truncated", Found, ""},
		{"x-truncated-nxdomain", NoName, ""},
		{"x-noedns", Found, ""},
		{"x-second", Found, ""},
		{"x-servfail", Fault, "SERVFAIL"},
		{"x-refused", Fault, "REFUSED"},
		{"x-lame", Fault, "lame"},
		{"x-lame-nxdomain", Fault, "lame"},
		{"x-truncated-always", Fault, "truncated"},
		{"x-truncated-hangup", Fault, "truncated"},
		{"x-other-question", Fault, "another question"},
		{"x-circle", Fault, "circle"},
		{"x-chain", Fault, "CNAMEs"},
		{"x-garbage", Fault, ""},
		{"x-half", Fault, ""},
	}
	for _, c := range cases {
		t.Run(c.how, func(t *testing.T) {
			r := newTestResolver(t, 10*time.Second, f.Address)
			a := r.Ask(t.Context(), c.how+".example", dns.TypeA)
			if a.State != c.want {
				t.Fatalf("state %d (%v), want %d", a.State, a.Err, c.want)
			}
			if (a.Err != nil) != (c.want == Fault) || a.Err != nil && !strings.Contains(a.Err.Error(), c.say) {
				t.Errorf("error %v, want one with %q", a.Err, c.say)
			}
		})
	}
}

func TestResolverGivesUpInTime(t *testing.T) {
	f := dnstest.StartFaulty(t)
	for _, how := range []string{"x-silent", "x-other-id"} {
		r := newTestResolver(t, 300*time.Millisecond, f.Address)
		began := time.Now()
		if a := r.Ask(t.Context(), how+".example", dns.TypeA); a.State != Fault {
			t.Errorf("%s: state %d, want a fault", how, a.State)
		}
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("%s: gave up after %v", how, d)
		}
	}
}

func TestResolverAsksTheNextServer(t *testing.T) {
	f := dnstest.StartFaulty(t)
	dead := fmt.Sprintf("127.0.0.1:%d", dnstest.FreePort(t))
	r := newTestResolver(t, 8*time.Second, dead, f.Address)
	if a := r.Ask(t.Context(), "x-good.example", dns.TypeA); a.State != Found {
		t.Errorf("state %d (%v), want an answer of the second server", a.State, a.Err)
	}
}

func TestResolverKeepsAnswersAsLongAsTheySay(t *testing.T) {
	f := dnstest.StartFaulty(t)
	var mu sync.Mutex
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	r, err := New(Options{Servers: []string{f.Address}, Timeout: 10 * time.Second, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ask := func(name string) { r.Ask(t.Context(), name, dns.TypeA) }
	for range 3 {
		ask("x-good.example")
		ask("X-GOOD.example.")
	}
	if n := f.Count("x-good.example."); n != 1 {
		t.Errorf("asked %d times within the TTL, want once", n)
	}
	mu.Lock()
	now = now.Add(61 * time.Second)
	mu.Unlock()
	ask("x-good.example")
	if n := f.Count("x-good.example."); n != 2 {
		t.Errorf("asked %d times after the TTL, want twice", n)
	}
	r.AskNow(t.Context(), "x-good.example", dns.TypeA)
	if n := f.Count("x-good.example."); n != 3 {
		t.Errorf("askNow did not pass the cache: %d questions", n)
	}
}

// TestClockThatStepsBackKeepsNoAnswer for as long as it was set back.
func TestClockThatStepsBackKeepsNoAnswer(t *testing.T) {
	f := dnstest.StartFaulty(t)
	clock := dnstest.NewClock()
	r, err := New(Options{Servers: []string{f.Address}, Timeout: 10 * time.Second, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, step := range []time.Duration{0, -time.Hour, -365 * 24 * time.Hour} {
		clock.Add(step)
		r.Ask(t.Context(), "x-good.example", dns.TypeA)
		r.Ask(t.Context(), "x-good.example", dns.TypeA)
		if n := f.Count("x-good.example."); n != i+1 {
			t.Errorf("asked %d times after a step of %v, want %d", n, step, i+1)
		}
	}
}

func TestResolverAsksOnceForManyAtATime(t *testing.T) {
	f := dnstest.StartFaulty(t)
	r := newTestResolver(t, time.Second, f.Address)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { r.Ask(t.Context(), "x-silent.example", dns.TypeA) })
	}
	wg.Wait()
	if n := f.Count("x-silent.example."); n > 4 {
		t.Errorf("%d questions on the wire, want at most the retries of one", n)
	}
}

// TestAnswersStayWithinTheirOctets: who owns a domain chooses how large its answers
// are.
func TestAnswersStayWithinTheirOctets(t *testing.T) {
	r, err := New(Options{Servers: []string{"127.0.0.1"}, Cached: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	answer := func(records int) (a Answer) {
		for range records {
			a.RRs = append(a.RRs, dnstest.Record("x.example.", dns.TypeTXT, 60, `"`+strings.Repeat("x", 200)+`"`))
		}
		a.State, a.TTL = Found, time.Hour
		return a
	}
	for i := range 5000 {
		r.keep(question{fmt.Sprintf("n%d.example.", i), dns.TypeTXT}, answer(20))
	}
	octets := 0
	for _, k := range r.cache {
		octets += int(k.size)
	}
	if octets != r.octets || octets > 512*1000 {
		t.Errorf("%d answers of %d octets, counted as %d", len(r.cache), octets, r.octets)
	}
	r.keep(question{"n1.example.", dns.TypeMX}, answer(300))
	if _, ok := r.cache[question{"n1.example.", dns.TypeMX}]; ok {
		t.Error("an answer of 60 KiB is kept")
	}
}

// TestTTLHasBounds: a name with TTL 0 is not asked for each time, and none is kept
// for years.
func TestTTLHasBounds(t *testing.T) {
	r, err := New(Options{Servers: []string{"127.0.0.1"}, MinTTL: 30 * time.Second, MaxTTL: time.Hour, MaxNegative: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, row := range []struct {
		answer Answer
		want   time.Duration
	}{
		{Answer{State: Found}, 30 * time.Second},
		{Answer{State: Found, TTL: 68 * 365 * 24 * time.Hour}, time.Hour}, {Answer{State: Found, TTL: 5 * time.Minute}, 5 * time.Minute},
		{Answer{State: NoName}, 30 * time.Second}, {Answer{State: NoData, TTL: 3 * time.Hour}, 5 * time.Minute}, {Answer{TTL: faultTTL}, faultTTL},
	} {
		if got := r.keepFor(row.answer.State, row.answer.TTL); got != row.want {
			t.Errorf("%+v: kept for %s, want %s", row.answer, got, row.want)
		}
	}
}

func TestResolverStaysBounded(t *testing.T) {
	f := dnstest.StartFaulty(t)
	r := newTestResolver(t, 20*time.Second, f.Address)
	for i := range maxCached + 500 {
		r.keep(question{fmt.Sprintf("n%d.example.", i), dns.TypeA}, Answer{State: NoName, TTL: time.Hour})
	}
	if n := len(r.cache); n > maxCached {
		t.Errorf("%d answers kept, want at most %d", n, maxCached)
	}
	for _, name := range []string{strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130), "a..b", ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if a := r.Ask(ctx, name, dns.TypeA); name != "" && a.State != Fault {
			t.Errorf("name %.20q was asked for: state %d", name, a.State)
		}
		cancel()
	}
}

func TestResolverSeesRewrittenNXDOMAIN(t *testing.T) {
	// A resolver that sells names that do not exist.
	address := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		ip := "198.51.100.99"
		if strings.HasPrefix(q.Question[0].Name, "real.") {
			ip = "192.0.2.1"
		}
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, dnstest.Record(q.Question[0].Name, dns.TypeA, 60, ip))
		}
		w.WriteMsg(m)
	})
	r := newTestResolver(t, 10*time.Second, address)
	r.Probe(t.Context())
	if !r.Rewrites() {
		t.Fatal("the rewriting was not seen")
	}
	if a := r.Ask(t.Context(), "gone.example", dns.TypeA); a.State != Fault {
		t.Errorf("a rewritten answer has state %d, want a fault", a.State)
	}
	if a := r.Ask(t.Context(), "real.example", dns.TypeA); a.State != Found {
		t.Errorf("a real answer has state %d (%v)", a.State, a.Err)
	}
}

func TestSystemServersComeFromResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search x\nnameserver 192.0.2.53\nnameserver here\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := systemServers(file); !slices.Equal(got, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) {
		t.Errorf("got %v", got)
	}
	none := serverList{file: file + ".missing", now: time.Now}
	if got, _ := none.get(); !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("without a file: %v", got)
	}
	if _, err := New(Options{Servers: []string{"dns.example"}}); err == nil {
		t.Error("a resolver by name was taken")
	}
}

func TestHostsGivesBothFamilies(t *testing.T) {
	server := dnstest.Knot(t, map[string]string{"example": "a A 192.0.2.1\na AAAA 2001:db8::1\nb CNAME a\nt TXT x\n"})
	r := newTestResolver(t, 10*time.Second, server)
	for _, name := range []string{"a.example", "b.example"} {
		a := r.Hosts(t.Context(), name)
		got := Addresses(a.RRs)
		slices.SortFunc(got, netip.Addr.Compare)
		if fmt.Sprint(got) != "[192.0.2.1 2001:db8::1]" || a.State != Found {
			t.Errorf("%s: %v, %v", name, got, a.Err)
		}
	}
	for _, name := range []string{"t.example", "gone.example"} {
		if a := r.Hosts(t.Context(), name); a.State == Found || a.State == Fault {
			t.Errorf("%s: %v", name, a)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", `\`, `\1`, `\12`, `\123x`, `\"`, `a\\b`, `\999`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(s); len(got) > len(s) {
			t.Errorf("%q became longer: %q", s, got)
		}
	})
}

// TestOnlyLocalServersAreBelieved that an answer is signed, and only where that was
// asked for.
func TestOnlyLocalServersAreBelieved(t *testing.T) {
	z := dnstest.StartZone(t, "a.example. 60 A 192.0.2.1", "c.example. 60 CNAME open.example.", "open.example. 60 A 192.0.2.2")
	z.Sign("open.example")
	for _, row := range []struct {
		o    Options
		name string
		want bool
	}{
		{Options{DNSSEC: true}, "a.example", true}, {Options{}, "a.example", false}, {Options{DNSSEC: true}, "c.example", false},
		{Options{DNSSEC: true}, "nowhere.test", true}, // that it does not exist is signed, too
	} {
		row.o.Servers = []string{z.Address}
		r, err := New(row.o)
		if err != nil {
			t.Fatal(err)
		}
		if a := r.Ask(t.Context(), row.name, dns.TypeA); a.Secure != row.want {
			t.Errorf("%s, DNSSEC %v: secure %v", row.name, row.o.DNSSEC, a.Secure)
		}
		r.Close()
	}
	for server, want := range map[string]bool{"127.0.0.1:53": true, "[::1]:53": true, "192.0.2.53:53": false, "[2001:db8::53]:53": false} {
		if isLocal(server) != want {
			t.Errorf("%s is local: %v", server, !want)
		}
	}
}

// TestServersThatAreNotBelievedDoNotStepIn for one that is: what does not validate there
// would be taken for unsigned.
func TestServersThatAreNotBelievedDoNotStepIn(t *testing.T) {
	local, other := dnstest.StartZone(t), dnstest.StartZone(t, "a.example. 60 A 192.0.2.1")
	local.Break("a.example", dns.RcodeServerFailure)
	_, port, _ := net.SplitHostPort(other.Address)
	elsewhere := "0.0.0.0:" + port // the same server, by an address that is not local
	for _, row := range []struct {
		o    Options
		want AnswerState
	}{
		{Options{DNSSEC: true, Servers: []string{elsewhere, local.Address}}, Fault},
		{Options{DNSSEC: true, Servers: []string{elsewhere}}, Found},
		{Options{DNSSEC: true, Trust: true, Servers: []string{local.Address, elsewhere}}, Found},
		{Options{Servers: []string{local.Address, elsewhere}}, Found},
	} {
		r, err := New(row.o)
		if err != nil {
			t.Fatal(err)
		}
		if a := r.Ask(t.Context(), "a.example", dns.TypeA); a.State != row.want {
			t.Errorf("%+v: %+v", row.o, a)
		}
		r.Close()
	}
}

// TestCircleOverSeveralAnswers: a server that does not ask on tells one alias at a time. A
// circle of them is a fault, and not a name without records: that would be final.
func TestCircleOverSeveralAnswers(t *testing.T) {
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		name := q.Question[0].Name
		if target := map[string]string{"a.example.": "b.example.", "b.example.": "a.example.", "c.example.": "d.example.", "d.example.": "e.example.", "e.example.": "d.example."}[name]; target != "" {
			m.Answer = append(m.Answer, dnstest.Record(name, dns.TypeCNAME, 60, target))
		}
		if name == "f.example." { // one that tells all of it at once
			m.Answer = append(m.Answer, dnstest.Record(name, dns.TypeCNAME, 60, "g.example."), dnstest.Record("g.example.", dns.TypeCNAME, 60, "h.example."), dnstest.Record("h.example.", dns.TypeCNAME, 60, "g.example."))
		}
		w.WriteMsg(m)
	})
	r := newTestResolver(t, time.Second, server)
	for name, why := range map[string]string{"a.example": "CNAMEs in a circle", "c.example": "more than 8 CNAMEs", "f.example": "CNAMEs in a circle"} {
		if a := r.Ask(t.Context(), name, dns.TypeMX); a.State != Fault || !strings.Contains(fmt.Sprint(a.Err), why) {
			t.Errorf("%s: %+v, want %s", name, a, why)
		}
	}
	if a := r.Ask(t.Context(), "z.example", dns.TypeMX); a.State != NoData {
		t.Errorf("%+v", a)
	}
}
