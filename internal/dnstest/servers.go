package dnstest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/freeport"
)

// FreePort finds a port that is free for UDP and TCP.
func FreePort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// program is a server that is not ours.
type program struct {
	cmd    *exec.Cmd
	output bytes.Buffer
}

// start runs a server of a Debian package until the test ends.
func start(t *testing.T, debian, name string, args ...string) *program {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install the Debian package %s", name, debian)
		}
		t.Skipf("%s is missing: install the Debian package %s", name, debian)
	}
	p := &program{cmd: exec.Command(path, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", name, p.output.String())
		}
	})
	return p
}

// answers waits until a server answers a question with NOERROR.
func answers(t *testing.T, server, name string, qtype uint16) {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	c := dns.Client{Timeout: 500 * time.Millisecond}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if r, _, err := c.Exchange(m, server); err == nil && r.Rcode == dns.RcodeSuccess {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("%s does not answer for %s", server, name)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// publicDir is a folder that servers which drop their rights can read.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-dns-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Knot serves zones, by name, and returns its address.
func Knot(t *testing.T, zones map[string]string) string {
	t.Helper()
	dir, port := publicDir(t), FreePort(t)
	conf := fmt.Sprintf("server:\n    rundir: %q\n    listen: 127.0.0.1@%d\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"+
		"log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: %q\ntemplate:\n  - id: default\n    storage: %q\n    zonefile-load: whole\n    journal-content: none\nzone:\n", dir, port, dir, dir)
	apex := ""
	for name, records := range zones {
		write(t, filepath.Join(dir, name+".zone"), "$ORIGIN "+name+".\n$TTL 300\n@ SOA ns.example. host.example. 1 3600 600 86400 60\n@ NS ns.example.\n"+records)
		conf += fmt.Sprintf("  - domain: %s\n    file: %s.zone\n", name, name)
		apex = name
	}
	write(t, filepath.Join(dir, "knot.conf"), conf)
	start(t, "knot", "knotd", "-c", filepath.Join(dir, "knot.conf"))
	server := fmt.Sprintf("127.0.0.1:%d", port)
	answers(t, server, apex+".", dns.TypeSOA)
	return server
}

// SignedKnot serves one zone with DNSSEC and returns its address and the key that
// vouches for it, as a record.
func SignedKnot(t *testing.T, name, records string) (server, key string) {
	t.Helper()
	dir, port := publicDir(t), FreePort(t)
	write(t, filepath.Join(dir, name+".zone"), "$ORIGIN "+name+".\n$TTL 300\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"+records)
	write(t, filepath.Join(dir, "knot.conf"), fmt.Sprintf("server:\n    rundir: %q\n    listen: 127.0.0.1@%d\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"+
		"log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: %q\npolicy:\n  - id: one\n    single-type-signing: on\n    algorithm: ecdsap256sha256\n"+
		"zone:\n  - domain: %s\n    storage: %q\n    file: %s.zone\n    zonefile-load: difference\n    zonefile-sync: -1\n    journal-content: changes\n    dnssec-signing: on\n    dnssec-policy: one\n", dir, port, dir, name, dir, name))
	start(t, "knot", "knotd", "-c", filepath.Join(dir, "knot.conf"))
	server = fmt.Sprintf("127.0.0.1:%d", port)
	answers(t, server, name+".", dns.TypeSOA)
	c := dns.Client{Timeout: time.Second}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeDNSKEY), server)
		if err == nil && len(r.Answer) > 0 {
			return server, r.Answer[0].String()
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatal("Knot has no key for the zone")
	return "", ""
}

// ValidatingUnbound is Unbound with DNSSEC: key vouches for its zone, the others are
// not signed.
func ValidatingUnbound(t *testing.T, zones map[string]string, key string) string {
	t.Helper()
	return unbound(t, zones, "  module-config: \"validator iterator\"\n  trust-anchor: '"+strings.ReplaceAll(key, "\t", " ")+"'\n")
}

// Unbound runs a resolver that asks the given server for each zone.
func Unbound(t *testing.T, stubs map[string]string) string {
	t.Helper()
	return unbound(t, stubs, "  module-config: \"iterator\"\n")
}

func unbound(t *testing.T, zones map[string]string, more string) string {
	t.Helper()
	dir, port := publicDir(t), FreePort(t)
	conf := fmt.Sprintf("server:\n  interface: 127.0.0.1@%d\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: %q\n  pidfile: \"\"\n"+
		"  use-syslog: no\n  logfile: \"\"\n  verbosity: 0\n  num-threads: 1\n  do-not-query-localhost: no\n"+
		"  access-control: 127.0.0.0/8 allow\n  minimal-responses: yes\n  qname-minimisation: no\n  cache-max-ttl: 1\n  cache-max-negative-ttl: 1\n  infra-host-ttl: 1\n", port, dir) + more
	for zone := range zones {
		conf += fmt.Sprintf("  local-zone: \"%s.\" nodefault\n", zone)
	}
	for zone, server := range zones {
		conf += fmt.Sprintf("stub-zone:\n  name: \"%s.\"\n  stub-addr: %s\n", zone, strings.Replace(server, ":", "@", 1))
	}
	write(t, filepath.Join(dir, "unbound.conf"), conf)
	start(t, "unbound", "unbound", "-c", filepath.Join(dir, "unbound.conf"))
	server := fmt.Sprintf("127.0.0.1:%d", port)
	for zone := range zones {
		if zone == "example" {
			answers(t, server, zone+".", dns.TypeSOA)
		}
	}
	return server
}

// blocklists is a running rbldnsd with its zones.
type blocklists struct {
	*program
	dir, Server string
}

// Rbldnsd serves lists, by zone, each in the form "type text".
func Rbldnsd(t *testing.T, zones map[string]string) *blocklists {
	t.Helper()
	b := &blocklists{dir: publicDir(t)}
	port := FreePort(t)
	b.Server = fmt.Sprintf("127.0.0.1:%d", port)
	args := []string{"-n", "-t", "1", "-c", "1h", "-b", fmt.Sprintf("127.0.0.1/%d", port), "-w", b.dir}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "nobody:nogroup")
	}
	first := ""
	for zone, list := range zones {
		kind, text, _ := strings.Cut(list, " ")
		write(t, filepath.Join(b.dir, zone), "$SOA 1 ns.example host.example 0 600 300 86400 1\n$NS 1 ns.example\n"+text)
		args = append(args, zone+":"+kind+":"+zone)
		first = zone
	}
	b.program = start(t, "rbldnsd", "rbldnsd", args...)
	answers(t, b.Server, first+".", dns.TypeSOA)
	return b
}

// Change writes a zone anew and waits until its answer for name says listed.
func (b *blocklists) Change(t *testing.T, zone, text, name string, listed bool) {
	t.Helper()
	write(t, filepath.Join(b.dir, zone), "$SOA 1 ns.example host.example 0 600 300 86400 1\n$NS 1 ns.example\n"+text)
	// rbldnsd looks at size and time of its files.
	past := time.Now().Add(time.Duration(len(text)) * time.Second)
	if err := os.Chtimes(filepath.Join(b.dir, zone), past, past); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c := dns.Client{Timeout: 500 * time.Millisecond}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name+"."+zone+".", dns.TypeA), b.Server)
		if err == nil && (len(r.Answer) > 0) == listed {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("rbldnsd did not take the change of %s", zone)
}

// faulty is a DNS server of our own that misbehaves as told, by the first label
// of the question.
type faulty struct {
	Address string
	mu      sync.Mutex
	asked   map[string]int
}

func StartFaulty(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{asked: map[string]int{}}
	port := FreePort(t)
	f.Address = fmt.Sprintf("127.0.0.1:%d", port)
	for _, network := range []string{"udp", "tcp"} {
		ready := make(chan struct{})
		done := make(chan struct{})
		s := &dns.Server{Addr: f.Address, Net: network, Handler: f, NotifyStartedFunc: func() { close(ready) }}
		go func() {
			defer close(done)
			if err := s.ListenAndServe(); err != nil {
				t.Errorf("faulty server: %v", err)
			}
		}()
		<-ready
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			s.ShutdownContext(ctx)
			<-done
		})
	}
	return f
}

func (f *faulty) Count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[name]
}

// ServeDNS answers as the label says that begins with "x-".
func (f *faulty) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	name := q.Question[0].Name
	f.mu.Lock()
	f.asked[strings.ToLower(name)]++
	times := f.asked[strings.ToLower(name)]
	f.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	how := "x-nxdomain"
	for label := range strings.SplitSeq(name, ".") {
		if strings.HasPrefix(label, "x-") {
			how = label
		}
	}
	if strings.HasSuffix(name, ".100.51.198.in-addr.arpa.") {
		how = "x-servfail"
	}
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	f.misbehave(w, q, m, how, udp, times)
}

func Record(name string, qtype uint16, ttl uint32, value string) dns.RR {
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, dns.TypeToString[qtype], value))
	if err != nil {
		panic(err)
	}
	return rr
}

func (f *faulty) misbehave(w dns.ResponseWriter, q, m *dns.Msg, how string, udp bool, times int) {
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	good := func() {
		switch qtype {
		case dns.TypeA:
			m.Answer = append(m.Answer, Record(name, qtype, 60, "127.0.0.2"))
		case dns.TypeTXT:
			m.Answer = append(m.Answer, Record(name, qtype, 60, `"v=spf1 ip4:192.0.2.1 -all"`))
		case dns.TypePTR:
			m.Answer = append(m.Answer, Record(name, qtype, 60, "mail.pass.example."))
		}
	}
	switch how {
	case "x-silent":
		return
	case "x-servfail":
		m.Rcode = dns.RcodeServerFailure
	case "x-refused":
		m.Rcode = dns.RcodeRefused
	case "x-nxdomain":
		m.Rcode = dns.RcodeNameError
	case "x-lame":
		m.RecursionAvailable = false
		m.Ns = append(m.Ns, Record("example.", dns.TypeNS, 60, "ns.example."))
	case "x-lame-nxdomain":
		m.RecursionAvailable = false
		m.Rcode = dns.RcodeNameError
	case "x-empty":
	case "x-truncated":
		if udp {
			m.Truncated = true
		} else {
			good()
		}
	case "x-truncated-nxdomain":
		m.Truncated, m.Rcode = udp, dns.RcodeNameError
	case "x-truncated-always":
		m.Truncated = true
	case "x-truncated-hangup":
		if !udp {
			w.Close()
			return
		}
		m.Truncated = true
	case "x-other-question":
		m.Question[0].Name = "other.example."
		m.Rcode = dns.RcodeNameError
	case "x-other-id":
		m.Id++
		m.Rcode = dns.RcodeNameError
	case "x-garbage":
		w.Write([]byte("not a DNS message"))
		return
	case "x-half":
		good()
		b, _ := m.Pack()
		w.Write(b[:len(b)-3])
		return
	case "x-noedns":
		if q.IsEdns0() != nil {
			m.Rcode = dns.RcodeFormatError
		} else {
			good()
		}
	case "x-second":
		if times == 1 {
			m.Rcode = dns.RcodeServerFailure
		} else {
			good()
		}
	case "x-circle":
		m.Answer = append(m.Answer, Record(name, dns.TypeCNAME, 60, name))
	case "x-chain":
		for i := range 12 {
			m.Answer = append(m.Answer, Record(fmt.Sprintf("c%d.%s", i, name), dns.TypeCNAME, 60, fmt.Sprintf("c%d.%s", i+1, name)))
		}
		m.Answer = append(m.Answer, Record(name, dns.TypeCNAME, 60, "c0."+name))
	case "x-parked":
		m.Answer = append(m.Answer, Record(name, dns.TypeA, 60, "198.51.100.99"))
	case "x-error-code":
		m.Answer = append(m.Answer, Record(name, dns.TypeA, 60, "127.255.255.254"))
	case "x-blocked":
		m.Answer = append(m.Answer, Record(name, dns.TypeA, 60, "127.0.0.1"))
	case "x-good":
		good()
	default:
		m.Rcode = dns.RcodeNameError
	}
	w.WriteMsg(m)
}

// Serve runs a DNS server with one handler.
func Serve(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	ready, done := make(chan struct{}), make(chan struct{})
	s := &dns.Server{Addr: address, Net: "udp", Handler: h, NotifyStartedFunc: func() { close(ready) }}
	go func() { defer close(done); s.ListenAndServe() }()
	<-ready
	t.Cleanup(func() { s.Shutdown(); <-done })
	return address
}
