package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// runAsRelay makes the test binary act as the command itself, so that tests
// run real processes without building anything.
const runAsRelay = "POSTERN_RUN_AS_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(runAsRelay) != "" {
		main()
		return
	}
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/usr/local/sbin:/sbin") // of Postfix and others
	flag.Set("test.parallel", strconv.Itoa(stories))                        // -parallel overrides it
	os.Exit(m.Run())
}

// stories is how many tests run at once that mostly wait for processes of their own. Those
// with Redis run by themselves: a relay that waits for the processor for longer than
// Redis may take calls it away.
const stories = 4

// patience bounds every wait of these tests; what they wait for comes at once
// unless something is broken.
const patience = 90 * time.Second

// process is a running relay.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string // holds relay.toml
	done chan struct{}

	mu     sync.Mutex
	lines  []string // of standard output and error
	more   chan struct{}
	status int
}

// startRelay runs "relay serve" on a configuration text. Its listeners take
// "127.0.0.1:0"; address finds what they got.
func startRelay(t *testing.T, text string) *process {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), text)
	return startRelayIn(t, dir)
}

func startRelayIn(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, done: make(chan struct{}), more: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], "serve", "-config", filepath.Join(dir, "relay.toml"))
	p.cmd.Env = append(os.Environ(), runAsRelay+"=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go p.read(r)
	t.Cleanup(p.kill)
	return p
}

func (p *process) read(r *os.File) {
	defer r.Close()
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, in.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
	p.cmd.Wait()
	p.mu.Lock()
	p.status = p.cmd.ProcessState.ExitCode()
	p.mu.Unlock()
	close(p.done)
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
	if p.t.Failed() {
		p.t.Logf("relay in %s said:\n%s", p.dir, p.output())
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.lines
	if len(lines) > 60 {
		lines = append([]string{"..."}, lines[len(lines)-60:]...)
	}
	return strings.Join(lines, "\n")
}

// expect returns the submatches of the first line that matches, as soon as
// there is one.
func (p *process) expect(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(patience)
	for next := 0; ; {
		p.mu.Lock()
		for ; next < len(p.lines); next++ {
			if m := re.FindStringSubmatch(p.lines[next]); m != nil {
				p.mu.Unlock()
				return m
			}
		}
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-p.done:
			p.t.Fatalf("relay ended with status %d without a line like %q", p.status, pattern)
		case <-limit:
			p.t.Fatalf("relay wrote no line like %q", pattern)
		}
	}
}

// count tells how many lines match.
func (p *process) count(pattern string) (n int) {
	re := regexp.MustCompile(pattern)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if re.MatchString(l) {
			n++
		}
	}
	return n
}

// address is where a listener listens.
func (p *process) address(listener string) string {
	p.t.Helper()
	return p.expect(`msg=listening listener=` + listener + ` address=(\S+)`)[1]
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends the relay as an operator does and checks that it went well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		p.t.Errorf("relay ended with status %d after SIGTERM", status)
	}
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("relay does not end")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// basic is a configuration with one client on loopback and one upstream.
func basic(up *smtptest.Server, more string) string {
	return fmt.Sprintf(`
hostname = "relay.test"
[listener.mta]
address = "127.0.0.1:0"
max_connections_per_ip = 500
[client.corporate]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "up"
[upstream.up]
hosts = [%q]
tls = "off"
[reputation]
resolvers = ["127.0.0.1:9"]
timeout = "100ms"
[journal]
file = "journal.jsonl"
%s
`, up.Addr(), more)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// need finds a program that "make test" installs, with the files that it is of use
// with.
func need(t *testing.T, program, debianPackage string, files ...string) string {
	t.Helper()
	full, err := exec.LookPath(program)
	for _, file := range files {
		_, missing := os.Stat(file)
		err = errors.Join(err, missing)
	}
	if err != nil {
		t.Skipf("%s is not installed; Debian package %s (make test installs it)", program, debianPackage)
	}
	return full
}

// smtpDialog is a plain SMTP client that says exactly what it is told.
type smtpDialog struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialSMTP(t *testing.T, address string) *smtpDialog {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	d := &smtpDialog{t: t, conn: conn, in: bufio.NewReader(conn)}
	if r := d.reply(); !strings.HasPrefix(r, "220 ") {
		t.Fatalf("greeting %q", r)
	}
	d.say("EHLO client.example.org", "250")
	return d
}

// say sends a command and checks how the reply begins; it returns the reply.
func (d *smtpDialog) say(command, want string) string {
	d.t.Helper()
	if _, err := d.conn.Write([]byte(command + "\r\n")); err != nil {
		d.t.Fatalf("send %q: %v", command, err)
	}
	r := d.reply()
	if !strings.HasPrefix(r, want) {
		d.t.Fatalf("%q was answered by %q, want %s", command, r, want)
	}
	return r
}

// reply reads a whole reply.
func (d *smtpDialog) reply() string {
	d.t.Helper()
	r, err := readReply(d.in)
	if err != nil {
		d.t.Fatalf("read reply: %v", err)
	}
	return r
}

func readReply(in *bufio.Reader) (string, error) {
	var b bytes.Buffer
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return b.String(), err
		}
		b.WriteString(line)
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(b.String(), "\r\n"), nil
		}
	}
}

// openSession connects and greets, for tests with many clients at once.
func openSession(address string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	readReply(in)
	fmt.Fprintf(conn, "EHLO x.example.org\r\n")
	if _, err := readReply(in); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, in, nil
}

// testMessage is a small message with a mark to find it by.
func testMessage(from, mark string) string {
	return "From: " + from + "\r\nTo: b@dest.example\r\nSubject: " + mark + "\r\nX-Mark: " + mark + "\r\n\r\nHello.\r\n"
}

// submit sends one message and returns the last reply, or the refusal before it.
func submit(in *bufio.Reader, conn net.Conn, from string, to []string, message string) (string, error) {
	command := func(line string) (string, error) {
		if _, err := conn.Write([]byte(line + "\r\n")); err != nil {
			return "", err
		}
		return readReply(in)
	}
	lines := []string{"MAIL FROM:<" + from + ">"}
	for _, a := range to {
		lines = append(lines, "RCPT TO:<"+a+">")
	}
	for _, line := range append(lines, "DATA") {
		r, err := command(line)
		if err != nil {
			return r, err
		}
		if r[0] > '3' {
			_, err := command("RSET")
			return r, err
		}
	}
	return command(message + ".")
}

func matchLine(out []byte, pattern string) bool {
	return regexp.MustCompile("(?m)" + pattern).Match(out)
}
