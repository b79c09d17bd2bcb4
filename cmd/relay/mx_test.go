package main

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/cmd/relay/cli"
	"postern/internal/dnstest"
	"postern/internal/eventlog"
	"postern/internal/smtptest"
	"postern/mail"
)

// receivers are hosts on addresses of 127.0.0.0/8, on one port, with DNS.
type receivers struct {
	t    *testing.T
	zone *dnstest.Zone
	port int
	at   map[string]*smtptest.Server // by domain
}

func newReceivers(t *testing.T, records ...string) *receivers {
	t.Helper()
	return &receivers{t: t, zone: dnstest.StartZone(t, records...), port: freePort(t), at: map[string]*smtptest.Server{}}
}

// add starts the host of a domain.
func (r *receivers) add(domain, ip string, faults ...smtptest.Fault) *smtptest.Server {
	r.t.Helper()
	r.zone.Add(fmt.Sprintf("%s. 60 MX 10 mx.%s.", domain, domain), fmt.Sprintf("mx.%s. 60 A %s", domain, ip))
	r.at[domain] = smtptest.Start(r.t, smtptest.Options{Addr: net.JoinHostPort(ip, fmt.Sprint(r.port)), Name: "mx." + domain,
		Offer: append([]string{"STARTTLS"}, smtptest.Common...), Faults: faults})
	return r.at[domain]
}

// inExample is "mx = true" of an example as a test has it.
func (r *receivers) inExample() string {
	return fmt.Sprintf("mx = true\nport = %d\nresolvers = [%q]\nallow_networks = [\"127.0.0.0/8\"]", r.port, r.zone.Address)
}

// config is a relay that delivers to them.
func (r *receivers) config(more string) string {
	return fmt.Sprintf(`
hostname = "relay.example.org"
[listener.mta]
address = "127.0.0.1:0"
max_connections_per_ip = 500
[client.corporate]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "world"
source_ip = ["127.0.9.1", "127.0.9.2"]
[upstream.world]
mx = true
port = %d
resolvers = [%q]
allow_networks = ["127.0.0.0/8"]
[reputation]
resolvers = ["127.0.0.1:9"]
timeout = "1s"
[journal]
file = "journal.jsonl"
%s
`, r.port, r.zone.Address, more)
}

func journalOf(t *testing.T, p *process) (events []mail.Event) {
	t.Helper()
	_, err := eventlog.Read([]string{filepath.Join(p.dir, "journal.jsonl")}, nil, func(e *mail.Event) error {
		events = append(events, *e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TestPostfixDeliversToExchangers: one message to three domains, one of which
// greylists, one refuses at RCPT and one at the dot, and to one that takes it. Each
// recipient that is taken gets it once, and Postfix tells of each refusal.
func TestPostfixDeliversToExchangers(t *testing.T) {
	t.Parallel()
	world := newReceivers(t)
	good := world.add("good.example", "127.0.0.2")
	grey := world.add("grey.example", "127.0.0.3", smtptest.Fault{Stage: smtptest.Rcpt, Times: 1, Reply: "450 4.2.0 greylisted, come back"})
	unknown := world.add("unknown.example", "127.0.0.4", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "550 5.1.1 no such user"})
	spam := world.add("spam.example", "127.0.0.5", smtptest.Fault{Stage: smtptest.Dot, Reply: "554 5.7.1 looks like spam"})
	p := startRelay(t, world.config(""))
	mta := startPostfix(t, p.address("mta"), "smtp_destination_recipient_limit = 1", "bounce_queue_lifetime = 0")
	to := []string{"a@good.example", "b@good.example", "c@grey.example", "d@unknown.example", "e@spam.example"}
	if err := mta.send("a@example.org", to, testMessage("a@example.org", "m1")); err != nil {
		t.Fatal(err)
	}
	upstreamMessages(t, good, 2)
	upstreamMessages(t, grey, 1)
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	if good.Taken() != 2 || grey.Taken() != 1 || unknown.Taken() != 0 || spam.Taken() != 0 {
		t.Errorf("taken: %d %d %d %d", good.Taken(), grey.Taken(), unknown.Taken(), spam.Taken())
	}
	p.stop()
	outcomes := map[string]int{}
	for _, e := range journalOf(t, p) {
		if e.From != "a@example.org" {
			continue
		}
		if e.Host == "" || e.SourceIP == "" || e.HostTLS == "" {
			t.Errorf("an event lacks where the mail went: %+v", e)
		}
		for _, r := range e.To {
			outcomes[fmt.Sprintf("%s %s %d %s", r.Address, r.Outcome, r.Code, e.Host[:strings.IndexByte(e.Host, '[')])]++
		}
	}
	for _, want := range []string{
		"a@good.example relayed 250 mx.good.example", "b@good.example relayed 250 mx.good.example", "c@grey.example deferred 450 mx.grey.example",
		"c@grey.example relayed 250 mx.grey.example", "d@unknown.example rejected 550 mx.unknown.example", "e@spam.example rejected 554 mx.spam.example",
	} {
		if outcomes[want] != 1 {
			t.Errorf("%s: %d events; all: %v", want, outcomes[want], outcomes)
		}
	}
}

// TestExchangersOfSeveralDomainsComeOneByOne where max_domains says so: Postfix sends
// the further domains when it tries again.
func TestExchangersOfSeveralDomainsComeOneByOne(t *testing.T) {
	t.Parallel()
	world := newReceivers(t)
	a, b := world.add("a.example", "127.0.0.2"), world.add("b.example", "127.0.0.3")
	p := startRelay(t, strings.Replace(world.config(""), "mx = true\n", "mx = true\nmax_domains = 1\n", 1))
	mta := startPostfix(t, p.address("mta"))
	if err := mta.send("a@example.org", []string{"x@a.example", "y@b.example"}, testMessage("a@example.org", "m1")); err != nil {
		t.Fatal(err)
	}
	upstreamMessages(t, a, 1)
	upstreamMessages(t, b, 1)
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	if a.Taken() != 1 || b.Taken() != 1 {
		t.Errorf("taken: %d %d", a.Taken(), b.Taken())
	}
	p.stop()
}

// TestRelayMXShowsTheWay, with what each host says.
func TestRelayMXShowsTheWay(t *testing.T) {
	world := newReceivers(t, "null.example. 60 MX 0 .", "inner.example. 60 A 10.0.0.1", "loop.example. 60 MX 0 relay.example.org.")
	world.add("a.example", "127.0.0.2")
	world.add("silent.example", "127.0.0.3")
	world.zone.Add(`_mta-sts.a.example. 60 TXT "v=STSv1; id=1;"`)
	world.zone.Sign()
	world.zone.Break(fmt.Sprintf("_%d._tcp.mx.silent.example", world.port), dns.RcodeServerFailure)
	path := filepath.Join(t.TempDir(), "relay.toml")
	writeFile(t, path, world.config("[upstream.world.domain.\"Partner.example\"]\ntls = \"required\"\nhosts = [\"mx.a.example\"]\nmta_sts = false\n"))
	for _, row := range []struct {
		args   []string
		status int
		says   []string
	}{
		{[]string{"-connect", "a.example"}, cli.OK, []string{"stream main delivers by upstream world over IPv4", "host mx.a.example, preference 10\n  127.0.0.2\n",
			fmt.Sprintf("  1  mx.a.example[127.0.0.2]:%d from 127.0.9.", world.port), "220 mx.a.example ", "TLSv1.3"}},
		{[]string{"partner.example"}, cli.OK, []string{"an exception for it, tls required, hosts mx.a.example, without MTA-STS", "its hosts are those of the configuration", "mx.a.example[127.0.0.2]:25 "}},
		{[]string{"A.Example"}, cli.OK, []string{"a.example, as stream", "MTA-STS: no policy; the one that it announces cannot be fetched\n"}},
		{[]string{"silent.example"}, cli.Fault, []string{"MTA-STS: no policy\n", "left out: TLSA records are not known", "mail waits (451 4.7.5)"}},
		{[]string{"null.example"}, cli.Fault, []string{"556 5.1.10"}},
		{[]string{"inner.example"}, cli.Fault, []string{"no MX record", "10.0.0.1, no mail goes there: private", "550 5.4.4"}},
		{[]string{"loop.example"}, cli.Fault, []string{"which is this relay", "554 5.4.6"}},
		{[]string{"nowhere.test"}, cli.Fault, []string{"550 5.1.2"}},
		{[]string{"-stream", "none", "a.example"}, cli.Usage, nil},
		{[]string{"a..b"}, cli.Usage, nil},
		{nil, cli.Usage, nil},
	} {
		status, out, errs := runVerb("", slices.Concat([]string{"mx", "-config", path}, row.args)...)
		if status != row.status {
			t.Errorf("%v: status %d\n%s%s", row.args, status, out, errs)
		}
		for _, want := range row.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v lacks %q:\n%s", row.args, want, out)
			}
		}
	}
}

// TestRelayTLSCountsSessions, and the collector of reports hears of them.
func TestRelayTLSCountsSessions(t *testing.T) {
	t.Parallel()
	world := newReceivers(t, `_smtp._tls.a.example. 60 TXT "v=TLSRPTv1; rua=mailto:tls@a.example"`)
	world.add("a.example", "127.0.0.2")
	socket := filepath.Join(t.TempDir(), "s")
	c, err := net.ListenPacket("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := startRelay(t, strings.Replace(world.config(""), "mx = true", "mx = true\ntlsrpt_socket = \""+socket+"\"", 1))
	d := dialSMTP(t, p.address("mta"))
	for range 2 {
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<b@a.example>", "250")
		d.say("DATA", "354")
		d.say("From: a@example.org\r\nTo: b@a.example\r\n\r\nx\r\n.", "250")
	}
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 4096)
	n, _, err := c.ReadFrom(b)
	if want := `{"dpv":"1","d":"a.example","pr":"v=TLSRPTv1; rua=mailto:tls@a.example","policies":[{"policy-type":9,"policy-domain":"a.example","t":0,"f":0}]}`; err != nil || string(b[:n]) != want {
		t.Errorf("the collector hears %s, %v", b[:n], err)
	}
	eventually(t, "the session is counted", func() bool { return strings.Contains(p.verb(0, "tls"), "world: 1 session was handed") })
	if out := p.verb(0, "tls"); !regexp.MustCompile(`(?m)^world +none +success +1$`).MatchString(out) {
		t.Error(out)
	}
	p.stop()
}

// TestTroubleOfReceiversIsNoneOfOurs: what receivers say and lack is in the event,
// a reply that the client would take for ours is another one, and no line of the
// log is an error.
func TestTroubleOfReceiversIsNoneOfOurs(t *testing.T) {
	t.Parallel()
	world := newReceivers(t, "closed.example. 60 A 127.0.0.77")
	world.add("login.example", "127.0.0.2", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "530 5.7.0 authentication required"})
	world.add("listed.example", "127.0.0.3", smtptest.Fault{Stage: smtptest.Greeting, Reply: "554 5.7.1 [127.0.9.1] is listed at zen.spamhaus.org"})
	world.add("lost.example", "127.0.0.4", smtptest.Fault{Stage: smtptest.Dot, Drop: smtptest.DropBefore})
	p := startRelay(t, world.config(""))
	d := dialSMTP(t, p.address("mta"))
	for _, row := range []struct{ to, reply string }{
		{"a@login.example", "550 5.7.1 authentication required"},
		{"a@listed.example", "451 4.4.1 <a@listed.example>: no mail host of this domain takes a connection now"},
		{"a@closed.example", "451 4.4.1 <a@closed.example>: no mail host"},
		{"a@nowhere.test", "550 5.1.2 <a@nowhere.test>: domain does not exist"},
	} {
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<"+row.to+">", row.reply)
		d.say("RSET", "250")
	}
	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RCPT TO:<a@lost.example>", "250")
	d.say("DATA", "354")
	d.say(testMessage("a@example.org", "m1")+".", "451 4.4.2")
	p.stop()
	events := journalOf(t, p)
	if len(events) != 5 {
		t.Fatalf("%d events", len(events))
	}
	if s := events[1].Said; s == nil || s.Domain != "listed.example" || s.Class != mail.ClassListedIP || events[1].Class != mail.ClassListedIP || events[1].Rule != "mx" {
		t.Errorf("the host that calls us listed: %+v, said %+v", events[1], s)
	}
	for i, want := range []string{"", "mx.listed.example", "closed.example", "", "final reply"} {
		if e := events[i]; (e.Err == "") != (want == "") || !strings.Contains(e.Err, want) {
			t.Errorf("event %d: err %q, want %q", i, e.Err, want)
		}
	}
	if n := p.count("level=ERROR"); n > 0 {
		t.Errorf("%d errors in the log:\n%s", n, p.output())
	}
}
