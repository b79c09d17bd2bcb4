package upstream

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/mail"
)

// startPostfix runs a real Postfix that takes mail and hands it on to next. It
// returns its address and the file of the authority that its certificate is of.
func startPostfix(t *testing.T, next string) (address, ca string) {
	t.Helper()
	if _, err := exec.LookPath("postfix"); err != nil {
		t.Skip("Debian package postfix is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("Postfix starts as root only; run the tests as root (CI does)")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	for _, d := range []string{"etc", "queue", "data"} {
		os.Mkdir(filepath.Join(dir, d), 0o755)
	}
	if u, err := user.Lookup("postfix"); err == nil {
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		os.Chown(filepath.Join(dir, "data"), uid, gid)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	ln.Close()
	authority, pair := writePair(t, dir)
	_, port, _ := strings.Cut(next, ":")
	etc := filepath.Join(dir, "etc")
	for name, text := range map[string]string{"main.cf": postfixMain(dir, port, pair), "master.cf": postfixMaster(address)} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("postfix", "-c", etc, "start").CombinedOutput(); err != nil {
		t.Fatalf("start Postfix: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		exec.Command("postfix", "-c", etc, "abort").Run()
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "maillog"))
			t.Logf("Postfix logged:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return address, authority
}

func postfixMain(dir, port, pair string) string {
	return strings.Join([]string{
		"compatibility_level = 3.6", "queue_directory = " + dir + "/queue", "data_directory = " + dir + "/data",
		"maillog_file = " + dir + "/maillog", "maillog_file_prefixes = " + dir, "myhostname = upstream.example",
		"mydestination =", "alias_maps =", "alias_database =", "biff = no", "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4",
		"mynetworks = 127.0.0.0/8", "relayhost = [127.0.0.1]:" + port, "smtp_tls_security_level = none", "smtputf8_enable = yes",
		"smtpd_tls_security_level = may", "smtpd_tls_chain_files = " + pair,
		"smtpd_sender_restrictions = inline:{{refused@a.example = 550 5.7.1 sender refused}}",
		"smtpd_recipient_restrictions = inline:{{nobody@b.example = 550 5.1.1 nobody here},{later@b.example = 450 4.2.0 later}}",
		"header_checks = regexp:{{/^Subject: spam/ REJECT 5.7.1 no spam}}", "message_size_limit = 5000000",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "",
	}, "\n")
}

func postfixMaster(address string) string {
	lines := []string{
		address + " inet n - n - - smtpd", "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
		"tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp",
		"relay unix - - n - - smtp", "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
		"anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd", "",
	}
	return strings.Join(lines, "\n")
}

// writePair issues a certificate for localhost; pair holds the key, too.
func writePair(t *testing.T, dir string) (authority, pair string) {
	t.Helper()
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(smtptest.Cert{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	pair = filepath.Join(dir, "pair.pem")
	if err := os.WriteFile(pair, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return ca.WriteFile(t, dir), pair
}

// TestAgainstPostfix hands mail to a Postfix as it comes with Debian and looks
// at what it hands on.
func TestAgainstPostfix(t *testing.T) {
	end := smtptest.Start(t, smtptest.Options{})
	address, ca := startPostfix(t, end.Addr())
	r := rand.New(rand.NewPCG(7, 8))
	var want [][]byte
	for name, set := range map[string]func(*Config){
		"BDAT":      func(*Config) {},
		"DATA":      func(c *Config) { c.Chunking = false },
		"lock-step": func(c *Config) { c.Chunking, c.Pipelining = false, false },
		"TLS":       func(c *Config) { c.TLS, c.CA = EncryptVerified, ca },
	} {
		cfg := testConfig(address)
		set(&cfg)
		u := newUpstream(t, cfg)
		for i, size := range []int{1, 3000, 100_000, 2_000_000} {
			text := []byte(fmt.Sprintf("From: <a@a.example>\r\nSubject: %s %d\r\n\r\n", name, i))
			for n := len(text) + size; len(text) < n; {
				// Postfix itself cuts lines over 998 octets.
				text = append(append(text, dotty(r, 1+r.IntN(400))...), "\r\n"...)
			}
			env := mail.Envelope{From: addr("a@a.example"), Body: mail.Body8Bit, Ret: "HDRS"}
			got := send(t.Context(), u, Route{}, env, cut(t, r, text, ""), recipients("b@b.example", "nobody@b.example", "later@b.example", "c@b.example")...)
			if got.codes() != "250 550 450 250 final 250" {
				t.Fatalf("%s: %v", name, got)
			}
			want = append(want, text)
		}
		if got := send(t.Context(), u, Route{}, mail.Envelope{From: addr("a@a.example")}, Content{Prefix: []byte("Subject: spam\r\n\r\nx\r\n")}, recipients("b@b.example")...); got.codes() != "250 final 550" || got.final.Status != "5.7.1" {
			t.Errorf("%s: spam: %v", name, got)
		}
		if got := send(t.Context(), u, Route{}, mail.Envelope{From: addr("refused@a.example")}, Content{}, recipients("b@b.example")...); got.codes() != "550" {
			t.Errorf("%s: refused sender: %v", name, got)
		}
		big := Content{Prefix: bytes.Repeat([]byte("0123456789abcde\r\n"), 300_000)}
		if got := send(t.Context(), u, Route{}, mail.Envelope{From: addr("a@a.example")}, big, recipients("b@b.example")...); got.codes() != "250 final 552" {
			t.Errorf("%s: too large: %v", name, got)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	ms, err := end.Wait(ctx, len(want))
	if err != nil {
		t.Fatalf("%d of %d came through: %v", len(ms), len(want), err)
	}
	for _, text := range want {
		if n := arrivals(ms, text); n != 1 {
			t.Errorf("mail of %d octets came %d times as it was sent", len(text), n)
		}
	}
}

// arrivals counts the messages that hold the fields and the body of text.
func arrivals(ms []*smtptest.Message, text []byte) (n int) {
	header, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	subject := header[bytes.Index(header, []byte("Subject")):]
	for _, m := range ms {
		if bytes.HasSuffix(m.Data, body) && bytes.Contains(m.Data, subject) && len(m.To) == 2 {
			n++
		}
	}
	return n
}
