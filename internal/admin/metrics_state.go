package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Measured is what metrics tell of a relay at the moment of a scrape.
type Measured struct {
	Suspensions  map[string]int       // by scope
	Listings     map[string]int       // open ones, by kind of target
	Identity     map[string]bool      // by check: nothing of it failed
	Certificates map[string]time.Time // by listener: the end of the one that ends first
	Conditions   map[string]int       // that alerts tell of, by kind
	Halves       map[string]int64     // recipients that were remembered (kept) and left out (left_out)
	Copies       map[string]int64     // recipients who may get a second copy, by cause
	ReloadOK     bool                 // the last reload, or the start
	Reloaded     time.Time
	Sensitivity  float64 // of the outlier watch, in force
}

// gauges collects what is measured.
type gauges struct {
	state                                                                                           func() Measured
	suspensions, listings, identity, certificate, conditions, ok, time, halves, copies, sensitivity *prometheus.Desc
}

// WatchState adds the metrics of what is measured and of the version. It is called once, and state
// from several goroutines.
func (m *Metrics) WatchState(version string, state func() Measured) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(info, &gauges{
		state:       state,
		suspensions: desc("relay_suspensions", "Senders, users and clients that are suspended now.", "kind"),
		listings:    desc("relay_listings", "Listings of our addresses and domains that are open.", "kind"),
		identity:    desc("relay_identity_ok", "1 while nothing of the check fails, else 0.", "check"),
		certificate: desc("relay_certificate_expiry_timestamp_seconds", "When the first certificate of the listener ends.", "listener"),
		conditions:  desc("relay_alert_conditions", "Conditions that hold, of those that alerts tell of.", "kind"),
		ok:          desc("relay_config_last_reload_successful", "1 while the last reload, or the start, went well, else 0."),
		halves:      desc("relay_halves_total", "Recipients of messages that some domains took and others did not.", "what"),
		copies:      desc("relay_possible_copies_total", "Recipients who may get a message twice.", "cause"),
		sensitivity: desc("relay_outlier_sensitivity", "Sensitivity of the outlier watch that is in force."),
		time:        desc("relay_config_last_reload_timestamp_seconds", "When the configuration was read last."),
	})
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.suspensions, g.listings, g.identity, g.certificate, g.conditions, g.ok, g.time, g.halves, g.copies, g.sensitivity} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	s := g.state()
	put := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	truth := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	for kind, n := range s.Suspensions {
		put(g.suspensions, float64(n), kind)
	}
	for kind, n := range s.Listings {
		put(g.listings, float64(n), kind)
	}
	for check, ok := range s.Identity {
		put(g.identity, truth(ok), check)
	}
	for listener, end := range s.Certificates {
		put(g.certificate, float64(end.Unix()), listener)
	}
	for kind, n := range s.Conditions {
		put(g.conditions, float64(n), kind)
	}
	count := func(d *prometheus.Desc, all map[string]int64) {
		for label, n := range all {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
		}
	}
	count(g.halves, s.Halves)
	count(g.copies, s.Copies)
	put(g.ok, truth(s.ReloadOK))
	put(g.sensitivity, s.Sensitivity)
	put(g.time, float64(s.Reloaded.Unix()))
}
