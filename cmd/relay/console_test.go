package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"postern/internal/smtptest"
)

// tab is a tab of a browser that is logged in to a relay's console.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string
}

// openConsole logs a browser in by the link that relay console prints.
func openConsole(t *testing.T, p *process) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var link struct{ URL string }
	if err := json.Unmarshal([]byte(p.verb(0, "console", "-json")), &link); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t, ctx, "http://" + u.Host}
	b.do(chromedp.Navigate(link.URL))
	b.do(chromedp.Click("button.primary"))
	b.until(`document.querySelector("#now") != null`)
	return b
}

func (b *tab) do(step chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, step); err != nil {
		b.t.Fatal(err)
	}
}

// until waits until a script says true.
func (b *tab) until(script string) {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](script)); err == nil && ok {
			return
		}
	}
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + document.body.innerText"))
	b.t.Fatalf("%s: never; the page is %s", script, text)
}

// says waits until the page holds a text.
func (b *tab) says(text string) {
	b.t.Helper()
	quoted, _ := json.Marshal(text)
	b.until("document.body.innerText.includes(" + string(quoted) + ")")
}

// fill opens the form of an action and sends it with a reason.
func (b *tab) fill(action, reason string) {
	b.t.Helper()
	form := fmt.Sprintf(`form[action="/act/%s"]`, action)
	b.until(fmt.Sprintf(`document.querySelector('%s') != null`, form))
	b.do(chromedp.Click(fmt.Sprintf(`details:has(%s) > summary`, form)))
	b.do(chromedp.SendKeys(form+` input[name="reason"]`, reason))
	b.do(chromedp.Click(form + ` button`))
}

// TestConsoleInABrowser: a sender is released and his next mail passes,
// a limit is raised, and a refused message is found by recipient, queue id and code.
func TestConsoleInABrowser(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	up.SetFaults(smtptest.Fault{Stage: smtptest.Rcpt, To: "gone@dest.example", Reply: "550 5.1.1 no such user here"})
	text, address := withAdmin(t, basic(up, "[limit.sender]\nper = \"sender\"\nmessages = [\"2/1h\"]\n"))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), text)
	p := startRelayIn(t, dir)
	d := dialSMTP(t, p.address("mta"))
	send := func(from, to, rcpt string) {
		t.Helper()
		d.say("MAIL FROM:<"+from+">", "250")
		d.say("RCPT TO:<"+to+">", rcpt)
		if rcpt == "250" {
			d.say("DATA", "354")
			d.say(testMessage(from, "m1")+".", "250")
			return
		}
		d.say("RSET", "250")
	}
	send("a@example.org", "b@dest.example", "250")
	send("c@example.org", "gone@dest.example", "550")
	p.verb(0, "suspend", "a@example.org", "-reason", "<i>phished</i>\u202e")
	d.say("MAIL FROM:<a@example.org>", "450")

	b := openConsole(t, p)
	b.says("Sender a@example.org is suspended")
	b.says("<i>phished</i>\\u202e")
	b.fill("release", "password changed")
	b.says("Released: sender a@example.org. Its mail is still stopped: 1 recipient is suppressed")
	send("a@example.org", "b@dest.example", "250")
	b.says("Nothing needs you")
	p.expect(`msg=operator act=release by=\S+ what="sender a@example\.org" reason="password changed" audit=`)

	d.say("MAIL FROM:<a@example.org>", "250")
	d.say("RCPT TO:<b@dest.example>", "450")
	d.say("RSET", "250")
	b.do(chromedp.Navigate(b.url + "/"))
	b.fill("allow", "month's end")
	b.says("1 more messages for sender a@example.org until")
	send("a@example.org", "b@dest.example", "250")

	for _, asked := range []string{"gone@dest.example", "550", "5.1.1", "no-such-user", "c@example.org"} {
		b.do(chromedp.Navigate(b.url + "/find?q=" + url.QueryEscape(asked)))
		b.says("rejected 550 5.1.1")
	}
	b.do(chromedp.Click(".found a"))
	b.says("What would it get now?")
	b.says("is suppressed")
	b.says("no such user here")
	ours, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("h1 code").innerText`))
	if err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(b.url + "/find?q=" + ours))
	b.says("With queue id")
	b.says("c@example.org to gone@dest.example")

	b.foreign(address)
	p.stop()
}

// foreign: what is not of this browser on this page gets nothing.
func (b *tab) foreign(address string) {
	t := b.t
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path, host, origin string) int {
		r, err := http.NewRequest(method, "http://"+address+path, strings.NewReader("reason=x"))
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct {
		method, path, host, origin string
		want                       int
	}{
		{"GET", "/", "", "", http.StatusSeeOther}, {"GET", "/part/needs", "", "", http.StatusUnauthorized}, {"GET", "/", "evil.example", "", http.StatusMisdirectedRequest},
		{"GET", "/login", "evil.example", "", http.StatusMisdirectedRequest}, {"POST", "/act/release", "", "http://evil.example", http.StatusForbidden},
		{"POST", "/act/release", "", "", http.StatusUnauthorized}, {"POST", "/login", "", "", http.StatusUnauthorized},
	} {
		if got := ask(c.method, c.path, c.host, c.origin); got != c.want {
			t.Errorf("%s %s of host %q from %q: %d, want %d", c.method, c.path, c.host, c.origin, got, c.want)
		}
	}
}
