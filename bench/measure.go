package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// measure is what one process did under one load.
type measure struct {
	Messages int     `json:"messages"`
	Rate     float64 `json:"rate"`   // transactions a second, median of the rounds
	P50      float64 `json:"p50_ms"` // from MAIL to the final reply
	P99      float64 `json:"p99_ms"`
	CPU      float64 `json:"cpu_ms"`   // of the process, per transaction
	Peak     float64 `json:"peak_mib"` // resident memory
	Rounds   []round `json:"rounds,omitempty"`
}

// round is what one round gave.
type round struct {
	Messages int     `json:"messages"`
	Rate     float64 `json:"rate"`
	CPU      float64 `json:"cpu_ms"`
	P50      float64 `json:"p50_ms"`
}

// meter gathers the rounds of one process.
type meter struct {
	*subject
	rounds    []round
	latencies []time.Duration
	messages  int
	used      time.Duration
}

// round puts the process under load once.
func (m *meter) round(ctx context.Context, p *plan, d time.Duration, limit int) error {
	before, err := m.cpu()
	if err != nil {
		return err
	}
	l, err := p.run(ctx, m.addr, d, limit)
	if err != nil {
		return fmt.Errorf("%s: %w; %s", m.name, err, m.lastLines())
	}
	after, err := m.cpu()
	if err != nil {
		return err
	}
	n := l.messages + l.refused
	m.rounds = append(m.rounds, round{n, l.rate(), ms(after-before) / float64(max(n, 1)), ms(l.quantile(0.5))})
	m.latencies = append(m.latencies, l.latencies...)
	m.messages += n
	m.used += after - before
	return nil
}

func (m *meter) result() (measure, error) {
	_, peak, err := m.memory()
	if err != nil {
		return measure{}, err
	}
	if m.messages == 0 {
		return measure{}, fmt.Errorf("%s: no message went through", m.name)
	}
	slices.Sort(m.latencies)
	rates := make([]float64, len(m.rounds))
	for i, r := range m.rounds {
		rates[i] = r.Rate
	}
	return measure{
		Messages: m.messages,
		Rate:     median(rates),
		P50:      ms(quantile(m.latencies, 0.5)),
		P99:      ms(quantile(m.latencies, 0.99)),
		CPU:      ms(m.used) / float64(m.messages),
		Peak:     float64(peak) / 1024,
		Rounds:   m.rounds,
	}, nil
}

// median of the figures, which it sorts.
func median(figures []float64) float64 {
	slices.Sort(figures)
	n := len(figures)
	return (figures[(n-1)/2] + figures[n/2]) / 2
}

// throughputs is the ratio of the rates: the median of those of the rounds,
// since both sides of a round met the same machine, which minutes later is a
// faster or a slower one.
func throughputs(relay, base measure) float64 {
	if len(relay.Rounds) != len(base.Rounds) || len(relay.Rounds) == 0 {
		return relay.Rate / base.Rate
	}
	ratios := make([]float64, len(relay.Rounds))
	for i := range ratios {
		ratios[i] = relay.Rounds[i].Rate / base.Rounds[i].Rate
	}
	return median(ratios)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// bar is what is expected of a figure of a row.
type bar struct {
	what     string
	least    bool // the figure is to be at least that, not at most
	bar, aim float64
	figure   func(relay, base measure) float64
}

func ratio(f func(measure) float64) func(relay, base measure) float64 {
	return func(relay, base measure) float64 { return f(relay) / f(base) }
}

func alone(f func(measure) float64) func(relay, base measure) float64 {
	return func(relay, _ measure) float64 { return f(relay) }
}

func rate(m measure) float64 { return m.Rate }
func cpu(m measure) float64  { return m.CPU }
func p50(m measure) float64  { return m.P50 }
func p99(m measure) float64  { return m.P99 }
func peak(m measure) float64 { return m.Peak }

func throughput(least, aim float64) bar {
	return bar{"messages/s to base", true, least, aim, throughputs}
}
func processor(most, aim float64) bar { return bar{"CPU to base", false, most, aim, ratio(cpu)} }

// check is a bar with the figure beside it.
type check struct {
	What  string  `json:"what"`
	Have  float64 `json:"have"`
	Least bool    `json:"least,omitempty"`
	Bar   float64 `json:"bar"`
	Aim   float64 `json:"aim"`
}

// ok reports whether the figure meets the bar.
func (c check) ok(bar float64) bool {
	if c.Least {
		return c.Have >= bar
	}
	return c.Have <= bar
}

func (c check) verdict() string {
	switch {
	case c.ok(c.Aim):
		return "aim"
	case c.ok(c.Bar):
		return "bar"
	}
	return "BELOW"
}

func checks(bars []bar, relay, base measure) []check {
	list := make([]check, 0, len(bars))
	for _, b := range bars {
		list = append(list, check{What: b.what, Have: b.figure(relay, base), Least: b.least, Bar: b.bar, Aim: b.aim})
	}
	return list
}
