package deliver

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/alert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func an(status, name string) alert.Alert {
	a := alert.Alert{ID: "id1", Opened: "id1", Relay: "relay.example.org", Status: status, Kind: alert.Suspended, Severity: alert.Critical,
		Condition: "suspended sender " + name, Summary: "sender " + name + " is suspended", Reason: "five times the usual", Since: at,
		About:   alert.About{Scope: "sender", Name: name, Client: "shop", Transaction: "t1", Envelope: &alert.Envelope{From: name, To: []string{"b@dest.example"}, ToCount: 1}},
		Numbers: map[string]float64{"score": 3.5}, Docs: "docs/alerts.md#suspended",
		Commands: []alert.Command{{What: "show", Line: "relay senders show " + name}, {What: "release", Line: "relay release " + name}}}
	if status == alert.Resolved {
		a.ID, a.Ended = "id2", at.Add(time.Hour)
	}
	return a
}

func one(a alert.Alert) *alert.Batch {
	return &alert.Batch{ID: a.ID, Time: at, Alerts: []alert.Alert{a}}
}

// senderTo is what sends to a server by a table.
func senderTo(t *testing.T, c Config, hook, secret, token string) Sender {
	t.Helper()
	if c.Style == "" {
		c.SetDefaults()
	}
	if problem := c.Secrets(hook, secret, token); problem != "" {
		t.Fatal(problem)
	}
	r := NewRunner(t.Context(), Options{Board: alert.New(alert.Options{}), Relay: "relay.example.org", LinkKey: []byte("key"), Now: func() time.Time { return at }})
	all, err := r.Senders(map[string]Config{"ops": c}, "postmaster@example.org", "main")
	if err != nil {
		t.Fatal(err)
	}
	return all["ops"]
}

// TestWebhookIsSignedAndComplete: a script gets all that it needs to act.
func TestWebhookIsSignedAndComplete(t *testing.T) {
	var body []byte
	var head http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		head = r.Header
	}))
	defer s.Close()
	send := senderTo(t, Config{WebhookFile: "x", ReleaseLink: "https://relay.example.org:8025", Docs: "https://docs.example/"}, s.URL, "s3cret", "tok")
	if r := send.Send(t.Context(), one(an(alert.Open, "news@example.org"))); r.Err != nil {
		t.Fatal(r.Err)
	}
	m := hmac.New(sha256.New, []byte("s3cret"))
	fmt.Fprintf(m, "%d.%s", at.Unix(), body)
	if want := fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(m.Sum(nil))); head.Get("X-Postern-Signature") != want {
		t.Errorf("signature %q, want %q", head.Get("X-Postern-Signature"), want)
	}
	if head.Get("X-Postern-Id") != "id1" || head.Get("Authorization") != "Bearer tok" || head.Get("Content-Type") != "application/json" {
		t.Errorf("%v", head)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"version", "id", "opened", "relay", "status", "kind", "condition", "severity", "summary", "reason", "since", "about", "numbers", "commands", "docs", "release_link"} {
		if got[key] == nil {
			t.Errorf("no %s in %s", key, body)
		}
	}
	link, _ := got["release_link"].(string)
	token, ok := strings.CutPrefix(link, "https://relay.example.org:8025/release/")
	if channel, id, fits := ReadToken([]byte("key"), token); !ok || !fits || channel != "ops" || id != "id1" {
		t.Errorf("link %s", link)
	}
	if got["docs"] != "https://docs.example/docs/alerts.md#suspended" {
		t.Errorf("%v", got["docs"])
	}
	send.Send(t.Context(), one(an(alert.Resolved, "news@example.org")))
	if strings.Contains(string(body), "release_link") {
		t.Error("a link in the notice of an end")
	}
}

func TestDigestHoldsTheAlerts(t *testing.T) {
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { body, _ = io.ReadAll(r.Body) }))
	defer s.Close()
	b := &alert.Batch{ID: "d1", Time: at, Digest: true, Lost: 7, Alerts: []alert.Alert{an(alert.Open, "a@example.org"), an(alert.Open, "b@example.org")}}
	senderTo(t, Config{Webhook: s.URL}, "", "", "").Send(t.Context(), b)
	var got struct {
		ID, Status string
		Lost       int
		Alerts     []alert.Alert
	}
	if json.Unmarshal(body, &got) != nil || got.ID != "d1" || got.Status != "digest" || got.Lost != 7 || len(got.Alerts) != 2 {
		t.Errorf("%s", body)
	}
	senderTo(t, Config{Webhook: s.URL, Style: Slack}, "", "", "").Send(t.Context(), b)
	for _, want := range []string{"2 alerts, of which 2 suspended", "a@example.org", "7 older notices", "relay alert list"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
}

// TestSlackTextMentionsNobody: a sender who calls himself <!channel> wakes nobody.
func TestSlackTextMentionsNobody(t *testing.T) {
	var got struct{ Text string }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { json.NewDecoder(r.Body).Decode(&got) }))
	defer s.Close()
	senderTo(t, Config{Webhook: s.URL, Style: Slack}, "", "", "").Send(t.Context(), one(an(alert.Open, `"<!channel>&"@example.org`)))
	if strings.ContainsAny(got.Text, "<>") || !strings.Contains(got.Text, "&lt;!channel&gt;&amp;") {
		t.Errorf("%s", got.Text)
	}
	lines := strings.Split(strings.TrimSpace(got.Text), "\n")
	if tail := strings.Join(lines[len(lines)-4:], "\n"); !strings.Contains(tail, "show: relay senders show") || !strings.Contains(tail, "what to do: docs/alerts.md#suspended") {
		t.Errorf("it does not end in a command and the docs:\n%s", got.Text)
	}
}

// TestAlertmanagerForm holds what is sent against postableAlerts of its API, version 2.
func TestAlertmanagerForm(t *testing.T) {
	var lists [][]map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var list []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil || r.URL.Path != "/am/api/v2/alerts" || r.Method != http.MethodPost {
			t.Errorf("%v, %s", err, r.URL)
		}
		lists = append(lists, list)
	}))
	defer s.Close()
	send := senderTo(t, Config{Alertmanager: s.URL + "/am/"}, "", "", "")
	var alerts []alert.Alert
	for i := range 150 {
		alerts = append(alerts, an(alert.Open, fmt.Sprintf("s%d@example.org", i)))
	}
	alerts = append(alerts, an(alert.Resolved, "old@example.org"))
	if r := send.Send(t.Context(), &alert.Batch{ID: "b", Alerts: alerts}); r.Err != nil || len(lists) != 2 || len(lists[0])+len(lists[1]) != 151 {
		t.Fatalf("%v, %d", r.Err, len(lists))
	}
	for _, a := range append(lists[0], lists[1]...) {
		checkPostable(t, a)
	}
	last := lists[1][len(lists[1])-1]
	if last["endsAt"] != "2026-11-30T09:00:00Z" || lists[0][0]["endsAt"] != "2026-11-30T08:05:00Z" {
		t.Errorf("ends %v, %v", last["endsAt"], lists[0][0]["endsAt"])
	}
}

// checkPostable: labels are needed, with alertname; names as Prometheus has them; values
// are text that is not blank; times are RFC 3339 and in order; nothing else is there.
func checkPostable(t *testing.T, a map[string]any) {
	t.Helper()
	var times []time.Time
	for key, v := range a {
		switch key {
		case "labels", "annotations":
			set, ok := v.(map[string]any)
			if !ok || len(set) == 0 {
				t.Fatalf("%s is %v", key, v)
			}
			for name, value := range set {
				if s, ok := value.(string); !ok || s == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
					t.Errorf("%s %q = %v", key, name, value)
				}
			}
		case "startsAt", "endsAt":
			at, err := time.Parse(time.RFC3339, v.(string))
			if err != nil {
				t.Error(err)
			}
			times = append(times, at)
		default:
			t.Errorf("unknown key %s", key)
		}
	}
	labels, _ := a["labels"].(map[string]any)
	if labels["alertname"] != "PosternSuspended" || len(times) != 2 || a["startsAt"].(string) > a["endsAt"].(string) {
		t.Errorf("%v", a)
	}
}

// TestMailIsOneMessage: names of senders add no header line, and the end answers the
// beginning.
func TestMailIsOneMessage(t *testing.T) {
	var header, body []byte
	m := &mailer{form: form{relay: "relay.example.org"}, from: "postmaster@example.org", to: "ops@example.org", stream: "main",
		submit: func(_ context.Context, stream, from, to string, h, b []byte) (bool, error) {
			header, body = h, b
			return false, nil
		}}
	m.Send(t.Context(), one(an(alert.Resolved, "ünï@example.org")))
	text, err := mail.ReadMessage(strings.NewReader(string(header) + string(body)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Message-Id": "<id2@relay.example.org>", "In-Reply-To": "<id1@relay.example.org>", "Auto-Submitted": "auto-generated",
		"To": "<ops@example.org>", "From": "Postern <postmaster@example.org>"}
	for k, v := range want {
		if text.Header.Get(k) != v {
			t.Errorf("%s: %q", k, text.Header.Get(k))
		}
	}
	for line := range strings.SplitSeq(string(header)+string(body), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") || strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("line %q", line)
		}
	}
	long := an(alert.Open, strings.Repeat("é", 500))
	m.Send(t.Context(), one(long))
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
	if !slices.Contains(strings.Split(string(header), "\r\n"), "") {
		t.Error("no end of the header")
	}
}

func TestRedirectsAreNotFollowedAndAnswersBounded(t *testing.T) {
	followed := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/other":
			followed = true
		case "/redirect":
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		case "/endless":
			w.WriteHeader(http.StatusOK)
			for range 10_000 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
			t.Error("40 MB were read")
		}
	}))
	defer s.Close()
	r := senderTo(t, Config{Webhook: s.URL + "/redirect"}, "", "", "").Send(t.Context(), one(an(alert.Open, "a")))
	if r.Err == nil || followed || r.Refused {
		t.Errorf("%v, followed %v", r.Err, followed)
	}
	if r := senderTo(t, Config{Webhook: s.URL + "/endless"}, "", "", "").Send(t.Context(), one(an(alert.Open, "a"))); r.Err != nil {
		t.Error(r.Err)
	}
}

// TestErrorsHoldNoToken, whatever goes wrong.
func TestErrorsHoldNoToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no such hook: "+r.URL.String()+r.Header.Get("Authorization"), http.StatusNotFound)
	}))
	url := s.URL + "/T0KEN?key=T0KEN"
	send := senderTo(t, Config{WebhookFile: "x"}, url, "T0KEN", "T0KEN")
	var errs []error
	errs = append(errs, send.Send(t.Context(), one(an(alert.Open, "a"))).Err)
	s.Close()
	errs = append(errs, send.Send(t.Context(), one(an(alert.Open, "a"))).Err)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	errs = append(errs, send.Send(gone, one(an(alert.Open, "a"))).Err)
	bad := senderTo(t, Config{WebhookFile: "x"}, "https://user:T0KEN@127.0.0.1:1/T0KEN", "", "")
	errs = append(errs, bad.Send(t.Context(), one(an(alert.Open, "a"))).Err)
	for _, err := range errs {
		if err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%v", err)
		}
	}
	for _, c := range []Config{{Webhook: "http://far.example/T0KEN"}, {Webhook: "ht tp://T0KEN"}, {Webhook: "T0KEN"}, {Alertmanager: "ftp://T0KEN"}, {Webhook: "https://x/T0KEN", Mail: "T0KEN"}} {
		found := 0
		c.SetDefaults()
		c.Check(func(key, problem string) {
			found++
			if strings.Contains(problem, "T0KEN") {
				t.Error(problem)
			}
		})
		if found == 0 {
			t.Errorf("%+v was taken", c)
		}
	}
	var c Config
	if problem := c.Secrets("", "", ""); problem != "" {
		t.Error(problem)
	}
	c = Config{WebhookFile: "x"}
	if problem := c.Secrets("http://far.example/T0KEN", "", ""); problem == "" || strings.Contains(problem, "T0KEN") {
		t.Errorf("%q", problem)
	}
}

// TestErrorsQuoteNoAnswer: a receiver that says what it was asked again, such as a port of
// echo, or one that means to have the token in our log.
func TestErrorsQuoteNoAnswer(t *testing.T) {
	for _, answer := range []string{
		"%s", "HTTP/1.1 %s\r\n\r\n", "HTTP/1.1 2%s0 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n", "HTTP/1.1 307 Go\r\nLocation: http://%%zz%s\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 404 %s\r\nContent-Length: 0\r\n\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			asked, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprintf(c, answer, strings.TrimSpace(asked))
		}()
		url := "http://" + l.Addr().String() + "/T0KEN"
		r := senderTo(t, Config{WebhookFile: "x"}, url, "", "").Send(t.Context(), one(an(alert.Open, "a")))
		l.Close()
		<-done
		if r.Err == nil || strings.Contains(r.Err.Error(), "T0KEN") || len(r.Err.Error()) > 400 {
			t.Errorf("%q: %v", answer, r.Err)
		}
	}
}

func TestPlainHTTPGoesToThisMachineOnly(t *testing.T) {
	for url, plain := range map[string]bool{"http://127.0.0.1:1/x": true, "http://[::1]:1/": true, "http://localhost/": true, "https://far.example/": true,
		"http://far.example/": false, "http://127.0.0.1.far.example/": false, "http://10.0.0.1/": false, "http://localhost@far.example/": false} {
		for _, c := range []Config{{Webhook: url}, {Alertmanager: url}} {
			c.SetDefaults()
			problems := 0
			c.Check(func(string, string) { problems++ })
			if (problems == 0) != plain {
				t.Errorf("%s: %d problems", url, problems)
			}
			c.Plain = true
			c.Check(func(key, problem string) {
				if problems == 0 {
					t.Errorf("%s with plain: %s", url, problem)
				}
				problems--
			})
		}
	}
}

// TestRunnerSurvivesLostAnswersAndARestart: a receiver takes each notice and closes
// without an answer every third time; the runner is stopped and started in the middle.
func TestRunnerSurvivesLostAnswersAndARestart(t *testing.T) {
	taken := map[string]int{}
	var order []string
	var mu sync.Mutex
	answers := 0
	address := serveHTTP(t, func(id string, body []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if taken[id] == 0 {
			order = append(order, id)
		}
		taken[id]++
		answers++
		return answers%3 != 0
	})
	c := Config{Webhook: "http://" + address + "/"}
	c.SetDefaults()
	c.Secrets("", "", "")
	tables := map[string]Config{"ops": c}
	var ids int
	board := alert.New(alert.Options{NewID: func() string { ids++; return fmt.Sprintf("n%03d", ids) }})
	clock := &fastClock{now: at}
	start := func(b *alert.Board) func() {
		ctx, cancel := context.WithCancel(context.Background())
		r := NewRunner(ctx, Options{Board: b, Log: slog.New(slog.DiscardHandler), Now: clock.read})
		senders, err := r.Senders(tables, "", "")
		if err != nil {
			t.Fatal(err)
		}
		r.Use(tables, senders)
		return func() { cancel(); r.Wait() }
	}
	stop := start(board)
	for i := range 20 {
		board.Open(alert.Alert{Kind: alert.Suspended, Condition: fmt.Sprint("suspended ", i)}, clock.read())
	}
	wait := func(n int) {
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			done := len(order) >= n
			mu.Unlock()
			if done {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d of %d came", len(order), n)
			}
			clock.step()
			board.Sync(alert.Disk, nil, clock.read())
			board.SetChannels([]alert.Channel{c.channel("ops")}) // wakes
		}
	}
	wait(8)
	stop()
	text, err := board.Save()
	if err != nil {
		t.Fatal(err)
	}
	again := alert.New(alert.Options{NewID: func() string { ids++; return fmt.Sprintf("n%03d", ids) }})
	if err := again.Load(text); err != nil {
		t.Fatal(err)
	}
	board = again
	stop = start(board)
	wait(20)
	stop()
	mu.Lock()
	defer mu.Unlock()
	if len(taken) != 20 || !slices.IsSorted(order) {
		t.Errorf("%d came, in order %v", len(taken), order)
	}
	copies := 0
	for _, n := range taken {
		copies += n - 1
	}
	if copies > answers/3+1 { // and the one that a stop cut off
		t.Errorf("%d copies of %d lost answers", copies, answers/3)
	}
}

// fastClock goes on by a second at each step.
type fastClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fastClock) read() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *fastClock) step()           { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(time.Second) }

// serveHTTP reads requests and answers 200, or closes where take says false.
func serveHTTP(t *testing.T, take func(id string, body []byte) bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				body, err := io.ReadAll(req.Body)
				if err == nil && take(req.Header.Get(textproto.CanonicalMIMEHeaderKey("X-Postern-Id")), body) {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
	return l.Addr().String()
}

func TestTryOfAnUnknownChannel(t *testing.T) {
	r := NewRunner(t.Context(), Options{Board: alert.New(alert.Options{})})
	if err := r.Try(t.Context(), "nix", alert.Alert{}); err == nil {
		t.Error("no error")
	}
}

// FuzzReadToken: nobody makes a token that holds.
func FuzzReadToken(f *testing.F) {
	good := channelToken([]byte("key"), "ops", "06h2pxm00w0z21ve88")
	f.Add(good)
	f.Add(good + "=")
	f.Add(strings.Replace(good, ".ops", ".other", 1))
	f.Fuzz(func(t *testing.T, token string) {
		if channel, id, ok := ReadToken([]byte("key"), token); ok && token != channelToken([]byte("key"), channel, id) {
			t.Errorf("%q holds for %s %s", token, channel, id)
		}
		if _, _, ok := ReadToken(nil, token); ok {
			t.Error("a token without a key")
		}
	})
}
