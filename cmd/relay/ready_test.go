package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/internal/admin"
	"postern/internal/redistest"
	"postern/internal/smtptest"
)

// readyz asks a relay at an address.
func readyz(t *testing.T, address string) (status int, r admin.Readiness) {
	t.Helper()
	res, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(b, &r) != nil || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, %s", err, b)
	}
	if r.Reasons == nil || r.Degraded == nil {
		t.Fatalf("a list is missing: %s", b)
	}
	return res.StatusCode, r
}

// wantReady waits until readyz says so, for one reason of a kind or for none.
func wantReady(t *testing.T, address string, status int, what string) (r admin.Readiness) {
	t.Helper()
	eventually(t, fmt.Sprintf("readyz says %d %s", status, what), func() bool {
		var got int
		got, r = readyz(t, address)
		list := append(r.Reasons, r.Degraded...)
		return got == status && (what == "" && len(list) == 0 || len(list) == 1 && list[0].What == what)
	})
	return r
}

func withAdmin(t *testing.T, text string) (string, string) {
	address := freeAddress(t)
	return text + fmt.Sprintf("[admin]\naddress = %q\nready_after = \"0s\"\n", address), address
}

// TestReadyWhileTheStoreIsAway: with defer a relay without Redis takes no mail,
// with local it does.
func TestReadyWhileTheStoreIsAway(t *testing.T) {
	for _, c := range []struct {
		mode   string
		status int
	}{{"defer", 503}, {"local", 200}, {"admit", 200}} {
		t.Run(c.mode, func(t *testing.T) {
			redis := redistest.Start(t, "appendonly yes")
			text, address := withAdmin(t, redisConfig(smtptest.Start(t, smtptest.Options{}), redis.Addr,
				"messages = [\"5/1h\"]\non_store_failure = \""+c.mode+"\""))
			p := startRelay(t, text)
			p.address("mta")
			wantReady(t, address, 200, "")
			wantText(t, p.verb(0, "status"), `(?m)^store +Redis is up since`)
			redis.Kill()
			r := wantReady(t, address, c.status, admin.Store)
			for _, reason := range append(r.Reasons, r.Degraded...) {
				if reason.Since.IsZero() || strings.Contains(reason.Text, "client") != (c.mode == "defer") {
					t.Errorf("%+v", reason)
				}
			}
			exit := 0
			if c.status != 200 {
				exit = 1
			}
			wantText(t, p.verb(exit, "status"), `(?m)^store +Redis is AWAY since .*: `)
			redis.Restart()
			wantReady(t, address, 200, "")
			p.stop()
			if p.count("Redis is away") != 1 || p.count("Redis is back") != 1 {
				t.Errorf("more or less than a line for each change:\n%s", p.output())
			}
		})
	}
}

// TestReadyWhileUpstreamsAreDown: hosts that are down are known from the start,
// without mail; one of two is said and no reason, both are one, and so is that
// they come back.
func TestReadyWhileUpstreamsAreDown(t *testing.T) {
	t.Parallel()
	one, two, idle := freeAddress(t), freeAddress(t), freeAddress(t)
	text, address := withAdmin(t, strings.Replace(basic(smtptest.Start(t, smtptest.Options{}), ""), "[upstream.up]\n",
		fmt.Sprintf("[stream.other]\nupstream = \"down\"\n[upstream.down]\nhosts = [%q, %q]\ntls = \"off\"\n[upstream.idle]\nhosts = [%q]\ntls = \"off\"\n"+
			"[upstream.kept]\ncapture = \"kept\"\n[stream.kept]\nupstream = \"kept\"\n[upstream.up]\n", one, two, idle), 1))
	text = strings.Replace(text, `stream = "main"`, `stream = "other"`, 1)
	p := startRelay(t, text)
	d := dialSMTP(t, p.address("mta"))
	r := wantReady(t, address, 503, admin.Upstream)
	wantText(t, p.verb(1, "status"), `(?m)idle `+idle+` is up, as far as is known: nobody has used it yet`)
	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "451 4.4.1")
	d.say("RSET", "250")
	if reason := r.Reasons[0]; reason.Name != "down" || !strings.Contains(reason.Text, one) || !strings.Contains(reason.Text, two) {
		t.Errorf("%+v", r)
	}
	wantText(t, p.verb(1, "status"), `(?s)ready +NO.*no host of upstream down can be used.*down `+one+` is DOWN since .*last success never: .*connection refused`)

	back := smtptest.Start(t, smtptest.Options{Addr: two})
	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "250")
	d.say("RSET", "250")
	r = wantReady(t, address, 200, admin.Upstream)
	if !strings.Contains(r.Degraded[0].Text, one+" of upstream down is down; mail goes by its other hosts") {
		t.Errorf("%+v", r)
	}
	wantText(t, p.verb(0, "status"), `down `+back.Addr()+` is up since .*, last success `)
	d.conn.Close()
	wantText(t, p.verb(0, "health", "-ready"), `^the relay answers and takes mail\n$`)
	p.stop()
	p.verb(1, "health")
}

// TestReadyWhileDraining: what a load balancer hears while transactions end.
func TestReadyWhileDraining(t *testing.T) {
	t.Parallel()
	text, address := withAdmin(t, basic(smtptest.Start(t, smtptest.Options{}), ""))
	p := startRelay(t, text)
	d := dialSMTP(t, p.address("mta"))
	wantReady(t, address, 200, "")
	d.say("MAIL FROM:<a@example.org>", "250")
	p.signal(syscall.SIGTERM)
	wantReady(t, address, 503, admin.Draining)
	if res, err := http.Get("http://" + address + "/livez"); err != nil || res.StatusCode != 200 {
		t.Errorf("livez: %v, %v", res, err)
	}
	wantText(t, p.verb(1, "status"), `ready +NO\n +the relay is stopping, since `)
	wantText(t, p.verb(0, "health"), `^the relay answers and takes no mail: the relay is stopping\n$`)
	wantText(t, p.verb(1, "health", "-ready"), `takes no mail`)
	d.conn.Close()
	if status := p.wait(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// TestStatusTellsOfAFailedReload: the command works while the file cannot be
// read, which is when it is asked.
func TestStatusTellsOfAFailedReload(t *testing.T) {
	t.Parallel()
	text := basic(smtptest.Start(t, smtptest.Options{}), "")
	p := startRelay(t, text)
	p.address("mta")
	p.tells(`(?s)relay +relay\.test, version \S+, process \d+, up \d+s\n.*ready +yes.*listeners +mta on 127\.0\.0\.1:[1-9].*not reloaded since the start`, "status")
	writeFile(t, filepath.Join(p.dir, "relay.toml"), text+"[message\nmax_sise = 3\n")
	p.signal(syscall.SIGHUP)
	p.expect("not reloaded")
	eventually(t, "status knows", func() bool { return strings.Contains(p.verb(0, "status"), "FAILED") })
	wantText(t, p.verb(0, "status"), `(?s)degraded +the last reload failed.*the reload of .* FAILED, what was before is in force:\n +.*relay\.toml:\d+:`)
	writeFile(t, filepath.Join(p.dir, "relay.toml"), text)
	p.signal(syscall.SIGHUP)
	p.expect("configuration reloaded")
	eventually(t, "status knows", func() bool { return strings.Contains(p.verb(0, "status"), ", reloaded 2") })
	var s admin.Status
	if err := json.Unmarshal([]byte(p.verb(0, "status", "-json")), &s); err != nil || !s.Ready || s.LastReload == nil || !s.LastReload.OK || len(s.Upstreams) != 1 {
		t.Errorf("%v %+v", err, s)
	}
	p.stop()
}
