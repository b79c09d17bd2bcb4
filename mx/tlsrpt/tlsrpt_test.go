package tlsrpt

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
	"postern/internal/resolve"
)

// collector takes datagrams on a socket.
func collector(t *testing.T) (socket string, next func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	c, err := net.ListenPacket("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return socket, func() string {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 1<<16)
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
}

func reporter(t *testing.T, socket string, log *slog.Logger, records ...string) *Reporter {
	t.Helper()
	r, err := resolve.New(resolve.Options{Servers: []string{dnstest.StartZone(t, records...).Address}, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	out := New(Options{Socket: socket, Resolver: r, Log: log})
	t.Cleanup(out.Close)
	return out
}

// TestSessionsReachTheCollector in the form of sys4's datagrams, and only those of
// domains that ask for reports.
func TestSessionsReachTheCollector(t *testing.T) {
	socket, next := collector(t)
	const asks = "v=TLSRPTv1; rua=mailto:tls@b.example"
	r := reporter(t, socket, nil, `_smtp._tls.b.example. 60 TXT "`+asks+`"`, `_smtp._tls.twice.example. 60 TXT "v=TLSRPTv1; rua=mailto:a@b.example"`,
		`_smtp._tls.twice.example. 60 TXT "v=TLSRPTv1; rua=mailto:b@b.example"`, `_smtp._tls.other.example. 60 TXT "v=TLSRPTv10; x"`)
	for _, domain := range []string{"silent.example", "twice.example", "other.example"} {
		r.Note(Session{Domain: domain, Policy: Policy{Kind: None}})
	}
	head := `{"dpv":"1","d":"b.example","pr":"` + asks + `","policies":[`
	for _, row := range []struct {
		s    Session
		want string
	}{
		{Session{Policy: Policy{Kind: None}}, `{"policy-type":9,"t":0,"f":0}`},
		{Session{Policy: Policy{Kind: STS, Domain: "b.example", Text: []string{"version: STSv1", "mode: enforce"}, Hosts: []string{"*.b.example"}}, Result: HostMismatch,
			Source: netip.MustParseAddr("192.0.2.1"), Host: "mx.b.example", To: netip.MustParseAddr("2001:db8::1"), Reason: strings.Repeat("x", 300)},
			`{"policy-type":2,"policy-domain":"b.example","policy-string":["version: STSv1","mode: enforce"],"mx-host":["*.b.example"],"failure-details":[` +
				`{"c":202,"s":"192.0.2.1","n":"mx.b.example","r":"2001:db8::1","f":"` + strings.Repeat("x", 200) + `"}],"t":1,"f":1}`},
		{Session{Policy: Policy{Kind: DANE, Domain: "mx.b.example", Text: []string{"3 1 1 00"}}, Result: BadDNSSEC},
			`{"policy-type":1,"policy-domain":"mx.b.example","policy-string":["3 1 1 00"],"failure-details":[{"c":305}],"t":1,"f":1}`},
	} {
		row.s.Domain = "b.example"
		r.Note(row.s)
		if got := next(); got != head+row.want+"]}" {
			t.Errorf("got  %s\nwant %s", got, head+row.want+"]}")
		}
	}
	want := "[{dane dnssec-invalid 1} {none success 4} {sts certificate-host-mismatch 1}]"
	if got := fmt.Sprint(r.Counts()); got != want {
		t.Errorf("counts %s, want %s", got, want)
	}
}

// TestHostileDomainFillsNothing: a datagram is small whatever a domain's policy and record
// say, and a record with many addresses, or with octets that a header cannot have, is none.
func TestHostileDomainFillsNothing(t *testing.T) {
	socket, next := collector(t)
	victims := func(n int) string {
		return `"v=TLSRPTv1; rua=mailto:a@v.example` + strings.Repeat(",mailto:a@v.example", n-1) + `"`
	}
	record := func(domain, text string) string { return "_smtp._tls." + domain + ". 60 TXT " + text }
	r := reporter(t, socket, nil, record("good.example", victims(1)), record("ten.example", victims(10)), record("many.example", victims(11)),
		record("line.example", `"v=TLSRPTv1; rua=mailto:a@v.example\013\010Bcc: a@v.example"`), record("wide.example", `"v=TLSRPTv1; rua=mailto:a@\195\164.example"`))
	for domain, want := range map[string]bool{"good.example": true, "ten.example": true, "many.example": false, "line.example": false, "wide.example": false} {
		if got := r.desk.wanted(t.Context(), domain); (got != "") != want {
			t.Errorf("%s: %.100q", domain, got)
		}
	}
	if fits("v=TLSRPTv1; rua=mailto:a@v.example; x=" + strings.Repeat("x", maxRecord)) {
		t.Error("a record may be of any length")
	}
	hosts := make([]string, 200)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("%s%d.example", strings.Repeat("h", 200), i)
	}
	r.Note(Session{Domain: "good.example", Policy: Policy{Kind: STS, Text: hosts, Hosts: hosts}, Result: Invalid, Reason: strings.Repeat("x", 199) + "\u00e4 and more"})
	got := next()
	if len(got) > 20<<10 || !strings.Contains(got, hosts[0]) || !strings.Contains(got, `"f":"`+strings.Repeat("x", 199)+`"`) {
		t.Errorf("%d octets: %.200s", len(got), got)
	}
}

// TestEveryResultHasANumber of the collector's.
func TestEveryResultHasANumber(t *testing.T) {
	for _, r := range []Result{NoSTARTTLS, HostMismatch, NotTrusted, Expired, Invalid, FetchError, BadPolicy, BadHost, NoUsable, BadDNSSEC} {
		if codes[r] == 0 {
			t.Errorf("%s has none", r)
		}
	}
}

// TestSlowDomainHoldsNobody: whoever owns a domain decides how long DNS takes for it, and
// how many such domains there are.
func TestSlowDomainHoldsNobody(t *testing.T) {
	socket, next := collector(t)
	release := make(chan struct{})
	address := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		name := q.Question[0].Name
		if strings.Contains(name, "slow") {
			<-release
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		m.Answer = append(m.Answer, dnstest.Record(name, dns.TypeTXT, 60, `"v=TLSRPTv1; rua=mailto:a@b.example"`))
		w.WriteMsg(m)
	})
	res, err := resolve.New(resolve.Options{Servers: []string{address}, Timeout: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(res.Close)
	r := New(Options{Socket: socket, Resolver: res})
	t.Cleanup(r.Close)
	t.Cleanup(func() { close(release) }) // before the others
	session := func(domain string) { r.Note(Session{Domain: domain, Policy: Policy{Kind: None}}) }
	session("known.example")
	if got := next(); !strings.Contains(got, `"d":"known.example"`) {
		t.Fatal(got)
	}
	// One with many sessions, and then many more than are asked about at a time.
	for range 2 * perDomain {
		session("slow.example")
	}
	if _, lost := r.Sent(); lost != perDomain {
		t.Errorf("%d lost, want %d", lost, perDomain)
	}
	session("new.example")
	if got := next(); !strings.Contains(got, `"d":"new.example"`) {
		t.Error(got)
	}
	for i := range 3 * maxDomains {
		session(fmt.Sprintf("slow%d.example", i))
	}
	session("known.example")
	if got := next(); !strings.Contains(got, `"d":"known.example"`) {
		t.Error(got)
	}
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	if len(r.desk.open) > maxDomains+askers || r.desk.held > waiting {
		t.Errorf("%d domains, %d sessions wait", len(r.desk.open), r.desk.held)
	}
}

// TestCollectorThatIsAwayCostsNothing: nobody waits, what is lost is counted, one line
// says so, and one that comes back gets what follows.
func TestCollectorThatIsAwayCostsNothing(t *testing.T) {
	var log bytes.Buffer
	socket := filepath.Join(t.TempDir(), "s")
	r := reporter(t, socket, slog.New(slog.NewTextHandler(&log, nil)), `_smtp._tls.b.example. 60 TXT "v=TLSRPTv1; rua=mailto:a@b.example"`)
	began := time.Now()
	for range 3 * waiting {
		r.Note(Session{Domain: "b.example", Policy: Policy{Kind: None}})
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("%d sessions took %v", 3*waiting, d)
	}
	settled := func(want uint64) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			sent, lost := r.Sent()
			if sent+lost == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("sent %d, lost %d of %d", sent, lost, want)
			}
		}
	}
	settled(3 * waiting)
	for range 2 {
		c, err := net.ListenPacket("unixgram", socket)
		if err != nil {
			t.Fatal(err)
		}
		was, _ := r.Sent()
		r.Note(Session{Domain: "b.example", Policy: Policy{Kind: None}})
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, _, err := c.ReadFrom(make([]byte, 100)); err != nil {
			t.Error(err)
		}
		settled(3*waiting + was + 1)
		c.Close()
		os.Remove(socket)
	}
	r.Close()
	if n := strings.Count(log.String(), "takes nothing"); n != 1 {
		t.Errorf("%d lines:\n%s", n, &log)
	}
}
