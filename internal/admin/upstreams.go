package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// UpstreamHost is what metrics and relay status tell of one host of an upstream.
type UpstreamHost struct {
	Upstream string `json:"upstream"` // in the configuration
	Host     string `json:"host"`     // "name:port"
	Up       bool   `json:"up"`
	// Since is when Up became what it is; zero: never down.
	Since       time.Time `json:"since,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"` // zero: none yet, and then no metric
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastError   string    `json:"last_error,omitempty"` // of the last failure; stays when the host is up again
	Surplus     uint64    `json:"surplus_replies"`      // connections ended because of a reply that nobody had asked for
	// PerConnection is how many messages the host has shown to take on one
	// connection; 0: nothing is known of that.
	PerConnection int `json:"messages_per_connection,omitempty"`
	// DSN: it offered DSN in its last reply to EHLO.
	DSN bool `json:"dsn,omitempty"`
	// InUse counts the connections of transactions, Idle those that are kept for the next
	// ones; Max is how many both may be.
	InUse int `json:"connections_in_use"`
	Idle  int `json:"connections_idle"`
	Max   int `json:"connections_max"`
}

// upstreams reads the states of hosts when it is asked for them, so that each
// name goes with the configuration.
type upstreams struct {
	hosts                             func() []UpstreamHost
	up, success, surplus, connections *prometheus.Desc
}

// WatchUpstreams adds the metrics of upstream hosts; hosts returns those of the
// configuration in force. It is called once, and hosts from several goroutines.
func (m *Metrics) WatchUpstreams(hosts func() []UpstreamHost) {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"upstream", "host"}, more...), nil)
	}
	m.registry.MustRegister(&upstreams{
		hosts:       hosts,
		up:          desc("relay_upstream_up", "1 while the host's last try did not fail, else 0."),
		success:     desc("relay_upstream_last_success_timestamp_seconds", "When the host last answered as it should."),
		surplus:     desc("relay_upstream_surplus_replies_total", "Connections ended because of a reply that nobody had asked for."),
		connections: desc("relay_upstream_connections", "Connections with the host: in use by transactions, or idle.", "state"),
	})
}

// Describe implements prometheus.Collector.
func (u *upstreams) Describe(to chan<- *prometheus.Desc) {
	to <- u.up
	to <- u.success
	to <- u.surplus
	to <- u.connections
}

// Collect implements prometheus.Collector.
func (u *upstreams) Collect(to chan<- prometheus.Metric) {
	for _, h := range u.hosts() {
		up := 0.0
		if h.Up {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(u.up, prometheus.GaugeValue, up, h.Upstream, h.Host)
		to <- prometheus.MustNewConstMetric(u.surplus, prometheus.CounterValue, float64(h.Surplus), h.Upstream, h.Host)
		to <- prometheus.MustNewConstMetric(u.connections, prometheus.GaugeValue, float64(h.InUse), h.Upstream, h.Host, "in_use")
		to <- prometheus.MustNewConstMetric(u.connections, prometheus.GaugeValue, float64(h.Idle), h.Upstream, h.Host, "idle")
		if !h.LastSuccess.IsZero() {
			seconds := float64(h.LastSuccess.UnixMilli()) / 1000
			to <- prometheus.MustNewConstMetric(u.success, prometheus.GaugeValue, seconds, h.Upstream, h.Host)
		}
	}
}
