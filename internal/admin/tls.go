package admin

import "github.com/prometheus/client_golang/prometheus"

// TLSUse is how TLS with receivers went by one upstream with mx = true, since it
// began.
type TLSUse struct {
	Upstream string     `json:"upstream"`
	Counts   []TLSCount `json:"counts"`
	// Reported sessions were handed to the collector of reports; Lost could not be.
	Reported uint64 `json:"reported"`
	Lost     uint64 `json:"lost"`
}

// TLSCount is how many sessions ended in one way.
type TLSCount struct {
	Policy   string `json:"policy"` // dane, sts, none
	Result   string `json:"result"` // "success", or as in RFC 8460
	Sessions uint64 `json:"sessions"`
}

// tlsUse reads the counts when it is asked for them.
type tlsUse struct {
	use            func() []TLSUse
	sessions, lost *prometheus.Desc
}

// WatchTLS adds the metrics of TLS with receivers. It is called once, and use from
// several goroutines.
func (m *Metrics) WatchTLS(use func() []TLSUse) {
	m.registry.MustRegister(&tlsUse{
		use: use,
		sessions: prometheus.NewDesc("relay_upstream_tls_total", "Attempts to speak TLS with hosts of receivers, by the policy of the domain (dane, sts, none) and the result (success, or as in RFC 8460).",
			[]string{"upstream", "policy", "result"}, nil),
		lost: prometheus.NewDesc("relay_tls_reports_lost_total", "Sessions that the collector of TLS reports could not be told of.", []string{"upstream"}, nil),
	})
}

// Describe implements prometheus.Collector.
func (t *tlsUse) Describe(to chan<- *prometheus.Desc) {
	to <- t.sessions
	to <- t.lost
}

// Collect implements prometheus.Collector.
func (t *tlsUse) Collect(to chan<- prometheus.Metric) {
	for _, u := range t.use() {
		for _, c := range u.Counts {
			to <- prometheus.MustNewConstMetric(t.sessions, prometheus.CounterValue, float64(c.Sessions), u.Upstream, c.Policy, c.Result)
		}
		to <- prometheus.MustNewConstMetric(t.lost, prometheus.CounterValue, float64(u.Lost), u.Upstream)
	}
}
