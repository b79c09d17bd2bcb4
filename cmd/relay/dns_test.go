package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
	"postern/reputation/identity"
)

// nameServer is a DNS server whose records tests set.
type nameServer struct {
	address string
	mu      sync.Mutex
	records map[string][]string // "TXT name" to values; "fail" is SERVFAIL
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	n := &nameServer{records: map[string][]string{}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.address = conn.LocalAddr().String()
	ready, done := make(chan struct{}), make(chan struct{})
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(n.answer), NotifyStartedFunc: func() { close(ready) }}
	go func() { defer close(done); s.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() { s.Shutdown(); <-done })
	return n
}

func (n *nameServer) set(key string, values ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[key] = values
}

func (n *nameServer) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := strings.TrimSuffix(strings.ToLower(q.Question[0].Name), ".")
	kind := dns.TypeToString[q.Question[0].Qtype]
	n.mu.Lock()
	values, ok := n.records[kind+" "+name]
	n.mu.Unlock()
	if !ok {
		m.Rcode = dns.RcodeNameError
	}
	for _, v := range values {
		if v == "fail" {
			m.Rcode = dns.RcodeServerFailure
			break
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s. 60 IN %s %s", name, kind, v))
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	w.WriteMsg(m)
}

const dnsConfig = `
hostname = "mail.example.org"
state_dir = "state"
[listener.mta]
address = "127.0.0.1:0"
[client.a]
networks = ["10.0.0.0/8"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "up"
public_ips = ["192.0.2.25"]
[upstream.up]
hosts = ["192.0.2.1:25"]
tls = "off"
[limit.all]
per = "client"
messages = ["100/1h"]
[dkim."example.org"]
keys = [{ selector = "s1", file = "s1.pem" }]
[reputation]
resolvers = [%q]
timeout = "5s"
`

// identityRig is a configuration with a key and a name server.
func identityRig(t *testing.T) (file string, names *nameServer, record string) {
	t.Helper()
	dir := t.TempDir()
	names = startNameServer(t)
	file = filepath.Join(dir, "relay.toml")
	writeFile(t, file, fmt.Sprintf(dnsConfig, names.address))
	_, zone, errs := runVerb("", "dkim", "keygen", "-domain", "example.org", "-selector", "s1", "-out", filepath.Join(dir, "s1.pem"))
	if errs != "" {
		t.Fatal(errs)
	}
	record = zone[strings.Index(zone, "(")+1 : strings.LastIndex(zone, ")")]
	names.set("PTR 25.2.0.192.in-addr.arpa", "mail.example.org.")
	names.set("A mail.example.org", "192.0.2.25")
	names.set("AAAA mail.example.org")
	names.set("TXT mail.example.org", `"v=spf1 a -all"`)
	names.set("TXT example.org", `"v=spf1 ip4:192.0.2.25 -all"`)
	names.set("MX example.org", "10 mail.example.org.")
	names.set("TXT _dmarc.example.org", `"v=DMARC1; p=reject"`)
	names.set("TXT s1._domainkey.example.org", record)
	return file, names, record
}

func TestCheckDNSPassesAndFails(t *testing.T) {
	file, names, _ := identityRig(t)
	status, out, errs := runVerb("", "check", "--dns", "--config", file)
	if status != cli.OK || !strings.Contains(out, "0 fail, 0 unknown, 0 warn") {
		t.Fatalf("status %d, %s%s", status, out, errs)
	}
	names.set("TXT example.org", `"v=spf1 -all"`)
	status, out, _ = runVerb("", "check", "--dns", "--config", file)
	for _, want := range []string{"fail", "spf", `record: example.org. IN TXT "v=spf1 ip4:192.0.2.25 -all"`, "RFC 7208"} {
		if status != cli.Fault || !strings.Contains(out, want) {
			t.Errorf("status %d, no %q in %s", status, want, out)
		}
	}
	names.set("TXT example.org", "fail")
	status, out, _ = runVerb("", "check", "--dns", "--json", "--config", file)
	var answer struct {
		Findings []identity.Finding
		Summary  identity.Summary
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if status != cli.Unknown || answer.Summary.Unknown == 0 || answer.Summary.Fail != 0 || len(answer.Findings) < 6 {
		t.Errorf("status %d, %+v", status, answer.Summary)
	}
}

func TestCheckRefusesJSONAlone(t *testing.T) {
	file, _, _ := identityRig(t)
	if status, _, errs := runVerb("", "check", "-json", "-config", file); status != cli.Usage || errs == "" {
		t.Errorf("status %d, %q", status, errs)
	}
}

func TestRotateSaysWhenTheKeyIsLive(t *testing.T) {
	file, names, _ := identityRig(t)
	rotate := func() (int, string) {
		status, out, errs := runVerb("", "dkim", "rotate", "example.org", "-config", file)
		return status, out + errs
	}
	status, out := rotate()
	for _, want := range []string{"made ", `selector = "s2"`, "s2._domainkey.example.org. IN TXT (", "not live yet"} {
		if status != cli.OK || !strings.Contains(out, want) {
			t.Fatalf("status %d, no %q in %s", status, want, out)
		}
	}
	first := out[strings.Index(out, "s2._domainkey"):]
	first = first[:strings.IndexByte(first, '\n')]
	status, out = rotate()
	if status != cli.OK || !strings.Contains(out, first) || strings.Contains(out, "made ") && !strings.Contains(out, "was made before") {
		t.Fatalf("a second run: status %d, %s", status, out)
	}
	names.set("TXT s2._domainkey.example.org", first[strings.Index(first, "(")+1:strings.LastIndex(first, ")")])
	if status, out = rotate(); status != cli.OK || !strings.Contains(out, "live: DNS has the key") {
		t.Errorf("published: status %d, %s", status, out)
	}
	names.set("TXT s2._domainkey.example.org", "fail")
	if status, out = rotate(); status != cli.Unknown || !strings.Contains(out, "unknown") {
		t.Errorf("DNS fails: status %d, %s", status, out)
	}
	if status, _, errs := runVerb("", "dkim", "rotate", "other.example", "-config", file); status != cli.Usage || !strings.Contains(errs, "no table") {
		t.Errorf("another domain: status %d, %s", status, errs)
	}
}

// relayConfig has a listener at a fixed address, for tests that connect as nobody.
func relayConfig(t *testing.T, address, more string) string {
	t.Helper()
	return fmt.Sprintf(`
hostname = "mail.example.org"
state_dir = "state"
[listener.mta]
address = "%s"
[client.a]
networks = ["10.0.0.0/8"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "up"
[upstream.up]
hosts = ["127.0.0.1:9"]
tls = "off"
[limit.all]
per = "client"
messages = ["100/1h"]
%s`, address, more)
}

func TestOpenRelayIsNotOurs(t *testing.T) {
	t.Parallel()
	p := startRelay(t, relayConfig(t, freeAddress(t), ""))
	p.address("mta")
	status, out, errs := runVerb("", "check", "--open-relay", "--config", filepath.Join(p.dir, "relay.toml"))
	if status != cli.OK || !strings.Contains(out, ", 0 accepted, ") || !strings.Contains(out, " 0 without an answer") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	var n int
	if _, err := fmt.Sscanf(out[strings.LastIndex(out, "open relay:"):], "open relay: %d forged", &n); err != nil || n < 30 {
		t.Errorf("%d forged envelopes in %s", n, out)
	}
}

func TestOpenRelayIsFound(t *testing.T) {
	open := smtptest.Start(t, smtptest.Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, "relay.toml")
	writeFile(t, file, relayConfig(t, open.Addr(), ""))
	status, out, _ := runVerb("", "check", "--open-relay", "--config", file)
	for _, want := range []string{"fail: listener mta, from 127.0.0.2: foreign to foreign", `C: "RCPT TO:<relaytest@example.com>"`, `S: "250`} {
		if status != cli.Fault || !strings.Contains(out, want) {
			t.Errorf("status %d, no %q in %.2000s", status, want, out)
		}
	}
	if n := len(open.Messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	open.Close()
	if status, out, _ = runVerb("", "check", "--open-relay", "--json", "--config", file); status != cli.Unknown || !strings.Contains(out, `"status":"unknown"`) {
		t.Errorf("nobody listens: status %d, %.300s", status, out)
	}
}

// TestCheckDNSAsksForRealSenders: macros of an SPF record are filled with the
// senders that the configuration names.
func TestCheckDNSAsksForRealSenders(t *testing.T) {
	file, names, _ := identityRig(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(senders string) (int, string) {
		writeFile(t, file, strings.Replace(string(text), `senders = ["@example.org"]`, "senders = "+senders, 1))
		status, out, _ := runVerb("", "check", "--dns", "--config", file)
		return status, out
	}
	names.set("TXT example.org", `"v=spf1 exists:%{l}.senders.example.org -all"`)
	names.set("A anna.senders.example.org", "127.0.0.2")
	if status, out := check(`["Anna@example.org"]`); status != cli.OK || !strings.Contains(out, "0 fail, 0 unknown, 0 warn") {
		t.Errorf("the one that is known: status %d, %s", status, out)
	}
	status, out := check(`["anna@example.org", "bert@example.org"]`)
	for _, want := range []string{"fail by -all for bert@example.org", `record: example.org. IN TXT "v=spf1 ip4:192.0.2.25 exists:%{l}.senders.example.org -all"`} {
		if status != cli.Fault || !strings.Contains(out, want) {
			t.Errorf("status %d, no %q in %s", status, want, out)
		}
	}
	if status, out = check(`["@example.org"]`); status != cli.Unknown || !strings.Contains(out, "any may send here: asked for postmaster@ only") {
		t.Errorf("anybody: status %d, %s", status, out)
	}
}
