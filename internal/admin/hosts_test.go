package admin

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAdminPortAnswersKnownHostsOnly: a page of attacker.example that has the
// name point at 127.0.0.1 reads nothing.
func TestAdminPortAnswersKnownHostsOnly(t *testing.T) {
	h := Handler(NewMetrics(func() int64 { return 0 }), alwaysReady, ourNames)
	for host, status := range map[string]int{
		"attacker.example":           http.StatusMisdirectedRequest,
		"attacker.example:8025":      http.StatusMisdirectedRequest,
		"127.0.0.1.attacker.example": http.StatusMisdirectedRequest,
		"localhost.attacker.example": http.StatusMisdirectedRequest,
		"0x7f.1":                     http.StatusMisdirectedRequest,
		"relay.example.org.evil":     http.StatusMisdirectedRequest,
		"relay.example.org@evil":     http.StatusMisdirectedRequest,
		"relay.example.org":          http.StatusOK,
		"Relay.Example.ORG.:8025":    http.StatusOK,
		"localhost":                  http.StatusOK,
		"localhost:8025":             http.StatusOK,
		"127.0.0.1:8025":             http.StatusOK,
		"[::1]:8025":                 http.StatusOK,
		"[::1]":                      http.StatusOK,
		"":                           http.StatusOK,
	} {
		for _, path := range []string{"/metrics", "/readyz", "/livez", "/healthz"} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			h.ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("%s of %q is %d, want %d", path, host, w.Code, status)
			}
		}
	}
}
