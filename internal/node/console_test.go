package node

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/mail"
	"postern/ratelimit"
)

// page is a browser that is logged in to a node's console.
type page struct {
	base   string
	cookie *http.Cookie
}

// login logs a browser in with a token.
func (a *apiNode) login(t testing.TB, role access.Role) *page {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.PostForm(a.port.base+"/login", url.Values{"login": {a.tokens[role]}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if len(res.Cookies()) != 1 {
		t.Fatalf("%s: %s", role, res.Status)
	}
	return &page{a.port.base, res.Cookies()[0]}
}

// get is a page with the time until its first octet.
func (p *page) get(t testing.TB, path string) (status int, text string, first time.Duration) {
	t.Helper()
	r, err := http.NewRequest("GET", p.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(p.cookie)
	begin := time.Now()
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Since(begin) }}))
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), first
}

// consoleEvent is a transaction of a sender.
func consoleEvent(n int, from string) *mail.Event {
	now := time.Now()
	return &mail.Event{
		Time: now, ID: mail.NewID(now), Client: "office", ClientIP: "10.1.0.9", Listener: "mta", Helo: "mx", Stream: "main", From: from, MessageID: fmt.Sprintf("<%d@office.example>", n),
		To:   []mail.RecipientEvent{{Address: fmt.Sprintf("r%d@dest%d.example", n, n%500), Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Reply: fmt.Sprintf("2.0.0 Ok: queued as 4Q%dZ", n)}},
		Size: 2048, Stage: mail.StageForward, Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Upstream: "up", Host: "127.0.0.1:9", Reply: fmt.Sprintf("250 2.0.0 Ok: queued as 4Q%dZ", n),
	}
}

// TestConsoleIsQuickWithManySenders: however many there are, the page is there at once
// and small. (A million events cost it nothing: no page reads the journal but for a
// search.)
func TestConsoleIsQuickWithManySenders(t *testing.T) {
	a := startAPI(t, "")
	const senders = 100_000
	for i := range senders {
		from := fmt.Sprintf("sender%d@office.example", i)
		a.self.Observe(consoleEvent(i, from))
		account := a.limiter.Begin(ratelimit.Facts{Client: "office", Sender: mail.Identity(from), SenderDomain: "office.example", Stream: "main"})
		account.Recipients(t.Context(), []ratelimit.Recipient{{Address: "r@dest.example", Domain: "dest.example"}}, nil)
		account.End()
	}
	p := a.login(t, access.Operate)
	best, first := time.Hour, time.Duration(0)
	for i := range 10 {
		status, text, took := p.get(t, "/")
		if i == 0 {
			first = took
		}
		best = min(best, took)
		if status != http.StatusOK || len(text) > 60<<10 {
			t.Fatalf("%d, %d octets", status, len(text))
		}
		if i == 9 {
			t.Logf("first byte at first %v, at best %v; %d octets", first, best, len(text))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if bound := 100 * time.Millisecond * time.Duration(slower); best > bound {
		t.Errorf("first byte after %v", best)
	}
	begin := time.Now()
	status, text, _ := p.get(t, "/find?q="+url.QueryEscape("r777@dest277.example"))
	if status != http.StatusOK || !strings.Contains(text, "sender777@office.example") {
		t.Errorf("%d %s", status, text)
	}
	t.Logf("found after %v", time.Since(begin))
}
