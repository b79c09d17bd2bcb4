// Package check answers two questions about a configuration that has been read:
// do the things that it names answer (upstreams, Redis, certificates, keys, and
// what DNS says of us), and does the running relay refuse mail of nobody.
package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/config"
	"postern/mail"
	"postern/relay/smtpd"
)

// Forgery is one attempt to have mail relayed for nobody: the lines that are
// sent one after the other, each answered before the next.
type Forgery struct {
	Name  string
	greet bool // EHLO first, and TLS where the listener offers it
	lines []string
}

// foreignRecipient is never written to: no Forgery goes on to DATA.
const foreignRecipient = "relaytest@example.com"

// forgeries are the envelopes of the self-test. own is a domain that a client
// owns, host our name, at the address that is connected to.
func forgeries(own, host string, at netip.Addr) []Forgery {
	literal := "[" + at.String() + "]"
	if at.Is6() {
		literal = "[IPv6:" + at.String() + "]"
	}
	envelope := func(name, from, to string) Forgery {
		return Forgery{name, true, []string{"MAIL FROM:" + from, "RCPT TO:" + to}}
	}
	foreign, target := "<relaytest@example.net>", "<"+foreignRecipient+">"
	lines := func(name string, greet bool, lines ...string) Forgery { return Forgery{name, greet, lines} }
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return []Forgery{
		envelope("foreign to foreign", foreign, target),
		envelope("own to foreign", "<relaytest@"+own+">", target),
		envelope("own postmaster to foreign", "<postmaster@"+own+">", target),
		envelope("null to foreign", "<>", target),
		envelope("foreign to own", foreign, "<postmaster@"+own+">"),
		envelope("our host name to foreign", "<root@"+host+">", target),
		envelope("no domain to foreign", "<root>", target),
		envelope("our literal to foreign", "<relaytest@"+literal+">", target),
		envelope("percent at own", foreign, "<relaytest%example.com@"+own+">"),
		envelope("percent at our literal", foreign, "<relaytest%example.com@"+literal+">"),
		envelope("percent without a domain", foreign, "<relaytest%example.com>"),
		envelope("quoted percent", foreign, `<"relaytest%example.com">`),
		envelope("bang path", foreign, "<example.com!relaytest>"),
		envelope("bang path at own", foreign, "<example.com!relaytest@"+own+">"),
		envelope("bang path at our literal", foreign, "<example.com!relaytest@"+literal+">"),
		envelope("source route over own", foreign, "<@"+own+":"+foreignRecipient+">"),
		envelope("source route over our literal", foreign, "<@"+literal+":"+foreignRecipient+">"),
		envelope("quoted address", foreign, `<"`+foreignRecipient+`">`),
		envelope("quoted address at own", foreign, `<"`+foreignRecipient+`"@`+own+">"),
		envelope("two at signs", foreign, "<"+foreignRecipient+"@"+own+">"),
		envelope("literal of another host", foreign, "<relaytest@[192.0.2.99]>"),
		envelope("IPv6 literal of another host", foreign, "<relaytest@[IPv6:2001:db8::99]>"),
		envelope("recipient with a final dot", foreign, "<"+foreignRecipient+".>"),
		envelope("no angle brackets", "relaytest@"+own, foreignRecipient),
		envelope("AUTH parameter of an own sender", foreign+" AUTH=relaytest@"+own, target),
		lines("no EHLO", false, "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("HELO as ourselves", false, "HELO "+host, "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("EHLO as loopback", false, "EHLO [127.0.0.1]", "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("RCPT without MAIL", true, "RCPT TO:"+target),
		lines("command behind a bare LF", true, "MAIL FROM:<relaytest@"+own+">\nRCPT TO:"+target, "RCPT TO:"+target),
		lines("command behind a bare CR", true, "MAIL FROM:<relaytest@"+own+">\rRCPT TO:"+target, "RCPT TO:"+target),
		lines("XCLIENT as loopback", true, "XCLIENT ADDR=127.0.0.1 LOGIN=admin", "EHLO localhost", "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("PROXY header as loopback", false, "PROXY TCP4 127.0.0.1 127.0.0.1 4242 25", "EHLO localhost", "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("AUTH with empty names", true, "AUTH PLAIN "+encode("\x00\x00"), "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("AUTH with a guessed name", true, "AUTH PLAIN "+encode("\x00postmaster\x00postmaster"), "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
		lines("AUTH that is broken off", true, "AUTH LOGIN", "*", "MAIL FROM:<relaytest@"+own+">", "RCPT TO:"+target),
	}
}

// RelayAttempt is one Forgery on one listener.
type RelayAttempt struct {
	Listener   string   `json:"listener"`
	From       string   `json:"from"` // address that we connect from
	Forgery    string   `json:"forgery"`
	Status     string   `json:"status"` // pass, fail, unknown
	Transcript []string `json:"transcript"`
}

// RelayTest is the end of the self-test.
type RelayTest struct {
	Attempts []RelayAttempt `json:"attempts"`
	// Skipped says why a listener could not be tried.
	Skipped []string `json:"skipped,omitempty"`
	// Warnings are about networks of clients that hold a gateway.
	Warnings []string `json:"warnings,omitempty"`
}

// attemptTimeout bounds one Forgery.
const attemptTimeout = 20 * time.Second

// OpenRelay connects to the listeners of the running relay from addresses
// of this machine that are not clients, and tries the forgeries that wanted says.
func OpenRelay(ctx context.Context, f *config.File, wanted func(*Forgery) bool) (t RelayTest) {
	t.Warnings = trustedGateways(f, Gateways())
	own := "example.org"
	if domains := domainIdentities(f); len(domains) > 0 {
		own = domains[0].Name
	}
	for _, name := range slices.Sorted(maps.Keys(f.Listener)) {
		l := f.Listener[name]
		if l.Address.Port() == 0 {
			t.Skipped = append(t.Skipped, fmt.Sprintf("listener %s: its port is chosen at start", name))
			continue
		}
		pairs := strangers(f, name, l)
		if len(pairs) == 0 {
			t.Skipped = append(t.Skipped, fmt.Sprintf("listener %s: every address of this machine that reaches it is a client's; try from another machine", name))
		}
		for _, p := range pairs {
			for _, g := range forgeries(own, f.Hostname, p.to.Addr()) {
				if wanted(&g) && ctx.Err() == nil {
					t.Attempts = append(t.Attempts, g.try(ctx, f.Hostname, name, l, p))
				}
			}
		}
	}
	return t
}

// path is from where to where a connection goes.
type path struct {
	from netip.Addr
	to   netip.AddrPort
}

// strangers are the ways to a listener from addresses that are not clients: at
// most one loopback address, and all others of this machine.
func strangers(f *config.File, name string, l smtpd.ListenerConfig) (paths []path) {
	loopback := false
	for _, from := range OwnAddresses() {
		if from.IsLoopback() && loopback || isTrusted(f, name, l, from) {
			continue
		}
		to := l.Address
		if to.Addr().IsUnspecified() {
			to = netip.AddrPortFrom(reached(from), to.Port())
			if l.Address.Addr().Is4() && !from.Is4() {
				continue
			}
		}
		if from.Is4() != to.Addr().Unmap().Is4() || to.Addr().IsLoopback() && !from.IsLoopback() {
			continue
		}
		loopback = loopback || from.IsLoopback()
		paths = append(paths, path{from, to})
	}
	return paths
}

// reached is the address to connect to from one of our own.
func reached(from netip.Addr) netip.Addr {
	if from.IsLoopback() && from.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return from
}

// isTrusted reports whether connections from an address may count as a
// client's, or begin with a header that names one.
func isTrusted(f *config.File, name string, l smtpd.ListenerConfig, from netip.Addr) bool {
	within := func(p netip.Prefix) bool { return p.Contains(from) }
	if slices.ContainsFunc(l.ProxyProtocolFrom, within) || slices.ContainsFunc(l.XClientFrom, within) {
		return true
	}
	peer := mail.Peer{Addr: netip.AddrPortFrom(from, 1), Local: l.Address, Listener: name, TLS: mail.TLS{Version: "TLSv1.3"}}
	_, refused := f.Policy().Client(&peer)
	return refused == nil
}

// OwnAddresses are addresses of this machine, loopback ones first.
func OwnAddresses() []netip.Addr {
	as := []netip.Addr{
		netip.AddrFrom4([4]byte{127, 0, 0, 2}), netip.AddrFrom4([4]byte{127, 83, 17, 29}), netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback(),
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return as
	}
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			as = append(as, ip.Unmap())
		}
	}
	return as
}

// try carries out one Forgery. It never gets to the data of a message.
func (g *Forgery) try(ctx context.Context, hostname, listener string, l smtpd.ListenerConfig, p path) RelayAttempt {
	a := RelayAttempt{Listener: listener, From: p.from.String(), Forgery: g.Name, Status: "pass"}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.from, 0))}
	conn, err := d.DialContext(ctx, "tcp", p.to.String())
	if err != nil {
		a.Status, a.Transcript = "unknown", []string{err.Error()}
		return a
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	s := &forger{attempt: &a}
	s.use(conn)
	if l.TLS == smtpd.TLSImplicit {
		s.use(tls.Client(conn, &tls.Config{ServerName: hostname, InsecureSkipVerify: true}))
	}
	if s.reply() != 0 && g.greet {
		s.greet(conn, hostname)
	}
	for _, line := range g.lines {
		if code := s.send(line); code == 0 {
			break // the relay has hung up, which is an answer too
		} else if strings.HasPrefix(line, "RCPT") && code/100 == 2 {
			a.Status = "fail"
		}
	}
	if len(a.Transcript) < 2 {
		a.Status = "unknown"
	}
	return a
}

// forger is one connection of the self-test.
type forger struct {
	attempt *RelayAttempt
	conn    net.Conn
	in      *bufio.Reader
}

func (s *forger) use(c net.Conn) { s.conn, s.in = c, bufio.NewReaderSize(c, 4096) }

func (s *forger) note(direction, line string) {
	if len(s.attempt.Transcript) < 100 {
		s.attempt.Transcript = append(s.attempt.Transcript, fmt.Sprintf("%s %q", direction, line))
	}
}

// greet says EHLO, and takes TLS where it is offered.
func (s *forger) greet(plain net.Conn, hostname string) {
	before := len(s.attempt.Transcript)
	if s.send("EHLO relaytest.invalid") != 250 {
		return
	}
	offered := slices.ContainsFunc(s.attempt.Transcript[before:], func(l string) bool { return strings.Contains(l, "STARTTLS") })
	if !offered || s.send("STARTTLS") != 220 {
		return
	}
	s.use(tls.Client(plain, &tls.Config{ServerName: hostname, InsecureSkipVerify: true}))
	s.send("EHLO relaytest.invalid")
}

// send writes one line and returns the code of its reply; 0 when the connection
// has ended.
func (s *forger) send(line string) int {
	s.note("C:", line)
	if _, err := fmt.Fprintf(s.conn, "%s\r\n", line); err != nil {
		return 0
	}
	return s.reply()
}

func (s *forger) reply() (code int) {
	for range 100 {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return 0
		}
		text := strings.TrimRight(string(line), "\r\n")
		s.note("S:", text)
		if len(text) < 3 {
			return 0
		}
		if _, err := fmt.Sscanf(text[:3], "%d", &code); err != nil {
			return 0
		}
		if len(text) == 3 || text[3] != '-' {
			return code
		}
	}
	return 0
}

// Count is how many attempts ended with a status: "pass", "fail" or "unknown".
func (t *RelayTest) Count(status string) (n int) {
	for i := range t.Attempts {
		if t.Attempts[i].Status == status {
			n++
		}
	}
	return n
}
