// Package admin is the operator's side of a running relay: metrics and health
// over HTTP on loopback, and the control socket that the commands speak to.
//
// Metrics come from the same events as log and journal, so that all three tell the
// same; no address and no sender is a label, for a sender could then choose how many
// there are. Health has two questions: is the process alive, and would it take mail
// now? Only the second asks what lies behind it. The control socket is a file that
// only the relay's own user and root can open, and that is all its protection.
package admin

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

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
	forwarded    *prometheus.CounterVec
	classes      *prometheus.CounterVec
	scans        *prometheus.CounterVec
	unscanned    *prometheus.CounterVec
	attachments  *prometheus.CounterVec
	links        *prometheus.CounterVec
	linksLeft    prometheus.Counter
	linkSeconds  prometheus.Histogram
	scanSeconds  *prometheus.HistogramVec
	seconds      *prometheus.HistogramVec
	changes      *prometheus.CounterVec
	alerts       *prometheus.CounterVec
	state        *prometheus.GaugeVec
	decisions    *prometheus.CounterVec
	replies      *prometheus.CounterVec
	byProvider   *prometheus.CounterVec
	stages       *prometheus.HistogramVec
	stage        []prometheus.Observer // in the order of mail.StageNames

	mu    sync.Mutex                       // held to add to known
	known atomic.Pointer[map[kind]*series] // never changed, but replaced
}

// kind is what has counters of its own. All of it is from the configuration or a
// fixed word, so that there are few.
type kind struct{ client, stream, stage, outcome string }

// series are the counters of a kind, found once: to find one by its labels costs
// more than to count.
type series struct {
	count, octets prometheus.Counter
	seconds       prometheus.Observer
	recipients    func() prometheus.Counter // that ended as the transaction did; there from the first one on
}

// NewMetrics makes the counters; connections is how many are open now.
func NewMetrics(connections func() int64) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	times := func(name, help, label string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{label})
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		transactions: counter("relay_transactions_total", "Transactions by how they ended.", "client", "stream", "stage", "outcome"),
		recipients:   counter("relay_recipients_total", "Recipients by how they ended.", "client", "stream", "outcome"),
		octets:       counter("relay_relayed_bytes_total", "Octets of relayed messages as the clients sent them.", "client", "stream"),
		refused:      counter("relay_refusals_total", "Transactions that ended in a refusal, by reply code and kind of rule.", "code", "rule"),
		limits:       counter("relay_limit_refusals_total", "Windows of limits that had no room.", "limit", "mode"),
		forwarded:    counter("relay_forwarded_total", "Relayed messages with an author who is not the client's own, by what let them pass.", "client", "kind"),
		classes:      counter("relay_upstream_refusals_total", "Recipients that the upstream refused or deferred, by class of its reply.", "upstream", "class"),
		scans:        counter("relay_scan_total", "Verdicts of scanners.", "scanner", "verdict"),
		unscanned:    counter("relay_scan_unscanned_total", "Messages that went on without a verdict of the scanner.", "scanner"),
		attachments:  counter("relay_attachments_total", "Messages whose attachments were looked at.", "verdict"),
		links:        counter("relay_links_total", "Messages whose links were looked up.", "list", "verdict"),
		linksLeft:    prometheus.NewCounter(prometheus.CounterOpts{Name: "relay_links_left_total", Help: "Hosts that lists were not asked about."}),
		linkSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "relay_links_seconds", Help: "Time to look up the links of a message.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 10},
		}),
		scanSeconds: times("relay_scan_seconds", "Time to the verdict of a scanner.", "scanner",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120),
		seconds: times("relay_transaction_seconds", "Time from MAIL to the last reply.", "outcome",
			.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300),
		changes:    counter("relay_state_changes_total", "Changes of state of what the relay depends on.", "part", "state"),
		decisions:  counter("relay_limit_decisions_total", "Windows of limits by what they decided.", "limit", "result"),
		replies:    counter("relay_upstream_replies_total", "Recipients by the upstream's last reply about them: class of the code, and enhanced status code where it is a common one.", "upstream", "class", "status"),
		byProvider: counter("relay_provider_replies_total", "Recipients by the last reply of their own host about them, and by the group of receivers that it belongs to.", "upstream", "provider", "class"),
		stages: times("relay_stage_seconds", "Time that transactions spent in a stage: ours, the client's (body) or the upstream's.", "stage",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60),
		alerts: counter("relay_alerts_total", "Tries to deliver alerts, by how they ended.", "channel", "result"),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_state", Help: "1 for the state that a part is in.",
		}, []string{"part", "state"}),
	}
	m.known.Store(&map[kind]*series{})
	for _, name := range mail.StageNames() {
		m.stage = append(m.stage, m.stages.WithLabelValues(name))
	}
	m.registry.MustRegister(m.transactions, m.recipients, m.octets, m.refused, m.limits, m.forwarded, m.classes, m.scans, m.unscanned, m.attachments, m.links, m.linksLeft, m.linkSeconds, m.scanSeconds, m.seconds, m.changes, m.alerts, m.state, m.decisions, m.replies, m.byProvider, m.stages,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "relay_connections", Help: "Open SMTP connections."},
			func() float64 { return float64(connections()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts one event.
func (m *Metrics) Observe(e *mail.Event) {
	s := m.series(kind{client: e.Client, stream: e.Stream, stage: e.Stage, outcome: e.Outcome})
	s.count.Inc()
	s.seconds.Observe(e.Duration.Seconds())
	if e.Outcome == mail.Relayed {
		s.octets.Add(float64(e.Size))
		if e.Forwarded != "" {
			kind, _, _ := strings.Cut(e.Forwarded, ":")
			m.forwarded.WithLabelValues(e.Client, kind).Inc()
		}
	} else if e.Outcome != mail.Aborted {
		m.refused.WithLabelValues(strconv.Itoa(e.Code), kindOf(e.Rule)).Inc()
	}
	same := 0
	for i := range e.To {
		if outcome := e.To[i].Outcome; outcome == mail.Relayed && !e.To[i].Left() {
			continue // counted when it left; relay_halves_total has it as left out
		} else if outcome == e.Outcome {
			same++
		} else {
			m.recipients.WithLabelValues(e.Client, e.Stream, outcome).Inc()
		}
		if e.To[i].Rule == "upstream" {
			m.countReply(e.Upstream, &e.To[i])
		}
		if c := e.To[i].Class; c != "" {
			m.classes.WithLabelValues(e.Upstream, string(c)).Inc()
		}
	}
	if same > 0 {
		s.recipients().Add(float64(same))
	}
	m.countScans(e.Scans)
	m.countAttachments(e.Attachments)
	m.countLinks(e.Links)
	for i, took := range e.Took.All() {
		if took > 0 {
			m.stage[i].Observe(took.Seconds())
		}
	}
	for i := range e.Limits {
		m.decisions.WithLabelValues(e.Limits[i].Limit, decision(&e.Limits[i])).Inc()
		if l := &e.Limits[i]; l.Refused {
			mode := "enforce"
			if l.Shadow {
				mode = "shadow"
			}
			m.limits.WithLabelValues(l.Limit, mode).Inc()
		}
	}
}

// series returns the counters of a kind, which are there from its first event on.
func (m *Metrics) series(k kind) *series {
	if s := (*m.known.Load())[k]; s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := maps.Clone(*m.known.Load())
	if known[k] == nil {
		known[k] = m.newSeries(k)
		m.known.Store(&known)
	}
	return known[k]
}

func (m *Metrics) newSeries(k kind) *series {
	s := &series{
		count:      m.transactions.WithLabelValues(k.client, k.stream, k.stage, k.outcome),
		seconds:    m.seconds.WithLabelValues(k.outcome),
		recipients: sync.OnceValue(func() prometheus.Counter { return m.recipients.WithLabelValues(k.client, k.stream, k.outcome) }),
	}
	if k.outcome == mail.Relayed {
		s.octets = m.octets.WithLabelValues(k.client, k.stream)
	}
	return s
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

// CountAlert counts a try to deliver an alert to a channel: "sent", "failed" or "given_up".
func (m *Metrics) CountAlert(channel, result string) { m.alerts.WithLabelValues(channel, result).Inc() }

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
