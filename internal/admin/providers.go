package admin

import "github.com/prometheus/client_golang/prometheus"

// ProviderLane is the use of one group of receivers by one upstream with mx = true.
type ProviderLane struct {
	Upstream string `json:"upstream"`
	Provider string `json:"provider"` // "other": all hosts that are in no group
	// Sources are how many addresses of ours it was used from since the start.
	Sources int    `json:"sources"`
	InUse   int    `json:"transactions"`
	Open    int    `json:"connections"` // those that are idle included
	Waiting int    `json:"waiting"`     // transactions without a connection
	Refused uint64 `json:"crowded"`     // transactions that found no room, or no turn, in time
}

// providers reads the use of groups when it is asked for it.
type providers struct {
	lanes                         func() []ProviderLane
	inUse, open, waiting, refused *prometheus.Desc
}

// WatchProviders adds the metrics of groups of receivers; lanes returns each pair of
// upstream and group once. It is called once, and lanes from several goroutines.
func (m *Metrics) WatchProviders(lanes func() []ProviderLane) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"upstream", "provider"}, nil)
	}
	m.registry.MustRegister(&providers{
		lanes:   lanes,
		inUse:   desc("relay_provider_transactions", "Transactions under way with hosts of a group of receivers."),
		open:    desc("relay_provider_connections", "Connections with hosts of a group of receivers, idle ones included."),
		waiting: desc("relay_provider_waiting", "Transactions that wait for a connection with a group of receivers."),
		refused: desc("relay_provider_crowded_total", "Transactions that found no connection, or no turn by the pace, with a group of receivers in time."),
	})
}

// Describe implements prometheus.Collector.
func (p *providers) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.inUse, p.open, p.waiting, p.refused} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (p *providers) Collect(to chan<- prometheus.Metric) {
	for _, l := range p.lanes() {
		to <- prometheus.MustNewConstMetric(p.inUse, prometheus.GaugeValue, float64(l.InUse), l.Upstream, l.Provider)
		to <- prometheus.MustNewConstMetric(p.open, prometheus.GaugeValue, float64(l.Open), l.Upstream, l.Provider)
		to <- prometheus.MustNewConstMetric(p.waiting, prometheus.GaugeValue, float64(l.Waiting), l.Upstream, l.Provider)
		to <- prometheus.MustNewConstMetric(p.refused, prometheus.CounterValue, float64(l.Refused), l.Upstream, l.Provider)
	}
}
