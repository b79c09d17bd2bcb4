package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"postern/mail"
)

// countScans counts the verdicts of one message.
func (m *Metrics) countScans(scans []mail.ScanEvent) {
	for i := range scans {
		s := &scans[i]
		m.scans.WithLabelValues(s.Scanner, s.Verdict).Inc()
		if s.Verdict != "cut" && s.Verdict != "too_large" && !s.Cached {
			m.scanSeconds.WithLabelValues(s.Scanner).Observe(s.Took.Seconds())
		}
		if s.Unscanned {
			m.unscanned.WithLabelValues(s.Scanner).Inc()
		}
	}
}

// countAttachments counts what was found in one message; nil counts nothing.
func (m *Metrics) countAttachments(a *mail.AttachmentEvent) {
	if a == nil {
		return
	}
	verdict := "clean"
	switch {
	case a.Refused != "":
		verdict = "refused"
	case a.Encrypted != "":
		verdict = "encrypted"
	case a.Ambiguous != "":
		verdict = "ambiguous"
	}
	m.attachments.WithLabelValues(verdict).Inc()
}

// countLinks counts what lists said of one message; nil counts nothing.
func (m *Metrics) countLinks(l *mail.LinkEvent) {
	if l == nil {
		return
	}
	for i := range l.Lists {
		m.links.WithLabelValues(l.Lists[i].List, l.Lists[i].Verdict).Inc()
	}
	m.linksLeft.Add(float64(l.Left))
	m.linkSeconds.Observe(l.Took.Seconds())
}

// WatchScanners adds the metric of scanners that are up; states returns those of
// the configuration in force, by name. It is called once, and states from several
// goroutines.
func (m *Metrics) WatchScanners(states func() map[string]bool) {
	m.registry.MustRegister(&scanners{states: states, up: prometheus.NewDesc("relay_scanner_up",
		"1 while the scanner answers and finds its canary, else 0.", []string{"scanner"}, nil)})
}

// scanners collects the states at each scrape.
type scanners struct {
	states func() map[string]bool
	up     *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s *scanners) Describe(to chan<- *prometheus.Desc) { to <- s.up }

// Collect implements prometheus.Collector.
func (s *scanners) Collect(to chan<- prometheus.Metric) {
	for name, up := range s.states() {
		value := 0.0
		if up {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, value, name)
	}
}
