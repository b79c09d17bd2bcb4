package main

import (
	"crypto/tls"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/redistest"
	"postern/internal/smtptest"
)

// allowed is an ACL user with all that docs/redis.md says a relay needs, but what
// is named.
func allowed(t *testing.T, but ...string) string {
	t.Helper()
	_, section, _ := strings.Cut(string(readFile(t, "../../docs/redis.md")), "## What the relay needs to be allowed")
	section, _, _ = strings.Cut(section, "Commands inside scripts")
	rule := "user relay on >relaypass ~postern:* -@all"
	for _, m := range regexp.MustCompile(`\+([a-z]+(?:\\?\|[a-z]+)?)`).FindAllStringSubmatch(section, -1) {
		if name := strings.ReplaceAll(m[1], `\`, ""); !slices.Contains(but, name) && !strings.HasPrefix(name, "cluster") {
			rule += " +" + name
		}
	}
	return rule
}

func connectConfig(t *testing.T, up *smtptest.Server, authority *smtptest.CA, redis *redistest.Server, password string) (path string) {
	t.Helper()
	dir := t.TempDir()
	ca := authority.WriteFile(t, dir)
	path = filepath.Join(dir, "relay.toml")
	text := strings.Replace(basic(up, fmt.Sprintf(`
[redis]
addresses = [%q]
username = "relay"
password = "relaypass"
[dkim."example.org"]
keys = [{ selector = "s1", file = "s1.pem" }, { selector = "e1", file = "e1.pem" }]
[limit.client]
per = "client"
messages = ["5/1h"]
`, redis.Addr)), `tls = "off"`, fmt.Sprintf("tls = \"verified\"\nca = %q\nusername = \"me\"\npassword = %q", ca, password), 1)
	writeFile(t, path, text)
	for _, k := range []string{"rsa", "ed25519"} {
		runVerb("", "dkim", "keygen", "-type", k, "-domain", "example.org", "-selector", k[:1]+"1", "-out", filepath.Join(dir, map[string]string{"rsa": "s1.pem", "ed25519": "e1.pem"}[k]))
	}
	return path
}

// TestCheckConnectTriesWhatWillBeNeeded: all is well, and then each part is not.
func TestCheckConnectTriesWhatWillBeNeeded(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(smtptest.Cert{Names: []string{"127.0.0.1"}, NotAfter: time.Now().AddDate(0, 3, 0)})
	if err != nil {
		t.Fatal(err)
	}
	up := smtptest.Start(t, smtptest.Options{
		TLS:   &tls.Config{Certificates: []tls.Certificate{pair}},
		Offer: []string{"STARTTLS", "PIPELINING"}, TLSOffer: []string{"PIPELINING", "AUTH PLAIN"}, Users: map[string]string{"me": "secret"}, RequireAuth: true,
	})
	redis := redistest.Start(t, allowed(t))
	path := connectConfig(t, up, ca, redis, "secret")
	status, out, errs := runVerb("", "check", "-connect", path)
	for _, want := range []string{
		`(?s)upstream +up ` + up.Addr() + `.*TLS 1\.3, certificate verified, until .*, login as "me" taken, from 127\.0\.0\.1`,
		`(?s)redis +` + redis.Addr + `.*answers, and takes all \d+ commands`, `(?s)dkim key +example\.org/s1.*verified by go-msgauth`, `(?s)dkim key +example\.org/e1.*verified by go-msgauth`,
	} {
		wantText(t, out, want)
	}
	if status != cli.OK {
		t.Errorf("status %d, %s", status, errs)
	}
	if left := redis.Client().Keys(t.Context(), "*").Val(); len(left) != 0 {
		t.Errorf("leaves %q in Redis", left)
	}
	if len(up.Messages()) != 0 {
		t.Error("sends mail")
	}

	path = connectConfig(t, up, ca, redis, "wrong")
	status, out, _ = runVerb("", "check", "-connect", path)
	wantText(t, out, `(?s)credentials refused.*correct username and password of \[upstream\.up\]`)
	if status != cli.Fault || strings.Contains(out, "wrong") {
		t.Errorf("status %d, %s", status, out)
	}
}

// TestCheckConnectTellsWhatIsWrongWithACertificate of an upstream.
func TestCheckConnectTellsWhatIsWrongWithACertificate(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	other, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	redis := redistest.Start(t)
	for _, c := range []struct {
		name string
		cert smtptest.Cert
		ca   *smtptest.CA
		says string
	}{
		{"over", smtptest.Cert{Names: []string{"127.0.0.1"}, NotAfter: time.Now().Add(-time.Hour)}, ca, "renew its certificate"},
		{"another name", smtptest.Cert{Names: []string{"mx.example.org"}}, ca, "give that name as server_name"},
		{"another authority", smtptest.Cert{Names: []string{"127.0.0.1"}}, other, `as ca in [upstream.up]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair, err := ca.Issue(c.cert)
			if err != nil {
				t.Fatal(err)
			}
			up := smtptest.Start(t, smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Offer: []string{"STARTTLS"}})
			status, out, errs := runVerb("", "check", "-connect", connectConfig(t, up, c.ca, redis, "secret"))
			if status != cli.Fault || !strings.Contains(out, c.says) {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
		})
	}
}

// TestCheckConnectNamesWhatAnACLLacks, and what it prints mends it.
func TestCheckConnectNamesWhatAnACLLacks(t *testing.T) {
	if _, err := exec.LookPath("redis-cli"); err != nil {
		t.Skip("redis-cli is missing; install the Debian package redis-tools")
	}
	up := smtptest.Start(t, smtptest.Options{})
	redis := redistest.Start(t, allowed(t, "getrange", "hsetnx", "xadd"))
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	writeFile(t, path, basic(up, fmt.Sprintf("[redis]\naddresses = [%q]\nusername = \"relay\"\npassword = \"relaypass\"\n", redis.Addr)))
	status, out, _ := runVerb("", "check", "-connect", path)
	wantText(t, out, `NOPERM: getrange, hsetnx, xadd`)
	acl := regexp.MustCompile(`redis-cli [^\n]*`).FindString(out)
	if said, err := exec.Command("sh", "-c", acl).CombinedOutput(); err != nil || status != cli.Fault || !strings.Contains(string(said), "OK") {
		t.Errorf("status %d, %q: %v %s\n%s", status, acl, err, said, out)
	}
	if status, out, errs := runVerb("", "check", "-connect", path); status != cli.OK {
		t.Errorf("after %s: status %d\n%s%s", acl, status, out, errs)
	}
	redis.Kill()
	status, out, _ = runVerb("", "check", "-connect", path)
	wantText(t, out, `connection refused`)
	if status != cli.Fault {
		t.Errorf("status %d with a Redis that is away", status)
	}
}

// TestCheckConnectTellsARedisThatRefusesToWrite: login and rights are in order,
// and no limit can be counted.
func TestCheckConnectTellsARedisThatRefusesToWrite(t *testing.T) {
	up := smtptest.Start(t, smtptest.Options{})
	redis := redistest.Start(t)
	path := filepath.Join(t.TempDir(), "relay.toml")
	writeFile(t, path, basic(up, fmt.Sprintf("[redis]\naddresses = [%q]\n", redis.Addr)))
	for _, c := range []struct {
		name        string
		begin, end  []any
		seen, advis string
	}{
		{"a replica", []any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}, "set: READONLY", "name its master"},
		{"a full server", []any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}, "set: OOM", "more maxmemory"},
		{"a master without replicas", []any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"}, "set: NOREPLICAS", "min-replicas-to-write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := redis.Client().Do(t.Context(), c.begin...).Err(); err != nil {
				t.Fatal(err)
			}
			status, out, _ := runVerb("", "check", "-connect", path)
			if status != cli.Fault || !strings.Contains(out, c.seen) || !strings.Contains(out, c.advis) {
				t.Errorf("status %d\n%s", status, out)
			}
			if err := redis.Client().Do(t.Context(), c.end...).Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if status, out, _ := runVerb("", "check", "-connect", path); status != cli.OK {
		t.Errorf("status %d when all is over\n%s", status, out)
	}
}

// TestCheckConnectRunsTheCommandsOnEachNode of a Cluster.
func TestCheckConnectRunsTheCommandsOnEachNode(t *testing.T) {
	up := smtptest.Start(t, smtptest.Options{})
	cluster := redistest.StartCluster(t)
	path := filepath.Join(t.TempDir(), "relay.toml")
	writeFile(t, path, basic(up, fmt.Sprintf("[redis]\naddresses = [%q]\ncluster = true\n", cluster.Addrs()[0])))
	if status, out, errs := runVerb("", "check", "-connect", path); status != cli.OK || strings.Count(out, "takes all") != 3 {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	full := cluster.Of(t, "x")
	if err := full.Client().Do(t.Context(), "config", "set", "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	status, out, _ := runVerb("", "check", "-connect", path)
	wantText(t, out, `(?s)fail redis `+full.Addr+`.*set: OOM`)
	if status != cli.Fault || strings.Count(out, "takes all") != 2 {
		t.Errorf("status %d\n%s", status, out)
	}
}
