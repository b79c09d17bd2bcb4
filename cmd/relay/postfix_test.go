package main

import (
	"context"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/freeport"
	"postern/internal/smtptest"
)

// postfix is a real Postfix that runs in a folder of the test and has the relay
// as its relayhost.
type postfix struct {
	t       *testing.T
	config  string // folder of main.cf
	address string // where it takes mail
}

// startPostfix runs Postfix with settings beside the usual ones. It needs root,
// as Postfix does.
func startPostfix(t *testing.T, relayhost string, settings ...string) *postfix {
	t.Helper()
	need(t, "postfix", "postfix")
	if os.Getuid() != 0 {
		t.Skip("Postfix starts as root only; run the tests as root (CI does)")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	p := &postfix{t: t, config: filepath.Join(dir, "etc"), address: freeAddress(t)}
	for _, d := range []string{"etc", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chown(t, filepath.Join(dir, "data"), "postfix")
	_, port, _ := strings.Cut(relayhost, ":")
	main := append([]string{
		"compatibility_level = 3.6",
		"queue_directory = " + filepath.Join(dir, "queue"),
		"data_directory = " + filepath.Join(dir, "data"),
		"maillog_file = " + filepath.Join(dir, "maillog"),
		"maillog_file_prefixes = " + dir,
		"myhostname = mta.example.org",
		"mydestination =",
		"inet_interfaces = 127.0.0.1",
		"inet_protocols = ipv4",
		"mynetworks = 127.0.0.0/8",
		"relayhost = [127.0.0.1]:" + port,
		"smtp_tls_security_level = none",
		"smtpd_tls_security_level = none",
		"alias_maps =", "alias_database =",
		"append_dot_mydomain = no",
		"biff = no",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s",
		"smtp_connect_timeout = 5s",
		"smtputf8_enable = yes",
		"default_process_limit = 20",
	}, settings...)
	writeFile(t, filepath.Join(p.config, "main.cf"), strings.Join(main, "\n")+"\n")
	writeFile(t, filepath.Join(p.config, "master.cf"), fmt.Sprintf(`%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`, p.address))
	os.Chmod(filepath.Join(p.config, "main.cf"), 0o644)
	os.Chmod(filepath.Join(p.config, "master.cf"), 0o644)
	p.run("postfix", "-c", p.config, "start")
	t.Cleanup(func() {
		exec.Command("postfix", "-c", p.config, "abort").Run()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "maillog"))
			lines := strings.Split(string(log), "\n")
			t.Logf("Postfix logged:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return p
}

func (p *postfix) run(name string, args ...string) {
	p.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// flush has Postfix try everything in its queue now.
func (p *postfix) flush() { p.run("postqueue", "-c", p.config, "-f") }

// queued is the number of messages in the queue.
func (p *postfix) queued() int {
	p.t.Helper()
	out, err := exec.Command("postqueue", "-c", p.config, "-j").Output()
	if err != nil {
		p.t.Fatalf("postqueue: %v", err)
	}
	return strings.Count(string(out), "\n")
}

// logs waits until Postfix has logged a line like each pattern.
func (p *postfix) logs(patterns ...string) {
	p.t.Helper()
	expectLines(p.t, filepath.Join(filepath.Dir(p.config), "maillog"), patterns...)
}

// send gives one message to Postfix.
func (p *postfix) send(from string, to []string, message string) error {
	return smtp.SendMail(p.address, nil, from, to, []byte(message))
}

// eventually polls what only another program can tell.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// freePort is one that is free on all addresses and that no other test is given.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

func chown(t *testing.T, path, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func upstreamMessages(t *testing.T, up *smtptest.Server, n int) []*smtptest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all, err := up.Wait(ctx, n)
	if err != nil {
		t.Fatalf("upstream has %d of %d messages: %v", up.Taken(), n, err)
	}
	return all
}

// TestPostfixAsClient: mail that Postfix hands over arrives once, with a
// signature that two other programs accept.
func TestPostfixAsClient(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, `
[dkim."example.org"]
generate = true
keys = [{ selector = "r1", file = "r1.pem" }, { selector = "e1", file = "e1.pem", type = "ed25519" }]
`))
	records := map[string]string{}
	for _, s := range []string{"r1", "e1"} {
		records[s] = joinTXT(p.expect(`^` + s + `\._domainkey\.example\.org\. IN TXT (.*)`)[1])
	}
	mta := startPostfix(t, p.address("mta"))
	for i := range 20 {
		to := []string{"b@dest.example", "c@other.example"}
		if err := mta.send("a@example.org", to, testMessage("a@example.org", fmt.Sprintf("p%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	all := upstreamMessages(t, up, 20)
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	if up.Taken() != 20 {
		t.Errorf("upstream has %d messages, want 20", up.Taken())
	}
	seen := map[string]bool{}
	for _, m := range all {
		seen[markOf(m.Data)] = true
		if len(m.To) != 2 {
			t.Errorf("message has recipients %v", m.To)
		}
		verifyDKIM(t, m.Data, records)
	}
	if len(seen) != 20 {
		t.Errorf("%d different messages, want 20", len(seen))
	}
	p.stop()
}

// TestPostfixBehindShowsTheAuthorThatWasJudged: a real Postfix as upstream, which
// rewrites what it finds in a header, passes From as the relay left it, and the
// signatures hold.
func TestPostfixBehindShowsTheAuthorThatWasJudged(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	mta := startPostfix(t, up.Addr())
	text := strings.Replace(basic(up, `
[dkim."example.org"]
generate = true
keys = [{ selector = "r1", file = "r1.pem" }, { selector = "e1", file = "e1.pem", type = "ed25519" }]
`), up.Addr(), mta.address, 1)
	p := startRelay(t, text)
	records := map[string]string{}
	for _, s := range []string{"r1", "e1"} {
		records[s] = joinTXT(p.expect(`^` + s + `\._domainkey\.example\.org\. IN TXT (.*)`)[1])
	}
	address := p.address("mta")
	forms := []struct{ sent, want string }{
		{`a@example.org`, `a@example.org`},
		{`a@example.org (Anna K)`, `a@example.org (Anna K)`},
		{`"K, Anna" <a@example.org>`, `"K, Anna" <a@example.org>`},
		{"=?utf-8?q?J=C3=B6rg?=\r\n <a@example.org>", "=?utf-8?q?J=C3=B6rg?=\r\n <a@example.org>"},
		{`a@example.org <a@example.org>`, `"a@example.org" <a@example.org>`},
		{`Example, Inc. <a@example.org>`, `"Example, Inc." <a@example.org>`},
		{`[Alert] Disk: full (x) <a@example.org>`, `"[Alert] Disk: full (x)" <a@example.org>`},
		{`"J\"rg" <a@example.org>`, `"J\"rg" <a@example.org>`},
		{`"J\\rg" <a@example.org>`, "=?utf-8?b?SlxyZw==?=\r\n <a@example.org>"},
		{`Board: a@example.org, b@example.org;`, "<a@example.org>,\r\n <b@example.org>"},
		{strings.Repeat("[x] ", 60) + `<a@example.org>`, "=?utf-8?b?W3hdIFt4XSBbeF0gW3hd"}, // and so on
	}
	for i, f := range forms {
		message := fmt.Sprintf("From: %s\r\nTo: b@dest.example\r\nSubject: %d\r\n\r\nbody\r\n", f.sent, i)
		if err := smtp.SendMail(address, nil, "a@example.org", []string{"b@dest.example"}, []byte(message)); err != nil {
			t.Fatalf("%q: %v", f.sent, err)
		}
	}
	for _, m := range upstreamMessages(t, up, len(forms)) {
		_, rest, _ := strings.Cut(string(m.Data), "\r\nFrom: ")
		from, rest, _ := strings.Cut(rest, "\r\nTo: ")
		_, rest, _ = strings.Cut(rest, "\r\nSubject: ")
		number, _, _ := strings.Cut(rest, "\r\n")
		i, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("%q has no number", m.Data)
		}
		if f := forms[i]; from != f.want && !(i == len(forms)-1 && strings.HasPrefix(from, f.want)) {
			t.Errorf("From %q left as %q, want %q", f.sent, from, f.want)
		}
		verifyDKIM(t, m.Data, records)
	}
	p.stop()
}

// TestPostfixKeepsWhatIsDeferred: over its limit, mail waits in Postfix's queue
// and goes out later; nothing is bounced.
func TestPostfixKeepsWhatIsDeferred(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, `
[limit.sender]
per = "sender"
messages = ["3/4s"]
`))
	mta := startPostfix(t, p.address("mta"))
	for i := range 9 {
		if err := mta.send("a@example.org", []string{"b@dest.example"}, testMessage("a@example.org", fmt.Sprintf("q%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	upstreamMessages(t, up, 3)
	p.expect(`code=450 .*rule="limit sender"`)
	eventually(t, "everything has gone out", func() bool {
		mta.flush()
		return up.Taken() == 9
	})
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	for _, m := range up.Messages() {
		if m.From.Address != "a@example.org" {
			t.Errorf("a message from <%s>", m.From.Address)
		}
	}
	p.stop()
}

// TestPostfixRidesOutAKill: the relay is killed in mid-traffic, twice. All that
// Postfix took reaches the upstream.
func TestPostfixRidesOutAKill(t *testing.T) {
	t.Parallel()
	gate := smtptest.NewGate()
	up := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Dot, After: 5, Times: 1, Gate: gate}}})
	address := freeAddress(t)
	text := strings.Replace(basic(up, ""), `"127.0.0.1:0"`, strconv.Quote(address), 1)
	p := startRelay(t, text)
	p.address("mta")
	mta := startPostfix(t, address)
	const n = 60
	for i := range n {
		if err := mta.send("a@example.org", []string{"b@dest.example"}, testMessage("a@example.org", fmt.Sprintf("k%d", i))); err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			<-gate.Reached() // a message is at the upstream, its 250 not yet given
			p.kill()
			gate.Release()
			p = startRelayIn(t, p.dir)
			p.address("mta")
		}
		if i == 40 {
			p.kill()
			p = startRelayIn(t, p.dir)
			p.address("mta")
		}
	}
	eventually(t, "the queue is empty", func() bool {
		mta.flush()
		return mta.queued() == 0
	})
	got := map[string]int{}
	for _, m := range up.Messages() {
		got[markOf(m.Data)]++
	}
	twice := 0
	for i := range n {
		mark := fmt.Sprintf("k%d", i)
		if got[mark] == 0 {
			t.Errorf("message %s is lost", mark)
		}
		if got[mark] > 1 {
			twice++
		}
	}
	// Those whose 250 was cut off come again; Postfix keeps at most its process
	// limit under way at a time.
	if twice > 40 {
		t.Errorf("%d messages came twice", twice)
	}
	t.Logf("%d of %d messages came twice", twice, n)
}
