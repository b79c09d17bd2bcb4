package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/alert"
	"postern/internal/smtptest"
)

// receiver is a webhook that keeps what it is told; while down it answers 503.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	told []alert.Alert
	down bool
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		var a alert.Alert
		if err := json.NewDecoder(req.Body).Decode(&a); err != nil || a.ID != req.Header.Get("X-Postern-Id") {
			t.Errorf("%v, %+v", err, a)
		}
		if r.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.told = append(r.told, a)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) setDown(down bool) { r.mu.Lock(); defer r.mu.Unlock(); r.down = down }

// wait waits for a notice of a condition.
func (r *receiver) wait(t *testing.T, status, condition string) (found alert.Alert) {
	t.Helper()
	eventually(t, status+" "+condition, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, a := range r.told {
			if a.Status == status && a.Condition == condition {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// TestAlertsOfASuspension: told within the second with all that a script needs, by
// webhook and by mail of a sender who is suspended himself; released by the link, once;
// told as over; nothing of it twice, over a restart in the middle.
func TestAlertsOfASuspension(t *testing.T) {
	t.Parallel()
	hook, up := startReceiver(t), smtptest.Start(t, smtptest.Options{})
	text, address := withAdmin(t, basic(up, "[limit.sender]\nper = \"sender\"\nmessages = [\"2/1h\"]\n"))
	text = "postmaster = \"ops@example.org\"\n" + text + fmt.Sprintf("[alert.ops]\nwebhook = %q\nrules = [\"suspended\", \"reload\"]\nrelease_link = \"http://%s\"\n"+
		"[alert.post]\nmail = \"night@example.net\"\nrules = [\"suspended\"]\n", hook.URL+"/T0KEN", address)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), text)
	p := startRelayIn(t, dir)
	d := dialSMTP(t, p.address("mta"))
	send := func(from, end string) {
		d.say("MAIL FROM:<"+from+">", "250")
		d.say("RCPT TO:<b@dest.example>", "250")
		d.say("DATA", "354")
		d.say(testMessage(from, "m1")+".", end)
	}
	send("a@example.org", "250")
	wantText(t, p.verb(0, "alert", "test", "ops"), "has taken a test notice")
	hook.wait(t, alert.Tried, "test of ops")
	wantText(t, p.verb(2, "alert", "test", "nobody"), `the configuration has no \[alert.nobody\]`)

	hook.setDown(true)
	p.verb(0, "suspend", "a@example.org", "-reason", "phished")
	p.verb(0, "suspend", "ops@example.org", "-reason", "he as well")
	eventually(t, "the channel is said to fail", func() bool {
		_, r := readyz(t, address)
		return len(r.Degraded) == 1 && r.Degraded[0].What == "alert" && !strings.Contains(r.Degraded[0].Text, "T0KEN")
	})
	p.stop()
	hook.setDown(false)
	p = startRelayIn(t, dir)
	d = dialSMTP(t, p.address("mta"))
	open := hook.wait(t, alert.Open, "suspended sender a@example.org")
	if open.Reason != "phished" || open.About.Transaction == "" || open.About.Envelope.To[0] != "b@dest.example" || open.About.MessageID == "" ||
		open.About.Client == "" || len(open.Commands) != 3 || open.Docs != "docs/alerts.md#suspended" {
		t.Errorf("%+v", open)
	}
	if res, err := http.Get(open.ReleaseLink); err != nil || res.StatusCode != 200 {
		t.Fatal(err)
	}
	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "450") // to look at the page releases nobody
	d.say("RSET", "250")
	for i, want := range []int{200, 404} {
		res, err := http.Post(open.ReleaseLink, "application/x-www-form-urlencoded", nil)
		if err != nil || res.StatusCode != want {
			t.Fatalf("try %d: %v %v", i, res, err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RSET", "250")
	end := hook.wait(t, alert.Resolved, "suspended sender a@example.org")
	if end.Opened != open.ID || !strings.Contains(end.Reason, "link of alert ops") {
		t.Errorf("%+v", end)
	}
	eventually(t, "mail of both suspensions and the end", func() bool { return len(up.Messages()) >= 4 })
	subjects := ""
	for _, m := range up.Messages()[1:] {
		if m.From.Address != "ops@example.org" || m.To[0].Address != "night@example.net" {
			t.Errorf("%+v", m)
		}
		subjects += string(m.Data)
	}
	for _, want := range []string{"CRITICAL: sender a@example.org is suspended", "CRITICAL: sender ops@example.org is suspended", "resolved: sender a@example.org"} {
		if strings.Count(subjects, want) != 1 {
			t.Errorf("%q %d times", want, strings.Count(subjects, want))
		}
	}
	writeFile(t, filepath.Join(dir, "relay.toml"), "nonsense")
	p.signal(syscall.SIGHUP)
	hook.wait(t, alert.Open, "reload")
	writeFile(t, filepath.Join(dir, "relay.toml"), text)
	p.signal(syscall.SIGHUP)
	hook.wait(t, alert.Resolved, "reload")
	p.verb(0, "alert", "list")
	hook.mu.Lock()
	seen := map[string]bool{}
	for _, a := range hook.told {
		if seen[a.ID] {
			t.Errorf("%s came twice", a.Condition)
		}
		seen[a.ID] = true
	}
	hook.mu.Unlock()
	if strings.Contains(p.output(), "T0KEN") {
		t.Error("the log holds the URL")
	}
	p.stop()
}

// TestAlertMailIsSigned as mail of its domain is, and does not leave unsigned where the
// domain must be signed.
func TestAlertMailIsSigned(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, `
[alert.post]
mail = "night@example.net"
from = "alerts@example.org"
[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem" }]
`))
	p.address("mta")
	wantText(t, p.verb(0, "alert", "test", "post"), "has taken a test notice")
	messages := up.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	var out bytes.Buffer
	if run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &out}, []string{"dkim", "record", "-domain", "example.org", "-selector", "s1", "-key", filepath.Join(p.dir, "s1.pem")}) != cli.OK {
		t.Fatal(out.String())
	}
	verifyDKIM(t, messages[0].Data, map[string]string{"s1": joinTXT(out.String())})
	p.stop()
}

// TestAlertMailIsSignedAsItsWayWants: a provider that takes one signature gets no
// notice with two.
func TestAlertMailIsSignedAsItsWayWants(t *testing.T) {
	t.Parallel()
	for way, want := range map[string]int{"all": 2, "first": 1, "none": 0} {
		up := smtptest.Start(t, smtptest.Options{})
		text := basic(up, `
[alert.post]
mail = "night@example.net"
from = "alerts@example.org"
[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem" }, { selector = "s2", file = "s2.pem" }]
`)
		one := strings.Replace(text, "\nupstream = ", "\nsign_keys = \""+way+"\"\nupstream = ", 1)
		if one == text {
			t.Fatal("the configuration has no stream")
		}
		p := startRelay(t, one)
		p.address("mta")
		p.verb(0, "alert", "test", "post")
		if m := up.Messages(); len(m) != 1 || bytes.Count(m[0].Data, []byte("DKIM-Signature:")) != want {
			t.Errorf("sign_keys = %q: %d messages, want %d signatures", way, len(m), want)
		}
		p.stop()
	}
}

// TestAlertMailLeavesByExchangers: a notice takes the way of its stream where that goes
// to the recipients' own exchangers, too.
func TestAlertMailLeavesByExchangers(t *testing.T) {
	t.Parallel()
	world := newReceivers(t)
	host := world.add("ops.example", "127.0.0.2")
	p := startRelay(t, world.config(`
[alert.post]
mail = "night@ops.example"
from = "alerts@example.org"
[alert.other]
mail = "night@elsewhere.example"
from = "alerts@example.org"
`))
	p.address("mta")
	wantText(t, p.verb(0, "alert", "test", "post"), "has taken a test notice")
	if m := host.Messages(); len(m) != 1 || !bytes.Contains(m[0].Data, []byte("Subject: ")) {
		t.Errorf("%d messages", len(m))
	}
	wantText(t, p.verb(1, "alert", "test", "other"), "elsewhere.example")
	p.stop()
}

// TestAlertListSaysWhenThereIsNothing: an empty screen could mean anything.
func TestAlertListSaysWhenThereIsNothing(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), basic(smtptest.Start(t, smtptest.Options{}), ""))
	p := startRelayIn(t, dir)
	p.address("mta")
	out := p.verb(0, "alert", "list")
	wantText(t, out, "no alerts are open")
	wantText(t, out, `no channel is configured: write a table \[alert\.NAME\]`)
	p.stop()
}
