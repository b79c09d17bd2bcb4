package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/alert"
	"postern/internal/api"
	"postern/internal/config"
	"postern/internal/freeport"
	"postern/mail"
	"postern/reputation/bygroup"
)

const apiConfig = `
hostname = "mail.example.org"
state_dir = "state"
[listener.mta]
address = "127.0.0.1:0"
[user.pia]
password = "$argon2id$v=19$m=19456,t=2,p=1$JTF3pJ0SBOhs+CY4+lc4zQ$EtEAH2Dek3AQqF3gd5XwcyDXD+asSJ559OzCKF0zXf0"
[client.shop]
networks = ["10.0.0.0/8"]
users = ["pia"]
senders = ["news@shop.example", "both@shop.example"]
stream = "main"
[client.office]
networks = ["10.1.0.0/16"]
senders = ["@office.example", "both@shop.example"]
stream = "main"
[stream.main]
upstream = "up"
[upstream.up]
hosts = ["127.0.0.1:9"]
tls = "verified"
username = "relay"
password = "planted-secret"
[limit.sender]
per = "sender"
messages = ["100/1h"]
[journal]
file = "state/journal.jsonl"
[log]
level = "debug"
[admin]
address = "ADDRESS"
hosts = ["relay.monitoring"]
`

// door is a way to a node.
type door struct {
	client *http.Client
	base   string
}

// apiNode is a node with one token of each role, and its two doors.
type apiNode struct {
	*Node
	log          *syncBuffer
	port, socket door
	tokens       map[access.Role]string
	dir          string
}

func startAPI(t *testing.T, more string) *apiNode {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	if err := os.WriteFile(path, []byte(strings.Replace(apiConfig, "ADDRESS", address, 1)+more), 0o600); err != nil {
		t.Fatal(err)
	}
	file, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log := &syncBuffer{}
	n, err := New(file, Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Stop(context.Background()) })
	socket := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", file.Control.Socket)
	}}}
	a := &apiNode{n, log, door{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://" + address}, door{socket, "http://relay"}, map[access.Role]string{}, dir}
	for _, role := range access.Roles() {
		token := access.Token{Name: "my-" + string(role), Role: role, Expires: time.Now().Add(time.Hour)}
		if role == access.Owner {
			token.Client = "shop"
		}
		if a.tokens[role], _, err = n.tokens.New(token); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// syncBuffer is a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// ask sends a request; field are names and values of header fields.
func (d door) ask(t *testing.T, method, path, token, body string, field ...string) (status int, h http.Header, text string) {
	t.Helper()
	r, err := http.NewRequest(method, d.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(field); i += 2 {
		if field[i] == "Host" {
			r.Host = field[i+1]
			continue
		}
		r.Header.Set(field[i], field[i+1])
	}
	res, err := d.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// pathOf puts something in the place of the names in a path.
func pathOf(route api.Route) string {
	return strings.NewReplacer("{name}", "news@shop.example", "{id}", "1").Replace(route.Path)
}

// TestAPIMatrix: each route, role and door. Where a role may, the answer is neither 401
// nor 403.
func TestAPIMatrix(t *testing.T) {
	a := startAPI(t, "")
	for _, route := range a.api.Routes() {
		path, body := pathOf(route), ""
		if route.Method == "POST" {
			body = "{}"
		}
		for _, token := range []string{"", "pst_wrong", a.tokens[access.View][:20]} {
			status, h, text := a.port.ask(t, route.Method, path, token, body)
			if token != "" && status == 429 && h.Get("Retry-After") != "" {
				continue // too many wrong ones
			}
			if status != 401 || h.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with token %q: %d %s", route.Method, path, token, status, text)
			}
			checkProblem(t, route, status, h, text)
		}
		for role, token := range a.tokens {
			status, h, text := a.port.ask(t, route.Method, path, token, body)
			want := role.Holds(route.Least) || role == access.Owner && route.Owned
			if got := status != 401 && status != 403; got != want {
				t.Errorf("%s %s as %s: %d %s", route.Method, path, role, status, text)
			}
			checkProblem(t, route, status, h, text)
			for _, fields := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://evil.example"}, {"X-Forwarded-User", "root"}} {
				if status, _, text := a.port.ask(t, route.Method, path, token, body, fields...); status != 403 {
					t.Errorf("%s %s as %s with %v: %d %s", route.Method, path, role, fields, status, text)
				}
			}
			if status, _, text := a.port.ask(t, route.Method, path, token, body, "Host", "evil.example"); status != 421 {
				t.Errorf("%s %s by a foreign name: %d %s", route.Method, path, status, text)
			}
		}
		if status, h, text := a.socket.ask(t, route.Method, path, "", body); status == 401 || status == 403 || status == 404 && strings.Contains(text, "openapi") {
			t.Errorf("%s %s on the socket: %d %s", route.Method, path, status, text)
		} else {
			checkProblem(t, route, status, h, text)
		}
		if status, _, text := a.socket.ask(t, route.Method, path, "", body, "Origin", "http://evil.example"); status != 403 {
			t.Errorf("%s %s on the socket from a page: %d %s", route.Method, path, status, text)
		}
	}
}

// checkProblem holds each refusal to RFC 9457.
func checkProblem(t *testing.T, route api.Route, status int, h http.Header, text string) {
	t.Helper()
	if h.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: %d may be kept", route.Method, route.Path, status)
	}
	if status < 400 {
		return
	}
	var p api.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Status != status || p.Title != http.StatusText(status) || p.Detail == "" || p.Code == "" || p.Type != "about:blank" {
		t.Errorf("%s %s: %d %s", route.Method, route.Path, status, text)
	}
	if got := h.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s %s: a problem of type %s", route.Method, route.Path, got)
	}
}

func TestHealthStaysOpen(t *testing.T) {
	a := startAPI(t, "metrics_token = true\n")
	for path, want := range map[string]int{"/livez": 200, "/healthz": 200, "/readyz": 200, "/metrics": 401, "//metrics": 401, "/api/v1/status": 401} {
		if status, _, text := a.port.ask(t, "GET", path, "", ""); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, _, _ := a.port.ask(t, "GET", "/metrics", a.tokens[access.View], ""); status != 200 {
		t.Errorf("/metrics with a token: %d", status)
	}
	r, _ := http.NewRequest("GET", a.port.base+"/metrics", nil)
	r.SetBasicAuth("prometheus", a.tokens[access.View])
	res, err := a.port.client.Do(r)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("/metrics with Basic: %v %v", res, err)
	}
	res.Body.Close()
	open := startAPI(t, "")
	if status, _, _ := open.port.ask(t, "GET", "/metrics", "", ""); status != 200 {
		t.Errorf("/metrics without metrics_token: %d", status)
	}
}

// TestNoSecretIsTold looks for what was planted, and for tokens, in each answer and in
// the log.
func TestNoSecretIsTold(t *testing.T) {
	a := startAPI(t, "")
	var all bytes.Buffer
	for _, route := range a.api.Routes() {
		if route.Method == "GET" {
			_, _, text := a.socket.ask(t, "GET", pathOf(route), "", "")
			all.WriteString(text)
		}
	}
	a.port.ask(t, "GET", "/api/v1/status", a.tokens[access.Admin]+"x", "")
	all.WriteString(a.log.String())
	for _, secret := range append([]string{"planted-secret", "argon2id"}, a.tokens[access.Admin], a.tokens[access.View]) {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%q is told", secret)
		}
	}
	if !strings.Contains(all.String(), `"password":"***"`) {
		t.Error("/config has no hidden password")
	}
}

// write puts events into the journal of a node.
func (a *apiNode) write(t *testing.T, events ...mail.Event) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(a.dir, "state", "journal.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range events {
		line, err := json.Marshal(&events[i])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%s\n", line)
	}
}

func event(n int, client string) mail.Event {
	return mail.Event{Time: time.Now().Add(time.Duration(n-1000) * time.Second), ID: fmt.Sprintf("id%06d", n), Client: client, From: "news@shop.example",
		To:      []mail.RecipientEvent{{Address: fmt.Sprintf("alice%d@example.net", n), Outcome: mail.Rejected, Code: 550, Reply: fmt.Sprintf("550 <alice%d@example.net>: unknown", n)}},
		Outcome: mail.Rejected, Code: 550, Reply: fmt.Sprintf("550 <alice%d@example.net>: unknown", n)}
}

// TestEventOfJustNowIsFound, though lines wait for a moment until they go to the journal.
func TestEventOfJustNowIsFound(t *testing.T) {
	a := startAPI(t, "")
	for n := range 20 {
		e := event(n, "shop")
		a.journal.Observe(&e)
		if status, _, text := a.port.ask(t, "GET", "/api/v1/events/"+e.ID, a.tokens[access.View], ""); status != 200 {
			t.Fatalf("%s: %d %s", e.ID, status, text)
		}
	}
}

func TestEventsByRole(t *testing.T) {
	a := startAPI(t, "")
	var events []mail.Event
	for n := range 250 {
		client := "shop"
		if n%2 == 1 {
			client = "office"
		}
		events = append(events, event(n, client))
	}
	a.write(t, events...)
	read := func(role access.Role, path string) (p api.EventsPage) {
		t.Helper()
		status, _, text := a.port.ask(t, "GET", path, a.tokens[role], "")
		if status != 200 || json.Unmarshal([]byte(text), &p) != nil {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		return p
	}
	seen, next := map[string]bool{}, ""
	for range 10 {
		p := read(access.Operate, "/api/v1/events?limit=30&cursor="+next)
		for i := range p.Items {
			if seen[p.Items[i].ID] {
				t.Errorf("%s comes twice", p.Items[i].ID)
			}
			seen[p.Items[i].ID] = true
		}
		if next = p.Next; next == "" {
			break
		}
	}
	if len(seen) != 250 {
		t.Errorf("%d of 250 on all pages", len(seen))
	}
	if p := read(access.View, "/api/v1/events?to=alice7@example.net"); len(p.Items) != 1 || p.Items[0].To[0].Address != "a***@example.net" || strings.Contains(p.Items[0].Reply, "alice") {
		t.Errorf("view: %+v", p)
	}
	if p := read(access.Operate, "/api/v1/events?to=alice7@example.net"); len(p.Items) != 1 || p.Items[0].To[0].Address != "alice7@example.net" {
		t.Errorf("operate: %+v", p)
	}
	if p := read(access.Owner, "/api/v1/events?limit=200"); len(p.Items) != 125 || p.Items[0].Client != "shop" || p.Items[0].To[0].Address != "alice248@example.net" {
		t.Errorf("owner: %d", len(p.Items))
	}
	if p := read(access.Owner, "/api/v1/events?to=alice7@example.net"); len(p.Items) != 0 {
		t.Errorf("an owner finds mail of others: %+v", p)
	}
	for path, want := range map[string]int{"/api/v1/events?client=office": 403, "/api/v1/events/id000007": 404, "/api/v1/events/id000008": 200, "/api/v1/senders/both@shop.example": 403,
		"/api/v1/senders/x@office.example": 403, "/api/v1/senders/client:office": 403, "/api/v1/limits/explain?client=office&from=x@office.example&to=y@example.net": 403,
		"/api/v1/limits/explain?client=shop&from=news@shop.example&to=y@example.net": 200, "/api/v1/senders/news@shop.example": 404} {
		if status, _, text := a.port.ask(t, "GET", path, a.tokens[access.Owner], ""); status != want {
			t.Errorf("owner on %s: %d %s", path, status, text)
		}
	}
	for _, path := range []string{"/api/v1/limits?submitter=anna", "/api/v1/limits/explain?client=shop&from=news@shop.example&to=y@example.net&submitter=anna"} {
		if status, _, text := a.port.ask(t, "GET", path, a.tokens[access.View], ""); status != 400 || !strings.Contains(text, "write CLIENT/NAME") {
			t.Errorf("a submitter without its client, %s: %d %s", path, status, text)
		}
	}
	for _, bad := range []string{"?colour=1", "?limit=1&limit=2", "?limit=x", "?limit=0x10", "?since=yesterday", "?code=abc", "?to=@@", "?cursor=x", "?limit=1001", "?%zz"} {
		if status, _, text := a.port.ask(t, "GET", "/api/v1/events"+bad, a.tokens[access.View], ""); status != 400 {
			t.Errorf("events%s: %d %s", bad, status, text)
		}
	}
}

// TestViewNeverSeesARecipient: wherever one can stand, and whoever asks for it.
func TestViewNeverSeesARecipient(t *testing.T) {
	a := startAPI(t, "")
	const planted = "planted.recipient@dest.example"
	e := event(1, "shop")
	e.To[0].Address, e.To[0].Reply, e.Reply = planted, "550 <"+planted+">: unknown", "550 <"+planted+">: unknown"
	e.To[0].Said = &mail.Evidence{Reply: e.Reply, By: "word:" + planted}
	a.write(t, e)
	a.receivers.suppressions.Add("main", mail.RecipientOf(planted), "550 <"+planted+">: unknown", time.Hour)
	a.receivers.backoff.Groups.Refused(&bygroup.Refusal{Stream: "main", Client: "shop", Group: "google", Domain: "dest.example", At: "mail", Reply: "421 <" + planted + ">"})
	a.alerts.board.Open(alert.Alert{Kind: alert.Suspended, Condition: "suspended sender news@shop.example", Reason: "mail to " + planted, Since: time.Now(),
		About: alert.About{Envelope: &alert.Envelope{From: "news@shop.example", To: []string{planted}, ToCount: 1}}}, time.Now())
	found := false
	for _, route := range a.api.Routes() {
		if route.Method != "GET" {
			continue
		}
		path := strings.NewReplacer("{name}", "news@shop.example", "{id}", e.ID).Replace(route.Path)
		if _, _, text := a.port.ask(t, "GET", path, a.tokens[access.View], ""); strings.Contains(text, "planted.recipient") {
			t.Errorf("view sees it at %s: %s", path, text)
		}
		_, _, text := a.port.ask(t, "GET", path, a.tokens[access.Operate], "")
		found = found || strings.Contains(text, planted)
	}
	if !found {
		t.Error("operate does not see it either")
	}
}

// TestSearchesTakeTurns: one at a time, and the next waits for a while only.
func TestSearchesTakeTurns(t *testing.T) {
	a := startAPI(t, "")
	a.write(t, event(1, "shop"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if status, _, text := a.port.ask(t, "GET", "/api/v1/events", a.tokens[access.View], ""); status != 200 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	wg.Wait()
}
