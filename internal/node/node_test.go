package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/dkimsign"
	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/ruleset"
	"postern/mail"
	"postern/reputation"
	"postern/upstream"
)

// signing is a configuration that signs and asks a name server that is not there.
func signing(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	key, err := dkimsign.NewKey(dkimsign.RSA, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if err := dkimsign.WriteKey(filepath.Join(dir, "s1.pem"), key); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "relay.toml")
	if err := os.WriteFile(path, []byte(signingConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const signingConfig = `
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
hosts = ["127.0.0.1:9"]
tls = "off"
[limit.all]
per = "client"
messages = ["100/1h"]
[dkim."example.org"]
keys = [{ selector = "s1", file = "s1.pem" }]
[reputation]
resolvers = ["127.0.0.1:9"]
timeout = "5s"
`

func TestGatewayInFrontOfAllIsToldOnce(t *testing.T) {
	gateway := netip.MustParseAddr("172.17.0.1")
	var log bytes.Buffer
	w := newGatewayWatch(slog.New(slog.NewTextHandler(&log, nil)), []netip.Addr{gateway})
	send := func(n int, from string) {
		for range n {
			w.Observe(&mail.Event{ClientIP: from})
		}
	}
	send(100, "172.17.0.1")
	send(100, "10.0.0.7")
	if log.Len() != 0 {
		t.Fatalf("half of them made %s", log.String())
	}
	send(5, "10.0.0.7")
	send(600, "::ffff:172.17.0.1")
	if n := strings.Count(log.String(), "nearly all clients"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
	if !strings.Contains(log.String(), "proxy_protocol_from") {
		t.Errorf("no remedy in %s", log.String())
	}
}

func TestSelfTestLeavesNoTrace(t *testing.T) {
	var seen []string
	s := &selfTest{next: []mail.Observer{observerFunc(func(e *mail.Event) { seen = append(seen, e.ID) })}}
	s.running.Store(true)
	s.Observe(&mail.Event{ID: "own", ClientIP: "127.0.0.2"})
	s.Observe(&mail.Event{ID: "client", Client: "a", ClientIP: "127.0.0.2"})
	s.Observe(&mail.Event{ID: "stranger", ClientIP: "192.0.2.9"})
	s.running.Store(false)
	s.Observe(&mail.Event{ID: "later", ClientIP: "127.0.0.2"})
	if got := strings.Join(seen, " "); got != "client stranger later" {
		t.Errorf("passed on: %s", got)
	}
}

func TestHostThatWantsLessHoldsItsDomainOnly(t *testing.T) {
	for name, c := range map[string]struct {
		said mail.Evidence
		want string
	}{
		"instead of a session":    {mail.Evidence{At: "connect", About: mail.AboutUs, Class: mail.ClassRateLimited, Domain: "x.example", Reply: "421 too many connections"}, "x.example waits"},
		"of a next hop we chose":  {mail.Evidence{At: "connect", About: mail.AboutUs, Class: mail.ClassRateLimited, Reply: "421 too many connections"}, ""},
		"hearsay":                 {mail.Evidence{At: "connect", About: mail.AboutUs, Class: mail.ClassRateLimited, Domain: "x.example", Remote: true}, ""},
		"something else about us": {mail.Evidence{At: "connect", About: mail.AboutUs, Class: mail.ClassListedIP, Domain: "x.example"}, ""},
	} {
		j := &receivers{backoff: reputation.NewBackoff(time.Now)}
		j.Observe(&mail.Event{Stream: "main", Client: "a", From: "a@example.org", Said: &c.said, To: []mail.RecipientEvent{{Address: "b@x.example", Rule: "mx", Code: 451}}})
		got := ""
		for _, e := range j.backoff.List() {
			got += e.Domain + " waits"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestEachDomainIsHeldByItsOwnHost where hosts of several say that they want less.
func TestEachDomainIsHeldByItsOwnHost(t *testing.T) {
	var e mail.Event
	e.Stream, e.Client, e.From = "main", "a", "a@example.org"
	for _, domain := range []string{"x.example", "y.example"} {
		said := &mail.Evidence{At: "connect", About: mail.AboutUs, Class: mail.ClassRateLimited, Domain: domain, Reply: "421 too many connections"}
		e.Unreached = append(e.Unreached, mail.Unreached{Domain: domain, Said: said})
		e.To = append(e.To, mail.RecipientEvent{Address: "b@" + domain, Rule: "mx", Code: 451})
		e.Said = said
	}
	j := &receivers{backoff: reputation.NewBackoff(time.Now)}
	j.Observe(&e)
	if all := j.backoff.List(); len(all) != 2 || all[0].Domain == all[1].Domain {
		t.Errorf("%+v", all)
	}
	if got := transactionOf(&e, nil); len(got.Said) != 2 {
		t.Errorf("%d domains have said something of our address", len(got.Said))
	}
}

// TestWhatChangesAnythingIsSaidByTheHostOfTheRecipient: what each verdict
// suppresses and whose mail waits for it.
func TestWhatChangesAnythingIsSaidByTheHostOfTheRecipient(t *testing.T) {
	gone := func(address string, e mail.Evidence) mail.RecipientEvent {
		e.Class = "no-such-user"
		return mail.RecipientEvent{Address: address, Rule: "upstream", Code: 550, Status: "5.1.1", Class: e.Class, Reply: "user unknown", Said: &e}
	}
	slow := func(address string, e mail.Evidence) mail.RecipientEvent {
		e.Class = "rate-limited-by-receiver"
		return mail.RecipientEvent{Address: address, Rule: "upstream", Code: 450, Status: "4.7.1", Class: e.Class, Reply: "slow down", Said: &e}
	}
	taken := mail.RecipientEvent{Address: "b@x", Rule: "upstream", Code: 250, Status: "2.0.0"}
	rcpt, dot := mail.Evidence{At: "rcpt", About: mail.AboutRecipient}, mail.Evidence{At: "dot", About: mail.AboutRecipient}
	cases := []struct {
		name string
		to   []mail.RecipientEvent
		want string
	}{
		{"refused at RCPT", []mail.RecipientEvent{gone("a@x", rcpt)}, "a@x"},
		{"two refused at RCPT", []mail.RecipientEvent{gone("a@x", rcpt), gone("b@x", rcpt)}, "a@x b@x"},
		{"one refused at RCPT, the message taken", []mail.RecipientEvent{gone("a@x", rcpt), taken}, "a@x"},
		{"a message for one refused", []mail.RecipientEvent{gone("a@x", dot)}, "a@x"},
		{"a message for two refused", []mail.RecipientEvent{gone("a@x", mail.Evidence{At: "dot"}), gone("b@x", mail.Evidence{At: "dot"})}, ""},
		{"the sender refused", []mail.RecipientEvent{gone("a@x", mail.Evidence{At: "mail", About: mail.AboutSender})}, ""},
		{"hearsay", []mail.RecipientEvent{gone("a@x", mail.Evidence{At: "rcpt", About: mail.AboutRecipient, Remote: true})}, ""},
		{"a hint of trouble", []mail.RecipientEvent{gone("a@x", mail.Evidence{At: "rcpt", About: mail.AboutRecipient, Doubt: true})}, ""},
		{"of an earlier release", []mail.RecipientEvent{{Address: "a@x", Rule: "upstream", Code: 550, Class: "no-such-user"}}, ""},
		{"too much at RCPT", []mail.RecipientEvent{slow("a@x", mail.Evidence{At: "rcpt", About: mail.AboutUs})}, "x waits"},
		{"too much of the sender", []mail.RecipientEvent{slow("a@x", mail.Evidence{At: "rcpt", About: mail.AboutSender})}, ""},
		{"too much at MAIL", []mail.RecipientEvent{slow("a@x", mail.Evidence{At: "mail", About: mail.AboutUs})}, ""},
		{"too much at the dot of several", []mail.RecipientEvent{slow("a@x", mail.Evidence{At: "dot", Several: true})}, ""},
		{"too much by hearsay", []mail.RecipientEvent{slow("a@x", mail.Evidence{At: "rcpt", About: mail.AboutUs, Remote: true})}, ""},
	}
	for _, c := range cases {
		j := &receivers{backoff: reputation.NewBackoff(time.Now), suppressions: reputation.NewSuppressions(0, 0, time.Now)}
		j.Observe(&mail.Event{Stream: "main", Client: "a", From: "a@example.org", To: c.to})
		var got []string
		for _, e := range j.suppressions.List() {
			got = append(got, string(e.Recipient))
		}
		for _, e := range j.backoff.List() {
			got = append(got, e.Domain+" waits")
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestWaveOfUnknownRecipientsIsTold once, and suppresses nobody.
func TestWaveOfUnknownRecipientsIsTold(t *testing.T) {
	told := 0
	j := &receivers{backoff: reputation.NewBackoff(time.Now), suppressions: reputation.NewSuppressions(0, 0, time.Now), tell: func(reputation.Event) { told++ }}
	for i := range 30 {
		j.Observe(&mail.Event{Stream: "main", Client: "a", From: "a@example.org", To: []mail.RecipientEvent{{Address: fmt.Sprintf("u%d@x", i), Rule: "upstream",
			Code: 550, Class: "no-such-user", Said: &mail.Evidence{At: "rcpt", About: mail.AboutRecipient, Class: "no-such-user"}}}})
	}
	if l := j.suppressions.List(); told != 1 || len(l) != 0 {
		t.Errorf("told %d times, suppressed %+v", told, l)
	}
}

func TestReputationReadsEvents(t *testing.T) {
	f, _, err := config.Load(signing(t))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var mu sync.Mutex
	counts := map[string]int{}
	rules, err := ruleset.New(f, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newReputationWatch(f, rules.Snapshot.Signers, reputationParts{
		log: slog.New(slog.NewTextHandler(&log, nil)), backoff: reputation.NewBackoff(time.Now),
		changed: func(kind, to string) { mu.Lock(); defer mu.Unlock(); counts[kind+" "+to]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	reply := mail.RecipientEvent{Address: "a@mx.example", Rule: "upstream", Code: 550, Status: "5.7.1", Class: "listed-ip",
		Reply: "Service unavailable; client [192.0.2.25] blocked using zen.spamhaus.org"}
	reply.Said = &mail.Evidence{At: "rcpt", About: mail.AboutUs, Class: "listed-ip", List: "spamhaus-zen"}
	r := recipientOf(&reply)
	if r.Said != reply.Said || r.Domain != "mx.example" || !strings.HasPrefix(r.Reply, "550 5.7.1 ") || r.Relayed {
		t.Errorf("recipient %+v", r)
	}
	said := &mail.Evidence{At: "connect", About: mail.AboutUs, Class: "listed-ip"}
	lost := &mail.Event{Err: `up: greeting: host replied "554 5.7.1 blocked using zen.spamhaus.org"`, Said: said, From: "x@example.org",
		To: []mail.RecipientEvent{{Address: "a@mx.example", Rule: "upstream", Code: 451}, {Address: "b@mx.example", Rule: "limit x", Code: 450}}}
	rs := recipientsOf(nil, lost)
	if got := transactionOf(lost, rs); len(rs) != 0 || len(got.Said) != 1 || got.Said[0] != said || len(got.Domains) != 1 {
		t.Errorf("a refused connection gives %+v, %+v", rs, got)
	}
	if w.monitor == nil {
		t.Error("no monitor")
	}
	event := &mail.Event{Time: time.Now(), ID: "t1", From: "x@example.org", Authors: []string{"x@example.org", "y@sub.example.org"},
		Signed: []string{"example.org/s1"}, To: []mail.RecipientEvent{reply}}
	event.SourceIP = "192.0.2.25"
	for _, to := range [][]reputation.Recipient{{{Code: 550}}, {{Relayed: true, Code: 250}, {Code: 550}}} {
		got := transactionOf(event, to)
		if strings.Join(got.Domains, " ") != "example.org sub.example.org" || got.SourceIP != netip.MustParseAddr("192.0.2.25") || got.Sender != "x@example.org" {
			t.Errorf("%d recipients: %+v", len(to), got)
		}
	}
}

type observerFunc func(*mail.Event)

func (f observerFunc) Observe(e *mail.Event) { f(e) }

// TestUpstreamReasonWaits: hosts may be down for a while, counted from when the
// last of them went.
func TestUpstreamReasonWaits(t *testing.T) {
	now := time.Now()
	down := func(ago time.Duration) upstream.HostState {
		return upstream.HostState{Host: "h:25", Since: now.Add(-ago)}
	}
	up := upstream.HostState{Host: "h:25", Up: true}
	for _, c := range []struct {
		name  string
		hosts []upstream.HostState
		what  string
		ready bool
	}{
		{"all up", []upstream.HostState{up, up}, "", true},
		{"one down for long", []upstream.HostState{down(time.Hour), up}, admin.Upstream, true},
		{"both down, one of them just now", []upstream.HostState{down(time.Hour), down(time.Minute)}, admin.Upstream, true},
		{"both down for long", []upstream.HostState{down(time.Hour), down(2 * time.Minute)}, admin.Upstream, false},
		{"none, as of a capture", nil, "", true},
	} {
		if reason, ready := upstreamReason("u", c.hosts, 2*time.Minute, now); reason.What != c.what || ready != c.ready {
			t.Errorf("%s: %+v, %v", c.name, reason, ready)
		}
	}
}

// TestStateFolderIsProbed: a folder that cannot be written shows although
// nothing has to be written.
func TestStateFolderIsProbed(t *testing.T) {
	dir := t.TempDir()
	if err := writable(dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("leaves %v, %v", left, err)
	}
	if err := writable(filepath.Join(dir, "none")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}
