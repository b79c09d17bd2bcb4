package admin

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"postern/mail"
)

// ourNames are those of the handler's port.
func ourNames() []string { return []string{"relay.example.org", "example.com"} }

// get asks the handler for a path.
func get(t *testing.T, h http.Handler, method, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

func TestMetricsCountEvents(t *testing.T) {
	m := NewMetrics(func() int64 { return 7 })
	h := Handler(m, alwaysReady, ourNames)
	relayed := mail.Event{
		Client: "shop", Stream: "news", Stage: "forward", Outcome: mail.Relayed, Code: 250, Rule: "upstream", Upstream: "out",
		From: "secret-sender@example.org", ClientIP: "192.0.2.77", Size: 1000, Duration: 30 * time.Millisecond,
		To: []mail.RecipientEvent{
			{Address: "reader@example.net", Outcome: mail.Relayed},
			{Address: "gone@example.net", Outcome: mail.Rejected, Class: "no-such-user"},
		},
		Limits: []mail.LimitEvent{{Limit: "sender", Refused: true, Shadow: true}, {Limit: "client"}},
	}
	m.Observe(&relayed)
	m.Observe(&relayed)
	m.Observe(&mail.Event{
		Client: "shop", Stream: "news", Stage: "rcpt", Outcome: mail.Deferred, Code: 450, Rule: "limit sender",
		Limits: []mail.LimitEvent{{Limit: "sender", Key: "sender=secret-sender@example.org", Refused: true}},
	})
	m.Observe(&mail.Event{Stage: "auth", Outcome: mail.Rejected, Code: 535, Rule: "password"})
	m.Observe(&mail.Event{Client: "shop", Stream: "news", Stage: "mail", Outcome: mail.Aborted, Rule: "client"})
	status, body := get(t, h, "GET", "/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{
		`relay_transactions_total{client="shop",outcome="relayed",stage="forward",stream="news"} 2`,
		`relay_transactions_total{client="",outcome="rejected",stage="auth",stream=""} 1`,
		`relay_recipients_total{client="shop",outcome="rejected",stream="news"} 2`,
		`relay_recipients_total{client="shop",outcome="relayed",stream="news"} 2`,
		`relay_relayed_bytes_total{client="shop",stream="news"} 2000`,
		`relay_refusals_total{code="450",rule="limit"} 1`,
		`relay_refusals_total{code="535",rule="password"} 1`,
		`relay_limit_refusals_total{limit="sender",mode="shadow"} 2`,
		`relay_limit_refusals_total{limit="sender",mode="enforce"} 1`,
		`relay_upstream_refusals_total{class="no-such-user",upstream="out"} 2`,
		`relay_transaction_seconds_count{outcome="relayed"} 2`,
		"relay_connections 7",
		"go_goroutines",
	} {
		if !strings.Contains(body, want+"\n") && !strings.Contains(body, want+" ") {
			t.Errorf("has no %s", want)
		}
	}
	for _, unwanted := range []string{"secret-sender", "192.0.2.77", "reader@", `code="0"`, `relay_recipients_total{client="shop",outcome="deferred"`} {
		if strings.Contains(body, unwanted) {
			t.Errorf("has %s", unwanted)
		}
	}
}

// No event is lost while others are the first of their kind.
func TestMetricsCountEventsAtOnce(t *testing.T) {
	m := NewMetrics(func() int64 { return 0 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 100 {
				e := mail.Event{Client: fmt.Sprint("c", i%20), Stage: "forward", Outcome: mail.Relayed}
				e.To = []mail.RecipientEvent{{Outcome: mail.Relayed}, {Outcome: mail.Deferred}, {Outcome: mail.Relayed}}
				m.Observe(&e)
			}
		})
	}
	all.Wait()
	_, body := get(t, Handler(m, nil, ourNames), "GET", "/metrics")
	for i := range 20 {
		for _, want := range []string{
			`relay_transactions_total{client="c%d",outcome="relayed",stage="forward",stream=""} 40`,
			`relay_recipients_total{client="c%d",outcome="relayed",stream=""} 80`,
			`relay_recipients_total{client="c%d",outcome="deferred",stream=""} 40`,
		} {
			if want := fmt.Sprintf(want, i); !strings.Contains(body, want+"\n") {
				t.Errorf("has no %s", want)
			}
		}
	}
}

// BenchmarkObserve is a message relayed to one recipient.
func BenchmarkObserve(b *testing.B) {
	m := NewMetrics(func() int64 { return 0 })
	e := &mail.Event{Client: "shop", Stream: "news", Stage: "forward", Outcome: mail.Relayed, Code: 250, Rule: "upstream", Upstream: "out",
		Size: 1000, Duration: 30 * time.Millisecond, To: []mail.RecipientEvent{{Address: "reader@example.net", Outcome: mail.Relayed}}}
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(e)
	}
}

func TestMetricsTellTheStateOfParts(t *testing.T) {
	m := NewMetrics(func() int64 { return 0 })
	m.SetState("store", "", "redis")
	m.SetState("store", "redis", "local")
	m.SetState("store", "local", "redis")
	_, body := get(t, Handler(m, nil, ourNames), "GET", "/metrics")
	for _, want := range []string{
		`relay_state{part="store",state="redis"} 1`, `relay_state{part="store",state="local"} 0`,
		`relay_state_changes_total{part="store",state="local"} 1`, `relay_state_changes_total{part="store",state="redis"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("has no %s", want)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	var missing []Reason
	h := Handler(NewMetrics(func() int64 { return 0 }), func() Readiness {
		return Readiness{Ready: len(missing) == 0, Reasons: append([]Reason{}, missing...), Degraded: []Reason{}}
	}, ourNames)
	away := []Reason{{What: Store, Since: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Text: "Redis is away"}}
	for _, row := range []struct {
		name, method, path string
		missing            []Reason
		status             int
		body               string
	}{
		{"alive", "GET", "/healthz", nil, 200, "ok\n"},
		{"alive although not ready", "GET", "/livez", away, 200, "ok\n"},
		{"ready", "GET", "/readyz", nil, 200, `{"ready":true,"reasons":[],"degraded":[]}` + "\n"},
		{"not ready says why", "GET", "/readyz", away, 503,
			`{"ready":false,"reasons":[{"what":"store","since":"2026-03-04T12:00:00Z","text":"Redis is away"}],"degraded":[]}` + "\n"},
		{"another path", "GET", "/", nil, 404, ""},
		{"another method", "POST", "/metrics", nil, 405, ""},
	} {
		missing = row.missing
		status, body := get(t, h, row.method, row.path)
		if status != row.status || row.body != "" && body != row.body {
			t.Errorf("%s: %d %q, want %d %q", row.name, status, body, row.status, row.body)
		}
	}
}

func TestMetricsOfUpstreamHosts(t *testing.T) {
	m := NewMetrics(func() int64 { return 0 })
	m.WatchUpstreams(func() []UpstreamHost {
		return []UpstreamHost{
			{Upstream: "out", Host: "mx1.example:25", Up: true, LastSuccess: time.Unix(1700000000, 5e8), Surplus: 2, InUse: 3, Idle: 2},
			{Upstream: "out", Host: "mx2.example:25"},
		}
	})
	_, body := get(t, Handler(m, alwaysReady, ourNames), "GET", "/metrics")
	for _, want := range []string{
		`relay_upstream_up{host="mx1.example:25",upstream="out"} 1`,
		`relay_upstream_up{host="mx2.example:25",upstream="out"} 0`,
		`relay_upstream_last_success_timestamp_seconds{host="mx1.example:25",upstream="out"} 1.7000000005e+09`,
		`relay_upstream_surplus_replies_total{host="mx1.example:25",upstream="out"} 2`,
		`relay_upstream_connections{host="mx1.example:25",state="in_use",upstream="out"} 3`,
		`relay_upstream_connections{host="mx1.example:25",state="idle",upstream="out"} 2`,
		`relay_upstream_connections{host="mx2.example:25",state="idle",upstream="out"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(body, `timestamp_seconds{host="mx2`) {
		t.Error("a host without success has a time of it")
	}
}

func alwaysReady() Readiness { return Readiness{Ready: true} }

func TestMetricsCountVerdictsOfScanners(t *testing.T) {
	m := NewMetrics(func() int64 { return 0 })
	m.WatchScanners(func() map[string]bool { return map[string]bool{"av": true, "spam": false} })
	m.Observe(&mail.Event{Client: "shop", Stage: "scan", Outcome: mail.Rejected, Code: 550, Rule: "scanner av", Scans: []mail.ScanEvent{
		{Scanner: "av", Verdict: "virus", Took: 2 * time.Millisecond},
		{Scanner: "dlp", Verdict: "cut", Took: time.Millisecond},
		{Scanner: "spam", Verdict: "fault", Took: time.Second, Unscanned: true},
	}})
	m.Observe(&mail.Event{Client: "shop", Stage: "forward", Outcome: mail.Relayed, Scans: []mail.ScanEvent{
		{Scanner: "av", Verdict: "clean", Cached: true}, {Scanner: "dlp", Verdict: "too_large", Unscanned: true},
	}})
	_, body := get(t, Handler(m, alwaysReady, ourNames), "GET", "/metrics")
	for _, want := range []string{
		`relay_scan_total{scanner="av",verdict="virus"} 1`,
		`relay_scan_total{scanner="av",verdict="clean"} 1`,
		`relay_scan_total{scanner="dlp",verdict="cut"} 1`,
		`relay_scan_seconds_count{scanner="av"} 1`,
		`relay_scan_unscanned_total{scanner="spam"} 1`,
		`relay_scan_unscanned_total{scanner="dlp"} 1`,
		`relay_scanner_up{scanner="av"} 1`,
		`relay_scanner_up{scanner="spam"} 0`,
		`relay_refusals_total{code="550",rule="scanner"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("has no %s", want)
		}
	}
	if strings.Contains(body, `relay_scan_seconds_count{scanner="dlp"}`) {
		t.Error("a scanner that was not waited for has a time to its verdict")
	}
}

// TestSeriesAreThereFromTheStartAndBounded: with 0 before the first event, and no more of
// them after ten thousand senders, domains, replies and codes of others.
func TestSeriesAreThereFromTheStartAndBounded(t *testing.T) {
	m := NewMetrics(func() int64 { return 0 })
	m.WatchState("v1", func() Measured {
		return Measured{Suspensions: map[string]int{"sender": 0}, Listings: map[string]int{"addresses": 0}, Identity: map[string]bool{"spf": true},
			Conditions: map[string]int{"store": 0}, Halves: map[string]int64{"kept": 2}, Copies: map[string]int64{"crash": 0}, Certificates: map[string]time.Time{"mta": time.Unix(1e9, 0)}, ReloadOK: true, Reloaded: time.Unix(1e9, 0), Sensitivity: 0.83}
	})
	m.Expect(Names{Clients: map[string]string{"shop": "news"}, Upstreams: []string{"out"}, Limits: []string{"sender"}, Scanners: []string{"av"}, Channels: []string{"ops"}})
	h := Handler(m, alwaysReady, ourNames)
	_, body := get(t, h, "GET", "/metrics")
	for _, want := range []string{
		`relay_transactions_total{client="shop",outcome="deferred",stage="rcpt",stream="news"} 0`,
		`relay_recipients_total{client="shop",outcome="relayed",stream="news"} 0`,
		`relay_relayed_bytes_total{client="shop",stream="news"} 0`,
		`relay_limit_decisions_total{limit="sender",result="would_refuse"} 0`,
		`relay_upstream_replies_total{class="4xx",status="other",upstream="out"} 0`,
		`relay_upstream_refusals_total{class="listed-ip",upstream="out"} 0`,
		`relay_scan_total{scanner="av",verdict="fault"} 0`,
		`relay_stage_seconds_count{stage="limit"} 0`, `relay_stage_seconds_count{stage="upstream_data"} 0`,
		`relay_alerts_total{channel="ops",result="failed"} 0`,
		`relay_suspensions{kind="sender"} 0`, `relay_listings{kind="addresses"} 0`, `relay_identity_ok{check="spf"} 1`, `relay_outlier_sensitivity 0.83`, `relay_alert_conditions{kind="store"} 0`, `relay_halves_total{what="kept"} 2`, `relay_possible_copies_total{cause="crash"} 0`,
		`relay_certificate_expiry_timestamp_seconds{listener="mta"} 1e+09`, `relay_config_last_reload_successful 1`, `relay_build_info{version="v1"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	send := func(n int) {
		for i := range n {
			code := []int{250, 450, 550, 221, 999}[i%5]
			m.Observe(&mail.Event{
				Client: "shop", Stream: "news", Stage: "forward", Outcome: mail.Relayed, Upstream: "out", From: fmt.Sprintf("s%d@d%d.example", i, i),
				Took:   mail.StageTimes{Limit: time.Millisecond},
				To:     []mail.RecipientEvent{{Address: fmt.Sprintf("r@d%d.example", i), Outcome: mail.Relayed, Rule: "upstream", Code: code, Status: fmt.Sprintf("%d.%d.%d", code/100, i%97, i)}},
				Limits: []mail.LimitEvent{{Limit: "sender", Key: fmt.Sprint(i), Refused: i%2 == 0, Shadow: i%4 == 0}},
			})
		}
	}
	count := func() int {
		_, body := get(t, h, "GET", "/metrics")
		n := 0
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "relay_") {
				n++
			}
		}
		return n
	}
	send(500)
	few := count()
	send(10_000)
	if many := count(); many > few+len(statuses)*3 {
		t.Errorf("%d series became %d", few, many)
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
	if got := statuses; len(got) != 40 {
		t.Errorf("%d status codes", len(got))
	}
}
