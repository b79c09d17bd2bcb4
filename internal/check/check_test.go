package check

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/smtptest"
)

// trusting is a configuration whose client is a whole network.
const trusting = `
hostname = "mail.example.org"
state_dir = "state"
[listener.mta]
address = "127.0.0.1:2525"
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
`

func TestForgeriesAreThirty(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range forgeries("example.org", "mail.example.org", netip.MustParseAddr("127.0.0.1")) {
		if seen[g.Name] {
			t.Errorf("two forgeries are called %q", g.Name)
		}
		seen[g.Name] = true
		rcpt := false
		for _, l := range g.lines {
			rcpt = rcpt || strings.HasPrefix(l, "RCPT")
			if strings.HasPrefix(l, "DATA") || strings.HasPrefix(l, "BDAT") {
				t.Errorf("%s would send a message", g.Name)
			}
		}
		if !rcpt {
			t.Errorf("%s has no RCPT", g.Name)
		}
	}
	if len(seen) < 30 {
		t.Errorf("%d forgeries", len(seen))
	}
}

func TestGatewaysAreReadFromTheKernel(t *testing.T) {
	if a, ok := ipv4Gateway(strings.Fields("eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0")); !ok || a.String() != "172.17.0.1" {
		t.Errorf("got %v, %v", a, ok) // on a little-endian machine
	}
	if _, ok := ipv4Gateway(strings.Fields("Iface Destination Gateway Flags")); ok {
		t.Error("the head line gave a gateway")
	}
	line := "00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth0"
	if a, ok := ipv6Gateway(strings.Fields(line)); !ok || a.String() != "2001:db8::1" {
		t.Errorf("got %v, %v", a, ok)
	}
}

func TestTrustedGatewayIsToldOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.toml")
	if err := os.WriteFile(file, []byte(trusting), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if w := trustedGateways(f, []netip.Addr{netip.MustParseAddr("10.1.2.1")}); len(w) != 1 || !strings.Contains(w[0], "10.0.0.0/8 contains 10.1.2.1") {
		t.Errorf("warnings %q", w)
	}
	if w := trustedGateways(f, []netip.Addr{netip.MustParseAddr("172.17.0.1")}); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

// TestRedisCommandsAreThoseOfTheDocs: what check -connect tries is what the page
// tells to allow.
func TestRedisCommandsAreThoseOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## What the relay needs to be allowed")
	section, _, _ = strings.Cut(section, "Commands inside scripts")
	var onPage, inCode []string
	for _, m := range regexp.MustCompile(`\+([a-z]+(?:\\?\|[a-z]+)?)`).FindAllStringSubmatch(section, -1) {
		onPage = append(onPage, strings.ReplaceAll(m[1], `\`, ""))
	}
	for _, c := range redisCommands(true, true, true) {
		inCode = append(inCode, c.name)
	}
	slices.Sort(onPage)
	slices.Sort(inCode)
	if !slices.Equal(onPage, inCode) {
		t.Errorf("page %q\ncode %q", onPage, inCode)
	}
}

// TestCertificateFinding: what clients that verify would say tonight.
func TestCertificateFinding(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ca.WritePair(t, t.TempDir(), "relay", smtptest.Cert{Names: []string{"relay.test"}, NotAfter: time.Now().AddDate(0, 3, 0)})
	pair := [2]string{cert, key}
	for _, c := range []struct {
		name, host string
		at         time.Time
		says       string
	}{
		{"a private authority", "relay.test", time.Now(), "warn no authority of this machine vouches for it"},
		{"another name", "mx.example.org", time.Now(), "warn is for relay.test and not for mx.example.org"},
		{"over", "relay.test", time.Now().AddDate(20, 0, 0), "fail ended "},
		{"not begun", "relay.test", time.Now().AddDate(-20, 0, 0), "fail begins "},
	} {
		f := certificateFinding("x", pair[0], pair[1], c.host, c.at)
		if got := string(f.Status) + " " + f.Seen; !strings.HasPrefix(got, c.says) || f.Change == "" {
			t.Errorf("%s: %s; %s", c.name, got, f.Change)
		}
	}
	if err := os.Remove(pair[1]); err != nil {
		t.Fatal(err)
	}
	if f := certificateFinding("x", pair[0], pair[1], "", time.Now()); f.Status != "fail" {
		t.Errorf("without its key: %+v", f)
	}
}
