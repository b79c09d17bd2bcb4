// Package admin is the operator's side of a running relay: metrics and health
// over HTTP on loopback, and the control socket that the commands speak to.
package admin

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postern/mail"
)

// Metrics counts events. Its labels are names from the configuration and fixed
// words: no address and no sender ever becomes one.
type Metrics struct {
	registry     *prometheus.Registry
	transactions *prometheus.CounterVec
	recipients   *prometheus.CounterVec
	octets       *prometheus.CounterVec
	refused      *prometheus.CounterVec
	limits       *prometheus.CounterVec
	classes      *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	changes      *prometheus.CounterVec
	state        *prometheus.GaugeVec
}

// NewMetrics makes the counters; connections is how many are open now.
func NewMetrics(connections func() int64) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		transactions: counter("relay_transactions_total", "Transactions by how they ended.", "client", "stream", "stage", "outcome"),
		recipients:   counter("relay_recipients_total", "Recipients by how they ended.", "client", "stream", "outcome"),
		octets:       counter("relay_relayed_bytes_total", "Octets of relayed messages as the clients sent them.", "client", "stream"),
		refused:      counter("relay_refusals_total", "Transactions that ended in a refusal, by reply code and kind of rule.", "code", "rule"),
		limits:       counter("relay_limit_refusals_total", "Windows of limits that had no room.", "limit", "mode"),
		classes:      counter("relay_upstream_refusals_total", "Recipients that the upstream refused or deferred, by class of its reply.", "upstream", "class"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "relay_transaction_seconds", Help: "Time from MAIL to the last reply.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"outcome"}),
		changes: counter("relay_state_changes_total", "Changes of state of what the relay depends on.", "part", "state"),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_state", Help: "1 for the state that a part is in.",
		}, []string{"part", "state"}),
	}
	m.registry.MustRegister(m.transactions, m.recipients, m.octets, m.refused, m.limits, m.classes, m.seconds, m.changes, m.state,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "relay_connections", Help: "Open SMTP connections."},
			func() float64 { return float64(connections()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts one event.
func (m *Metrics) Observe(e *mail.Event) {
	m.transactions.WithLabelValues(e.Client, e.Stream, e.Stage, e.Outcome).Inc()
	m.seconds.WithLabelValues(e.Outcome).Observe(e.Duration.Seconds())
	if e.Outcome == mail.Relayed {
		m.octets.WithLabelValues(e.Client, e.Stream).Add(float64(e.Size))
	} else if e.Outcome != mail.Aborted {
		m.refused.WithLabelValues(strconv.Itoa(e.Code), kindOf(e.Rule)).Inc()
	}
	for i := range e.To {
		m.recipients.WithLabelValues(e.Client, e.Stream, e.To[i].Outcome).Inc()
		if c := e.To[i].Class; c != "" {
			m.classes.WithLabelValues(e.Upstream, c).Inc()
		}
	}
	for i := range e.Limits {
		if l := &e.Limits[i]; l.Refused {
			mode := "enforce"
			if l.Shadow {
				mode = "shadow"
			}
			m.limits.WithLabelValues(l.Limit, mode).Inc()
		}
	}
}

// kindOf is the first word of a rule: the rest may be a name that a sender
// chose.
func kindOf(rule string) string {
	kind, _, _ := strings.Cut(rule, " ")
	return kind
}

// SetState notes that part ("limit store", say) has gone from one state to
// another; from is "" at the start.
func (m *Metrics) SetState(part, from, to string) {
	if from != "" {
		m.state.WithLabelValues(part, from).Set(0)
		m.changes.WithLabelValues(part, to).Inc()
	}
	m.state.WithLabelValues(part, to).Set(1)
}

// CountChange counts one of many things of a kind ("outlier sender", say) that
// went into a state.
func (m *Metrics) CountChange(kind, to string) { m.changes.WithLabelValues(kind, to).Inc() }

// Handler serves /metrics, /healthz and /readyz. ready is nil while mail is
// taken, and says otherwise what is missing.
func Handler(m *Metrics, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ok\n"))
	})
	return mux
}
