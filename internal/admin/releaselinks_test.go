package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReleasePage: GET changes nothing, POST releases, names of senders are inert, and
// nobody keeps, frames or passes on the page.
func TestReleasePage(t *testing.T) {
	released := ""
	var fault error
	links := ReleaseLinks{
		Find: func(token string) (s Suspension, err error) {
			if token != "good" {
				return s, ErrReleased
			}
			return Suspension{Relay: "relay.example.org", Scope: "sender", Name: "<script>alert(1)</script>@example.org", Reason: "\"><img src=x>"}, nil
		},
		Release: func(token, by string) (Suspension, error) {
			released = token + " " + by
			return Suspension{Scope: "sender", Name: "<b>"}, fault
		},
	}
	h := Handler(NewMetrics(func() int64 { return 0 }), func() Readiness { return Readiness{} }, func() []string { return []string{"relay.example.org"} }, links.Serve)
	ask := func(method, path, host string) (int, http.Header, string) {
		r := httptest.NewRequest(method, path, nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Header(), w.Body.String()
	}
	code, head, body := ask("GET", "/release/good", "relay.example.org:8025")
	if code != 200 || released != "" || strings.Contains(body, "<script") || strings.Contains(body, "<img") || !strings.Contains(body, `<form method="post"><button`) {
		t.Errorf("%d, released %q\n%s", code, released, body)
	}
	if head.Get("Referrer-Policy") != "no-referrer" || head.Get("Cache-Control") != "no-store" || !strings.Contains(head.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("%v", head)
	}
	for path, want := range map[string]int{"/release/bad": 404, "/release/": 404, "/release/a/b": 404} {
		if code, _, body := ask("GET", path, "127.0.0.1"); code != want || strings.Contains(body, "<form") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _, _ := ask("POST", "/release/good", "evil.example"); code != 421 || released != "" {
		t.Errorf("a name of somebody else's: %d", code)
	}
	for _, method := range []string{"HEAD", "PUT", "DELETE"} {
		if ask(method, "/release/good", "127.0.0.1"); released != "" {
			t.Errorf("%s released", method)
		}
	}
	if code, _, body := ask("POST", "/release/good", "127.0.0.1"); code != 200 || released != "good 192.0.2.1" || strings.Contains(body, "<b>") {
		t.Errorf("%d %q\n%s", code, released, body)
	}
	fault = ErrReleased
	if code, _, _ := ask("POST", "/release/good", "127.0.0.1"); code != 404 {
		t.Error(code)
	}
	fault = errors.New("disk")
	if code, _, body := ask("POST", "/release/good", "127.0.0.1"); code != 500 || strings.Contains(body, "<form") {
		t.Errorf("%d %s", code, body)
	}
}
