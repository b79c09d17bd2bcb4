package admin

import (
	"encoding/json"
	"net/http"
	"time"
)

// What a Reason can be about.
const (
	Starting = "starting" // the listeners do not take connections yet
	Draining = "draining" // the relay is stopping
	Store    = "store"    // the shared store of limits is away
	Upstream = "upstream" // no host of it answers
	Scanner  = "scanner"  // it does not answer, or does not find its canary
	State    = "state"    // the state folder cannot be written
	Reload   = "reload"   // the last reload failed
	Alerting = "alert"    // a channel of alerts does not take them
)

// Reason is one thing that is not as it should be.
type Reason struct {
	What  string    `json:"what"`
	Name  string    `json:"name,omitempty"` // of the upstream or scanner
	Since time.Time `json:"since"`
	Text  string    `json:"text"`
}

// Readiness says whether a load balancer should send mail here: it is taken, and what is
// counted can be kept.
type Readiness struct {
	Ready bool `json:"ready"`
	// Reasons are why it is not; never nil.
	Reasons []Reason `json:"reasons"`
	// Degraded is what is wrong while the node is ready all the same; never nil.
	Degraded []Reason `json:"degraded"`
}

// Handler serves /metrics; /livez, which is 200 while the process answers, and
// /healthz, its older name; and /readyz, which is 200 while the node is ready and 503
// while it is not, with the Readiness as JSON. ready is called at each request
// for it. names are those that the port is known by; see onlyKnownHosts. more add
// further pages.
func Handler(m *Metrics, ready func() Readiness, names func() []string, more ...func(*http.ServeMux)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler())
	live := func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /healthz", live)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := ready()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !r.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(r)
	})
	for _, add := range more {
		add(mux)
	}
	return onlyKnownHosts(mux, names)
}
