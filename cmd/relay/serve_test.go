package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/eventlog"
	"postern/internal/smtptest"
	"postern/mail"
)

func TestServeForwardsAndStops(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, `
[admin]
address = "127.0.0.1:0"
[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem", type = "ed25519" }]
`))
	p.expect(`^s1\._domainkey\.example\.org\. IN TXT .*k=ed25519`)
	d := dialSMTP(t, p.address("mta"))
	d.say("MAIL FROM:<a@example.org>", "250 2.1.0")
	d.say("RCPT TO:<b@dest.example>", "250 2.1.5")
	d.say("DATA", "354")
	d.say(testMessage("a@example.org", "m1")+".", "250 2.0.0")
	idle := dialSMTP(t, p.address("mta"))
	d.say("MAIL FROM:<a@example.org>", "250")
	p.signal(syscall.SIGTERM)
	if r := idle.reply(); !strings.HasPrefix(r, "421 4.3.2") {
		t.Errorf("idle client got %q", r)
	}
	// The transaction that is open may end.
	d.say("RCPT TO:<b@dest.example>", "250")
	d.say("DATA", "354")
	d.say(testMessage("a@example.org", "m2")+".", "250 2.0.0")
	if r := d.reply(); !strings.HasPrefix(r, "421 4.3.2") {
		t.Errorf("after its transaction the client got %q", r)
	}
	if status := p.wait(); status != 0 {
		t.Errorf("status %d", status)
	}
	// The lines of before the end are in the log, the last one too.
	if p.count("msg=transaction .*outcome=relayed") != 2 || p.count("msg=stopped$") != 1 {
		t.Errorf("log:\n%s", p.output())
	}
	all := up.Messages()
	if len(all) != 2 {
		t.Fatalf("upstream has %d messages", len(all))
	}
	for _, m := range all {
		if !bytes.Contains(m.Data, []byte("DKIM-Signature:")) {
			t.Errorf("message left unsigned:\n%s", m.Data)
		}
	}
	var events []mail.Event
	_, err := eventlog.Read([]string{filepath.Join(p.dir, "journal.jsonl")}, nil, func(e *mail.Event) error {
		events = append(events, *e)
		return nil
	})
	if err != nil || len(events) != 2 || events[1].Outcome != mail.Relayed || events[1].Signed[0] != "example.org/s1" {
		t.Errorf("journal: %v %+v", err, events)
	}
}

// TestServeReloadsUnderTraffic: no message is lost or repeated and no client
// sees a fault while the configuration is read again and again.
func TestServeReloadsUnderTraffic(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	text := basic(up, "")
	p := startRelay(t, text)
	address := p.address("mta")
	path := filepath.Join(p.dir, "relay.toml")
	var stop atomic.Bool
	var mu sync.Mutex
	accepted := map[string]bool{}
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			for n := 0; !stop.Load(); n++ {
				mark := fmt.Sprintf("r%d-%d", i, n)
				if err := smtp.SendMail(address, nil, "a@example.org", []string{"b@dest.example"}, []byte(testMessage("a@example.org", mark))); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				mu.Lock()
				accepted[mark] = true
				mu.Unlock()
			}
		})
	}
	for i := range 5 {
		writeFile(t, path, text+fmt.Sprintf("[message]\nmax_recipients = %d\n", 10+i))
		p.signal(syscall.SIGHUP)
		p.waitCount("configuration reloaded", i+1)
	}
	writeFile(t, path, text+"[message]\nmax_sise = 3\n")
	p.signal(syscall.SIGHUP)
	p.expect(`not reloaded.*relay\.toml:\d+:\d+: message\.max_sise`)
	stop.Store(true)
	senders.Wait()
	d := dialSMTP(t, address)
	d.say("MAIL FROM:<a@example.org>", "250")
	for range 14 {
		d.say("RCPT TO:<b@dest.example>", "250")
	}
	d.say("RCPT TO:<b@dest.example>", "452 4.5.3") // the last good file holds
	d.conn.Close()
	p.stop()
	checkOnce(t, up, accepted)
}

// checkOnce holds what the upstream has against what clients were told.
func checkOnce(t *testing.T, up *smtptest.Server, accepted map[string]bool) {
	t.Helper()
	got := map[string]int{}
	for _, m := range up.Messages() {
		got[markOf(m.Data)]++
	}
	for mark := range accepted {
		if got[mark] != 1 {
			t.Errorf("message %s was accepted and is %d times at the upstream", mark, got[mark])
		}
	}
	for mark, n := range got {
		if !accepted[mark] {
			t.Errorf("message %s is %d times at the upstream, though no client heard 250", mark, n)
		}
	}
}

func markOf(message []byte) string {
	_, rest, _ := bytes.Cut(message, []byte("X-Mark: "))
	mark, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(mark)
}

func (p *process) waitCount(pattern string, n int) {
	p.t.Helper()
	for p.count(pattern) < n {
		p.mu.Lock()
		more := p.more
		p.mu.Unlock()
		if p.count(pattern) >= n {
			return
		}
		select {
		case <-more:
		case <-p.done:
			p.t.Fatalf("relay ended")
		}
	}
}

// TestServeStopsUnderTraffic: whatever clients heard 250 for is at the
// upstream once, and nothing else is.
func TestServeStopsUnderTraffic(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, ""))
	address := p.address("mta")
	var mu sync.Mutex
	accepted := map[string]bool{}
	enough := make(chan struct{})
	var once sync.Once
	var senders sync.WaitGroup
	for i := range 10 {
		senders.Go(func() {
			conn, in, err := openSession(address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for n := 0; ; n++ {
				mark := fmt.Sprintf("s%d-%d", i, n)
				r, err := submit(in, conn, "a@example.org", []string{"b@dest.example"}, testMessage("a@example.org", mark))
				if err != nil || strings.HasPrefix(r, "421") {
					return
				}
				if !strings.HasPrefix(r, "250") {
					t.Errorf("reply %q", r)
					return
				}
				mu.Lock()
				accepted[mark] = true
				if len(accepted) > 100 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	p.stop()
	senders.Wait()
	checkOnce(t, up, accepted)
}

// errorLines counts the lines that say what is wrong: not warnings, and not
// what was logged before.
func errorLines(out []byte) (n int) {
	for line := range bytes.Lines(out) {
		if !bytes.HasPrefix(line, []byte("time=")) && !bytes.Contains(line, []byte(": warning: ")) {
			n++
		}
	}
	return n
}

func TestServeRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	up := smtptest.Start(t, smtptest.Options{})
	good := basic(up, "")
	for _, c := range []struct {
		name, text string
		args       []string
		status     int
		says       string
	}{
		{"a port in use", strings.Replace(good, "127.0.0.1:0", taken.Addr().String(), 1), nil, 1, "listener.mta: .*address already in use; stop the process"},
		{"an unknown key", good + "colour = 3\n", nil, 2, `relay.toml:\d+:\d+: journal.colour`},
		{"an open relay", strings.Replace(good, "127.0.0.1/32", "0.0.0.0/0", 1), nil, 2, "networks.*open relay"},
		{"a missing certificate", strings.Replace(good, "[client", "tls = \"optional\"\ncertificate = \"no.crt\"\nkey = \"no.key\"\n[client", 1), nil, 2, "no.crt"},
		{"a missing DKIM key", good + "[dkim.\"example.org\"]\nkeys = [{ selector = \"s\", file = \"no.pem\" }]\n", nil, 2, "no.pem"},
		{"a missing file", "", []string{"serve", "-config", "nowhere.toml"}, 2, "nowhere.toml"},
		{"no file", "", []string{"serve"}, 2, "none.toml: no such file"},
		{"an unknown flag", "", []string{"serve", "-colour"}, 2, "flag provided but not defined: -colour"},
		{"an unknown verb", "", []string{"server"}, 2, `unknown command "server"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if args == nil {
				path := filepath.Join(t.TempDir(), "relay.toml")
				writeFile(t, path, c.text)
				args = []string{"serve", "-config", path}
			}
			cmd := exec.Command(os.Args[0], args...)
			cmd.Env = append(os.Environ(), runAsRelay+"=1", cli.ConfigEnv+"=none.toml")
			out, _ := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if !matchLine(out, c.says) {
				t.Errorf("said:\n%swant a line like %q", out, c.says)
			}
			if n := errorLines(out); n > 2 {
				t.Errorf("said %d lines:\n%s", n, out)
			}
		})
	}
}

func TestServeLocksItsState(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, ""))
	p.address("mta")
	second := startRelayIn(t, p.dir)
	second.expect("state_dir: .* is in use by another relay")
	if status := second.wait(); status != 1 {
		t.Errorf("status %d", status)
	}
	p.stop()
}

// TestServeReloadsListeners: a listener comes, changes and goes with the file,
// and what is open goes on.
func TestServeReloadsListeners(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	text := basic(up, "")
	p := startRelay(t, text)
	first := p.address("mta")
	path := filepath.Join(p.dir, "relay.toml")
	old := dialSMTP(t, first)

	second := freeAddress(t)
	more := text + fmt.Sprintf("[listener.second]\naddress = %q\nmax_connections = 1\n", second)
	reload := func(text string) {
		t.Helper()
		n := p.count("configuration reloaded")
		writeFile(t, path, text)
		p.signal(syscall.SIGHUP)
		p.waitCount("configuration reloaded", n+1)
	}
	reload(more)
	one := dialSMTP(t, second)
	conn, err := net.Dial("tcp", second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r, _ := readReply(bufio.NewReader(conn)); !strings.HasPrefix(r, "421 4.7.0") {
		t.Errorf("one connection too many got %q", r)
	}
	reload(strings.Replace(more, "max_connections = 1\n", "max_connections = 5\n", 1))
	two := dialSMTP(t, second)

	// A port that is in use: nothing changes.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	writeFile(t, path, text+fmt.Sprintf("[listener.third]\naddress = %q\n", taken.Addr()))
	p.signal(syscall.SIGHUP)
	p.expect("not reloaded.*listener.third: .*address already in use")
	dialSMTP(t, second).conn.Close()

	// A part that refuses its settings keeps all others as they were.
	third := freeAddress(t)
	writeFile(t, filepath.Join(p.dir, "rules.txt"), "this is no rule\n")
	bad := strings.Replace(more, "[reputation]\n", "[reputation]\nreply_rules = \"rules.txt\"\n", 1)
	writeFile(t, path, bad+fmt.Sprintf("[listener.third]\naddress = %q\n", third))
	n := p.count("not reloaded")
	p.signal(syscall.SIGHUP)
	p.waitCount("not reloaded", n+1)
	if conn, err := net.Dial("tcp", third); err == nil {
		conn.Close()
		t.Error("a listener of a refused configuration takes connections")
	}
	dialSMTP(t, second).conn.Close()

	reload(text)
	p.expect("no longer listening.* listener=second")
	if conn, err := net.Dial("tcp", second); err == nil {
		conn.Close()
		t.Error("the second listener still takes connections")
	}
	for _, d := range []*smtpDialog{old, one, two} {
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<b@dest.example>", "250")
		d.say("RSET", "250")
		d.conn.Close()
	}
	p.stop()
}

// TestDamagedFileOfTheWatchChangesNothing: a reload that finds one is refused, and nobody
// is told that the old configuration does not hold either.
func TestDamagedFileOfTheWatchChangesNothing(t *testing.T) {
	decoys := filepath.Join(t.TempDir(), "decoys")
	writeFile(t, decoys, "zz@example.org\n")
	text := basic(smtptest.Start(t, smtptest.Options{}), fmt.Sprintf("[outlier]\ndecoys = [%q]\n", decoys))
	p := startRelay(t, text)
	p.address("mta")
	writeFile(t, decoys, "zz@example.org\nno address\n")
	writeFile(t, filepath.Join(p.dir, "relay.toml"), text+"[message]\nmax_recipients = 7\n")
	p.signal(syscall.SIGHUP)
	p.expect("not reloaded.*:2: .*no address.* is not an address")
	if n := p.count("in part only"); n > 0 {
		t.Error("the old configuration is said to hold in part only")
	}
	writeFile(t, decoys, "zz@example.org\n")
	p.signal(syscall.SIGHUP)
	p.expect("configuration reloaded")
}
