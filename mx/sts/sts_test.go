package sts

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"postern/internal/dnstest"
	"postern/internal/resolve"
	"postern/internal/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = "version: STSv1\r\nmode: enforce\r\nmx: mx1.b.example\r\nmx: *.b.example\r\nmax_age: 604800\r\n"

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       string // "": an error
	}{
		{"a usual one", good, "enforce [mx1.b.example *.b.example] 168h0m0s"},
		{"LF alone", "version: STSv1\nmode: testing\nmx: a.example\nmax_age: 60", "testing [a.example] 1m0s"},
		{"no blanks", "version:STSv1\nmode:none\nmax_age:60\n", "none [] 1m0s"},
		{"unknown fields", good + "future: thing\r\n", "enforce [mx1.b.example *.b.example] 168h0m0s"},
		{"an empty line", good + "\r\n", "enforce [mx1.b.example *.b.example] 168h0m0s"},
		{"the first of two modes", "version: STSv1\nmode: none\nmode: enforce\nmax_age: 1\n", "none [] 1s"},
		{"capitals in mx", "version: STSv1\nmode: enforce\nmx: MX.B.Example.\nmax_age: 1\n", "enforce [mx.b.example] 1s"},
		{"longer than a year", "version: STSv1\nmode: none\nmax_age: 9999999999\n", "none [] 8766h0m0s"},
		{"another version", "version: STSv2\nmode: none\nmax_age: 1\n", ""},
		{"no version", "mode: none\nmax_age: 1\n", ""},
		{"another mode", "version: STSv1\nmode: strict\nmx: a.example\nmax_age: 1\n", ""},
		{"no mode", "version: STSv1\nmx: a.example\nmax_age: 1\n", ""},
		{"no max_age", "version: STSv1\nmode: none\n", ""},
		{"a negative max_age", "version: STSv1\nmode: none\nmax_age: -1\n", ""},
		{"a max_age of eleven digits", "version: STSv1\nmode: none\nmax_age: 00000000001\n", ""},
		{"enforce without mx", "version: STSv1\nmode: enforce\nmax_age: 1\n", ""},
		{"an mx of a star", "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n", ""},
		{"an mx with a star within", "version: STSv1\nmode: enforce\nmx: a*.example\nmax_age: 1\n", ""},
		{"an mx with a blank", "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n", ""},
		{"HTML", "<html>\n", ""},
		{"nothing", "", ""},
		{"201 hosts", "version: STSv1\nmode: enforce\nmax_age: 1\n" + strings.Repeat("mx: a.example\n", 201), ""},
		{"too large", good + strings.Repeat("x", maxPolicy), ""},
	} {
		p, err := Parse([]byte(row.text))
		got := fmt.Sprintf("%s %v %s", p.Mode, p.MX, p.MaxAge)
		if (err == nil) != (row.want != "") || err == nil && got != row.want {
			t.Errorf("%s: %s, %v", row.name, got, err)
		}
	}
}

func TestMatches(t *testing.T) {
	p := Policy{MX: []string{"mx.a.example", "*.b.example"}}
	for host, want := range map[string]bool{"mx.a.example": true, "MX.A.example.": true, "a.example": false, "x.mx.a.example": false, "mx1.b.example": true,
		"b.example": false, "x.mx1.b.example": false, "mx1.xb.example": false, "": false, "*.b.example": true} {
		if got := p.Matches(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestRecordID(t *testing.T) {
	for _, row := range []struct {
		texts []string
		want  string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"}, {[]string{"v=STSv1;id=1"}, "1"}, {[]string{"v=spf1 -all", "v=STSv1; id=2"}, "2"},
		{[]string{"v=STSv1; x=y; id=3; id=4"}, "3"}, {[]string{"v=STSv1; id=1", "v=STSv1; id=1"}, ""}, {[]string{"v=STSv1 id=1"}, ""}, {[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv1; id=a-b"}, ""}, {[]string{"v=STSv1; id=" + strings.Repeat("a", 33)}, ""}, {[]string{" v=STSv1; id=1"}, ""}, {nil, ""},
	} {
		if got := recordID(row.texts); got != row.want {
			t.Errorf("%q: %q, want %q", row.texts, got, row.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("version: STSv1\nmode: none\nmax_age: 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > longestAge || len(p.MX) > maxMX || p.Mode != None && len(p.MX) == 0 {
			t.Errorf("%+v", p)
		}
		for _, name := range p.MX {
			if !resolve.IsHostName(strings.TrimPrefix(name, "*.")) || p.Matches("") {
				t.Errorf("mx %q", name)
			}
		}
	})
}

// host is a policy host on loopback.
type host struct {
	zone    *dnstest.Zone
	clock   *dnstest.Clock
	ca      *smtptest.CA
	port    int
	asked   atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc]
	file    string
	refused func(netip.Addr) string
}

// newHost serves policies for b.example.
func newHost(t *testing.T, names ...string) *host {
	t.Helper()
	h := &host{zone: dnstest.StartZone(t, "mta-sts.b.example. 60 A 127.0.0.1", `_mta-sts.b.example. 60 TXT "v=STSv1; id=1;"`), clock: dnstest.NewClock(),
		file: filepath.Join(t.TempDir(), "sts.json"), refused: func(netip.Addr) string { return "" }}
	var err error
	if h.ca, err = smtptest.NewCA(); err != nil {
		t.Fatal(err)
	}
	if names == nil {
		names = []string{"mta-sts.b.example"}
	}
	cert, err := h.ca.Issue(smtptest.Cert{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	h.port = l.Addr().(*net.TCPAddr).Port
	h.says(good)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		if r.URL.Path != "/.well-known/mta-sts.txt" || r.Host != "mta-sts.b.example" {
			t.Errorf("asked for %s of %s", r.URL.Path, r.Host)
		}
		(*h.answer.Load())(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return h
}

func (h *host) does(f http.HandlerFunc) { h.answer.Store(&f) }

func (h *host) says(text string) {
	h.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(text))
	})
}

func (h *host) store(t *testing.T) *Store {
	t.Helper()
	r, err := resolve.New(resolve.Options{Servers: []string{h.zone.Address}, Timeout: time.Second, Now: h.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Resolver: r, Refused: h.refused, File: h.file, Roots: h.ca.Pool(), Port: h.port, Now: h.clock.Now})
	t.Cleanup(func() { s.Close(); r.Close() })
	return s
}

func mode(s *Store, t *testing.T) Mode {
	t.Helper()
	p, ok := s.Policy(t.Context(), "b.example")
	if !ok {
		return "no policy"
	}
	return p.Mode
}

// TestPolicyIsFetchedOnce and kept: by age, by id, over faults and over a restart.
func TestPolicyIsFetchedOnceAndKept(t *testing.T) {
	h := newHost(t)
	s := h.store(t)
	for range 3 {
		if m := mode(s, t); m != Enforce {
			t.Fatalf("%s", m)
		}
	}
	if n := h.asked.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if _, ok := s.Policy(t.Context(), "a.example"); ok {
		t.Error("a domain without a record has a policy")
	}
	// DNS and the policy host are gone: the policy stays.
	h.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	h.zone.Break("_mta-sts.b.example", dns.RcodeServerFailure)
	h.clock.Add(time.Hour)
	if m := mode(s, t); m != Enforce {
		t.Errorf("after DNS has gone: %s", m)
	}
	h.zone.Break("_mta-sts.b.example", dns.RcodeNameError)
	h.clock.Add(time.Hour)
	if m := mode(s, t); m != Enforce {
		t.Errorf("after the record has gone: %s", m)
	}
	s.Close()
	s = h.store(t)
	if m := mode(s, t); m != Enforce {
		t.Errorf("after a restart: %s", m)
	}
	h.clock.Add(7 * 24 * time.Hour)
	if m := mode(s, t); m != "no policy" {
		t.Errorf("after its age: %s", m)
	}
}

// TestPolicyOutlivesAClockThatIsBehind at the next start, and is fetched again at once,
// since nobody knows how old it is.
func TestPolicyOutlivesAClockThatIsBehind(t *testing.T) {
	h := newHost(t)
	s := h.store(t)
	mode(s, t)
	s.Close()
	h.clock.Add(-365 * 24 * time.Hour)
	h.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	s = h.store(t)
	if m := mode(s, t); m != Enforce {
		t.Errorf("after a restart a year earlier: %s", m)
	}
	s.Close()
	h.says("version: STSv1\nmode: testing\nmx: x.example\nmax_age: 60000\n")
	s = h.store(t)
	if p, ok := s.Refresh(t.Context(), "b.example"); !ok || p.Mode != Testing {
		t.Errorf("refreshed: %v", p)
	}
}

func TestPolicyChangesWithItsID(t *testing.T) {
	h := newHost(t)
	s := h.store(t)
	mode(s, t)
	h.says("version: STSv1\nmode: testing\nmx: x.example\nmax_age: 60000\n")
	if m := mode(s, t); m != Enforce {
		t.Errorf("under the same id: %s", m)
	}
	// Before mail is refused for it, it is asked for again.
	if p, ok := s.Refresh(t.Context(), "b.example"); !ok || p.Mode != Enforce || h.asked.Load() != 1 {
		t.Errorf("just after the fetch: %v", p)
	}
	h.clock.Add(againAfter + time.Second)
	if p, ok := s.Refresh(t.Context(), "b.example"); !ok || p.Mode != Testing {
		t.Errorf("refreshed: %v", p)
	}
	h.says("version: STSv1\nmode: none\nmax_age: 60000\n")
	h.zone.Break("_mta-sts.b.example", -1)
	h.zone.Set("_mta-sts.b.example", `_mta-sts.b.example. 60 TXT "v=STSv1; id=2;"`)
	h.clock.Add(time.Hour)
	if m := mode(s, t); m != None {
		t.Errorf("under another id: %s", m)
	}
}

// TestWhatIsNoPolicy leaves the mail as it was, and is not asked for with each mail.
func TestWhatIsNoPolicy(t *testing.T) {
	for name, does := range map[string]http.HandlerFunc{
		"404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://mta-sts.b.example/.well-known/mta-sts.txt", http.StatusFound)
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte(good))
		},
		"nonsense": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte("x"))
		},
		"more than 64 KiB": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte(good + strings.Repeat("x: y\n", 20000)))
		},
		"an answer cut off": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.does(does)
			s := h.store(t)
			for range 3 {
				if m := mode(s, t); m != "no policy" {
					t.Errorf("%s", m)
				}
			}
			if n := h.asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			h.says(good)
			h.clock.Add(againAfter)
			if m := mode(s, t); m != Enforce {
				t.Errorf("later: %s", m)
			}
		})
	}
}

func TestPolicyHostIsVerified(t *testing.T) {
	h := newHost(t, "other.example")
	if m := mode(h.store(t), t); m != "no policy" || h.asked.Load() != 0 {
		t.Errorf("a certificate for another name: %s", m)
	}
	h = newHost(t)
	h.refused = func(netip.Addr) string { return "loopback" }
	if m := mode(h.store(t), t); m != "no policy" || h.asked.Load() != 0 {
		t.Errorf("an address to which no connection may go: %s", m)
	}
}

// TestSlowPolicyHostHoldsNobody longer than a while, and the fetch goes on.
func TestSlowPolicyHostHoldsNobody(t *testing.T) {
	h := newHost(t)
	release := make(chan struct{})
	h.does(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(good))
	})
	s := h.store(t)
	f := s.start("b.example", "1")
	if f == nil || s.start("b.example", "1") != f {
		t.Fatal("two fetches at a time")
	}
	close(release)
	<-f.done
	if m := mode(s, t); m != Enforce || h.asked.Load() != 1 {
		t.Errorf("%s, asked %d times", m, h.asked.Load())
	}
}

// TestSlowOwnerLeavesFetchesToOthers: whoever owns many domains whose policy hosts say
// nothing keeps nobody else from a policy.
func TestSlowOwnerLeavesFetchesToOthers(t *testing.T) {
	h := newHost(t)
	for i := range 2 * maxFetches {
		h.zone.Add(fmt.Sprintf("mta-sts.d%d.evil.example. 60 A 127.0.0.1", i))
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	h.port = silent.Addr().(*net.TCPAddr).Port
	s := h.store(t)
	under := 0
	for i := range 2 * maxFetches {
		if s.start(fmt.Sprintf("d%d.evil.example", i), "1") != nil {
			under++
		}
	}
	if under != perOwner {
		t.Errorf("%d fetches for one owner", under)
	}
	if s.start("b.example", "1") == nil {
		t.Error("none is left for another one")
	}
}

// TestStoreStaysBounded: what enforces stays the longest.
func TestStoreStaysBounded(t *testing.T) {
	h := newHost(t)
	h.file = ""
	s := h.store(t)
	for i := range 3 * maxKept {
		p := Policy{Mode: Testing, MX: []string{"a"}, MaxAge: time.Hour}
		if i < 100 {
			p.Mode = Enforce
		}
		s.took(fmt.Sprintf("d%d.example", i), "1", p, nil)
		s.took(fmt.Sprintf("f%d.example", i), "1", p, errors.New("x"))
	}
	if len(s.known.of) > maxKept || len(s.failed) > maxKept {
		t.Errorf("%d known, %d failed", len(s.known.of), len(s.failed))
	}
	for i := range 100 {
		if s.known.of[fmt.Sprintf("d%d.example", i)] == nil {
			t.Errorf("policy %d, which enforces, is forgotten", i)
		}
	}
}

// TestOwnerTakesNoOtherPolicy: however many domains somebody has, and however large their
// policies are, those of others stay, also over a restart.
func TestOwnerTakesNoOtherPolicy(t *testing.T) {
	h := newHost(t)
	s := h.store(t)
	now := s.now()
	large := Policy{Mode: Enforce, MaxAge: longestAge}
	for i := range maxMX {
		large.MX = append(large.MX, fmt.Sprintf("%s.%03d.example", strings.Repeat(strings.Repeat("a", 60)+".", 3), i))
	}
	small := Policy{Mode: Enforce, MX: []string{"mx.honest.example"}, MaxAge: longestAge}
	for i := range 100 {
		s.known.put(fmt.Sprintf("honest%d.example", i), newEntry(fmt.Sprintf("honest%d.example", i), small, "1", now), now)
	}
	put := func(domain string, p Policy, i int) {
		s.known.put(domain, newEntry(domain, p, "1", now.Add(time.Duration(i))), now)
	}
	bounded := func(owner string) { // with numbers of its own
		t.Helper()
		if u := s.known.owners[owner]; u.domains > 500 || u.octets > 256<<10 {
			t.Errorf("%s has %+v", owner, u)
		}
	}
	for i := range 4 * ownerKept {
		put(fmt.Sprintf("d%d.evil.example", i), small, i)
	}
	bounded("evil.example")
	for i := range 20 {
		put(fmt.Sprintf("d%d.large.example", i), large, i)
	}
	bounded("large.example")
	for i := range 2000 { // and four hundred other domains of his own, a hundred megabytes
		put(fmt.Sprintf("d%d.evil%d.example", i, i%400), large, i)
	}
	if s.known.all.octets > 16<<20 || s.known.all.domains > 10_000 {
		t.Errorf("%+v", s.known.all)
	}
	s.write()
	if s = h.store(t); len(s.known.of) == 0 {
		t.Error("the file is not read again")
	}
	for i := range 100 {
		if s.known.of[fmt.Sprintf("honest%d.example", i)] == nil {
			t.Errorf("policy %d of others is forgotten", i)
		}
	}
}

// TestMostGoesFirst where all owners together have too much.
func TestMostGoesFirst(t *testing.T) {
	s, now := newShelf(), time.Now()
	for i := range maxKept + 2000 {
		d := fmt.Sprintf("d%d.owner%d.example", i, i%50)
		if i%60 == 0 {
			d = fmt.Sprintf("honest%d.example", i)
		}
		s.put(d, newEntry(d, Policy{Mode: Enforce, MX: []string{"a"}, MaxAge: longestAge}, "1", now), now)
	}
	n := 0
	for d := range s.of {
		if strings.HasPrefix(d, "honest") {
			n++
		}
	}
	var sum use
	for _, u := range s.owners {
		sum.domains, sum.octets = sum.domains+u.domains, sum.octets+u.octets
	}
	if n != 200 || sum != s.all || len(s.of) != s.all.domains {
		t.Errorf("%d of 200 single ones are left, %+v of %+v", n, sum, s.all)
	}
}
