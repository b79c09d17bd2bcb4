package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// matrix is what one client has to do with: a relay that delivers to exchangers, and the
// exchangers of four domains. One takes mail, one greylists, one refuses at RCPT and one
// at the dot.
type matrix struct {
	t          *testing.T
	world      *receivers
	dir        string
	smtp, lmtp string
}

// matrixTo are the recipients of the one message.
var matrixTo = []string{"a@good.example", "c@grey.example", "d@unknown.example", "e@spam.example"}

func newMatrix(t *testing.T) *matrix {
	w := newReceivers(t)
	w.add("good.example", "127.0.0.2")
	w.add("grey.example", "127.0.0.3", smtptest.Fault{Stage: smtptest.Rcpt, Times: 1, Reply: "450 4.2.0 greylisted, come back"})
	w.add("unknown.example", "127.0.0.4", smtptest.Fault{Stage: smtptest.Rcpt, Reply: "550 5.1.1 no such user"})
	w.add("spam.example", "127.0.0.5", smtptest.Fault{Stage: smtptest.Dot, Reply: "554 5.7.1 looks like spam"})
	p := startRelay(t, w.config("[listener.lmtp]\naddress = \"127.0.0.1:0\"\nprotocol = \"lmtp\"\n"))
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	return &matrix{t: t, world: w, dir: dir, smtp: p.address("mta"), lmtp: p.address("lmtp")}
}

// taken is how many messages each domain has, such as "1 1 0 0".
func (m *matrix) taken() string {
	var all []string
	for _, d := range []string{"good", "grey", "unknown", "spam"} {
		all = append(all, fmt.Sprint(m.world.at[d+".example"].Taken()))
	}
	return strings.Join(all, " ")
}

// run runs a program and returns what it says, and whether it says that all is well.
func (m *matrix) run(stdin, name string, args ...string) (said string, ok bool) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), name, args...)
	cmd.Stdin, cmd.Dir = strings.NewReader(stdin), m.dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func (m *matrix) message() string { return testMessage("a@example.org", "m1") }

// TestPostfixAndSeveralDomains, in the three ways that docs/delivery.md names: who takes
// the message has it once, and each refusal is told.
func TestPostfixAndSeveralDomains(t *testing.T) {
	for _, row := range []struct {
		name     string
		settings func(m *matrix) []string
	}{
		{"by SMTP", func(*matrix) []string { return nil }},
		{"by SMTP, each recipient by itself", func(*matrix) []string { return []string{"smtp_destination_recipient_limit = 1"} }},
		{"by LMTP", func(m *matrix) []string { return []string{"relayhost =", "default_transport = lmtp:inet:" + m.lmtp} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMatrix(t)
			mta := startPostfix(t, m.smtp, append([]string{"bounce_queue_lifetime = 0"}, row.settings(m)...)...)
			began := time.Now()
			if err := mta.send("a@example.org", matrixTo, m.message()); err != nil {
				t.Fatal(err)
			}
			upstreamMessages(t, m.world.at["good.example"], 1)
			if row.name == "by LMTP" {
				mta.logs(`to=<a@good\.example>.*status=sent`, `to=<c@grey\.example>.*status=deferred`, `to=<d@unknown\.example>.*status=bounced`, `to=<e@spam\.example>.*status=bounced`)
				t.Logf("all but what is greylisted took %s", time.Since(began))
			}
			mta.logs(`to=<a@good\.example>.*status=sent`, `to=<c@grey\.example>.*status=sent`, `to=<d@unknown\.example>.*status=bounced .*no such user`, `to=<e@spam\.example>.*status=bounced .*looks like spam`)
			if m.taken() != "1 1 0 0" {
				t.Errorf("taken: %s", m.taken())
			}
		})
	}
}

// expectLines waits until a log has a line for each pattern.
func expectLines(t *testing.T, file string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		re := regexp.MustCompile(p)
		eventually(t, "the log has "+p, func() bool {
			b, _ := os.ReadFile(file)
			return re.Match(b)
		})
	}
}

// unpacked is a program of a package that make test unpacks beside the MTA that is
// installed.
func unpacked(t *testing.T, debianPackage, program string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("../../.unpacked", debianPackage, program))
	if err != nil {
		t.Fatal(err)
	}
	return need(t, file, debianPackage)
}

// patched copies a program in which texts of its build are others, so that it runs without
// the user or the folders of its package.
func (m *matrix) patched(program string, texts ...string) string {
	m.t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		m.t.Fatal(err)
	}
	for i := 0; i < len(texts); i += 2 {
		old, text := texts[i]+"\x00", texts[i+1]+strings.Repeat("\x00", len(texts[i])-len(texts[i+1])+1)
		if bytes.Count(b, []byte(old)) != 1 {
			m.t.Fatalf("%s does not hold %q once", program, texts[i])
		}
		b = bytes.Replace(b, []byte(old), []byte(text), 1)
	}
	to := filepath.Join(m.dir, filepath.Base(program))
	if err := os.WriteFile(to, b, 0o755); err != nil {
		m.t.Fatal(err)
	}
	return to
}

// TestEximAndSeveralDomains: likewise, with nothing set.
func TestEximAndSeveralDomains(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	exim := m.patched(unpacked(t, "exim4-daemon-light", "usr/sbin/exim4"), "Debian-exim", "mail")
	for _, d := range []string{"spool", "log"} {
		if err := os.Mkdir(filepath.Join(m.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		chown(t, filepath.Join(m.dir, d), "mail")
	}
	_, port, _ := strings.Cut(m.smtp, ":")
	config := filepath.Join(m.dir, "exim.conf")
	writeFile(t, config, fmt.Sprintf(`exim_path = %s
keep_environment =
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%slog
primary_hostname = mta.example.org
local_interfaces = 127.0.0.1
begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  port = %[3]s
begin retry
* * F,1h,1s
`, exim, m.dir, port))
	os.Chmod(config, 0o644)
	if said, ok := m.run(strings.ReplaceAll(m.message(), "\r\n", "\n"), exim, append([]string{"-C", config, "-odi", "-f", "a@example.org"}, matrixTo...)...); !ok {
		t.Fatal(said)
	}
	t.Cleanup(func() {
		if b, _ := os.ReadFile(filepath.Join(m.dir, "log", "mainlog")); t.Failed() {
			t.Logf("Exim logged:\n%s", b)
		}
	})
	for _, want := range []string{`=> a@good\.example`, `[-=]> c@grey\.example`, `\*\* d@unknown\.example .*no such user`, `\*\* e@spam\.example .*looks like spam`} {
		re := regexp.MustCompile(want)
		eventually(t, "the log has "+want, func() bool {
			b, _ := os.ReadFile(filepath.Join(m.dir, "log", "mainlog"))
			if re.Match(b) {
				return true
			}
			time.Sleep(time.Second)
			m.run("", exim, "-C", config, "-q")
			return false
		})
	}
	if m.taken() != "1 1 0 0" {
		t.Errorf("taken: %s", m.taken())
	}
}

// TestProgramsAndSeveralDomains: what docs/delivery.md says of those that send once. None
// makes a second copy, however often it is started with the same octets.
func TestProgramsAndSeveralDomains(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		send func(m *matrix) (said string, ok bool)
		// first and second are what domains have after the first and the second start.
		first, second string
	}{
		{"msmtp", func(m *matrix) (string, bool) {
			host, port, _ := strings.Cut(m.smtp, ":")
			return m.run(m.message(), need(m.t, "msmtp", "msmtp"), append([]string{"--host=" + host, "--port=" + port, "--from=a@example.org", "--read-envelope-from=off", "--"}, matrixTo...)...)
		}, "0 0 0 0", "0 0 0 0"},
		{"curl", func(m *matrix) (string, bool) {
			args := []string{"-sS", "smtp://" + m.smtp, "--mail-from", "a@example.org", "-T", "-"}
			for _, to := range matrixTo {
				args = append(args, "--mail-rcpt", to)
			}
			return m.run(m.message(), need(m.t, "curl", "curl"), args...)
		}, "0 0 0 0", "0 0 0 0"},
		{"curl that goes on", func(m *matrix) (string, bool) {
			args := []string{"-sS", "smtp://" + m.smtp, "--mail-rcpt-allowfails", "--mail-from", "a@example.org", "-T", "-"}
			for _, to := range matrixTo {
				args = append(args, "--mail-rcpt", to)
			}
			return m.run(m.message(), need(m.t, "curl", "curl"), args...)
		}, "1 0 0 0", "1 1 0 0"},
		{"Python", func(m *matrix) (string, bool) {
			host, port, _ := strings.Cut(m.smtp, ":")
			return m.run(m.message(), need(m.t, "python3", "python3"), append([]string{"-c", `import smtplib, sys
s = smtplib.SMTP(sys.argv[1], int(sys.argv[2]))
print(s.sendmail("a@example.org", sys.argv[3:], sys.stdin.read()))`, host, port}, matrixTo...)...)
		}, "1 0 0 0", "1 1 0 0"},
		{"swaks", func(m *matrix) (string, bool) {
			return m.run(m.message(), need(m.t, "swaks", "swaks"), "--server", m.smtp, "--from", "a@example.org", "--to", strings.Join(matrixTo, ","), "--data", "-")
		}, "1 0 0 0", "1 1 0 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMatrix(t)
			said, ok := row.send(m)
			if m.taken() != row.first {
				t.Errorf("taken at the first start: %s, want %s; it said (%v):\n%s", m.taken(), row.first, ok, said)
			}
			if ok {
				t.Errorf("it says that all is well:\n%s", said)
			}
			for i := 0; i < 3 && !ok; i++ { // what is sent again after it was all taken is new
				said, ok = row.send(m)
			}
			if m.taken() != row.second {
				t.Errorf("taken in the end: %s, want %s; it said (%v):\n%s", m.taken(), row.second, ok, said)
			}
		})
	}
}

// TestNullmailerAndSeveralDomains: it takes a message for one thing that all must take.
// Who has it gets no second copy.
func TestNullmailerAndSeveralDomains(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	short := fmt.Sprintf("/tmp/n%04x", os.Getpid()%0x10000) // its texts have no room for more
	if err := os.Symlink(m.dir, short); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(short) })
	send := m.patched(unpacked(t, "nullmailer", "usr/sbin/nullmailer-send"),
		"/etc/nullmailer", short+"/etc", "/var/spool/nullmailer", short+"/spool", "/usr/lib/nullmailer", short+"/lib")
	if err := os.Symlink(filepath.Dir(unpacked(t, "nullmailer", "usr/lib/nullmailer/smtp")), filepath.Join(m.dir, "lib")); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"etc", "spool", "spool/queue", "spool/failed", "spool/tmp"} {
		if err := os.Mkdir(filepath.Join(m.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(m.smtp, ":")
	writeFile(t, filepath.Join(m.dir, "etc/remotes"), host+" smtp --port="+port+"\n")
	writeFile(t, filepath.Join(m.dir, "etc/me"), "mta.example.org\n")
	writeFile(t, filepath.Join(m.dir, "etc/pausetime"), "1\n")
	writeFile(t, filepath.Join(m.dir, "etc/maxpause"), "1\n")
	writeFile(t, filepath.Join(m.dir, "spool/queue/1.1"), "a@example.org\n"+strings.Join([]string{"a@good.example", "c@grey.example"}, "\n")+"\n\n"+strings.ReplaceAll(m.message(), "\r\n", "\n"))
	if err := exec.Command("mkfifo", filepath.Join(m.dir, "spool/trigger")).Run(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(send)
	cmd.Dir = m.dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the queue is empty", func() bool {
		left, _ := filepath.Glob(filepath.Join(m.dir, "spool/queue/*"))
		return len(left) == 0
	})
	cmd.Process.Kill()
	cmd.Wait()
	if m.taken() != "1 1 0 0" {
		t.Errorf("taken: %s; it said\n%s", m.taken(), said.String())
	}
}
