package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// alone starts a relay by itself.
func (r *runner) alone(ctx context.Context, conf setup) (*sink, *subject, error) {
	s, err := r.sink(false, false)
	if err != nil {
		return nil, nil, err
	}
	binary, err := r.binary(ctx, true)
	if err == nil {
		var sub *subject
		if sub, err = r.lab.startRelay(ctx, binary, conf, s.addr()); err == nil {
			return s, sub, nil
		}
	}
	s.close()
	return nil, nil, err
}

// idle measures what connections cost that have said EHLO and wait.
type idle struct{}

func (idle) title() string { return "idle connections" }

func (i idle) run(ctx context.Context, r *runner) (result, error) {
	res := result{Row: i.title()}
	s, sub, err := r.alone(ctx, setup{keys: "rsa", windows: 3, redis: r.lab.redis, journal: true})
	if err != nil {
		return res, err
	}
	defer s.close()
	defer sub.stop()
	before, _, err := sub.memory()
	if err != nil {
		return res, err
	}
	conns := make([]net.Conn, 0, r.idle)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range r.idle {
		c := client{addr: sub.addr, plan: &plan{}}
		if err := c.dial(); err != nil {
			return res, fmt.Errorf("connection %d: %w", len(conns)+1, err)
		}
		conns = append(conns, c.Conn)
	}
	after, _, err := sub.memory()
	if err != nil {
		return res, err
	}
	each := float64(after-before) / float64(len(conns))
	res.Checks = []check{{What: fmt.Sprintf("KiB for each of %d", len(conns)), Have: each, Bar: 12.9, Aim: 8}}
	return res, nil
}

// rest measures the relay before its first mail.
type rest struct{}

func (rest) title() string { return "start and rest" }

func (t rest) run(ctx context.Context, r *runner) (result, error) {
	res := result{Row: t.title()}
	var took []time.Duration
	var resident []int64
	for range max(3, r.rounds) {
		s, sub, err := r.alone(ctx, setup{keys: "rsa", windows: 3, redis: r.lab.redis, journal: true})
		if err != nil {
			return res, err
		}
		now, _, err := sub.memory()
		sub.stop()
		s.close()
		if err != nil {
			return res, err
		}
		took = append(took, sub.took)
		resident = append(resident, now)
	}
	slices.Sort(took)
	slices.Sort(resident)
	res.Checks = []check{
		{What: "memory at rest in MiB", Have: float64(resident[len(resident)/2]) / 1024, Bar: 25, Aim: 15},
		{What: "ms to the first 220", Have: ms(took[len(took)/2]), Bar: 50, Aim: 30},
	}
	return res, nil
}

// soak sends mail of a thousand senders and of mixed sizes, one in twenty
// refused, at a steady pace, and looks whether memory and latency stay.
type soak struct{}

func (soak) title() string { return "soak: 1,000 senders, mixed sizes, 5 % refused" }

// soakRate is 200,000 messages in ten minutes.
const soakRate = 333

func (k soak) run(ctx context.Context, r *runner) (result, error) {
	res := result{Row: k.title()}
	s, sub, err := r.alone(ctx, setup{keys: "rsa", windows: 3, redis: r.lab.redis, journal: true})
	if err != nil {
		return res, err
	}
	defer s.close()
	defer sub.stop()
	m := &meter{subject: sub}
	span := max(r.soak/10, time.Second) // a minute of ten
	w := watcher{began: time.Now(), span: span}
	p := plan{
		conns: 20, perConn: 100, senders: 1000, every: 20 * time.Second / soakRate, pick: mixed, onMessage: w.note,
		refuse:   func(n int) bool { return scatter(n)%20 == 7 },
		messages: []message{newMessage(2 * kib), newMessage(20 * kib), newMessage(100 * kib), newMessage(mib)},
	}
	stop := w.sample(sub)
	err = m.round(ctx, &p, r.soak, 0)
	stop()
	if err != nil {
		return res, err
	}
	if res.Relay, err = m.result(); err != nil {
		return res, err
	}
	growth, slowest := w.judge()
	res.Checks = []check{
		{What: "memory, last span to the second", Have: growth, Bar: 1.1, Aim: 1.05},
		{What: "p99, worst span to the first", Have: slowest, Bar: 2, Aim: 1.5},
	}
	return res, nil
}

// mixed is mostly small mail, with a large one now and then.
func mixed(n int) int {
	switch n = scatter(n); {
	case n%100 == 0:
		return 3
	case n%10 == 0:
		return 2
	case n%3 == 0:
		return 1
	}
	return 0
}

// scatter keeps what is rare from falling on one connection, whose mails have
// numbers that are a fixed step apart.
func scatter(n int) int { return int(uint32(n) * 2654435761 >> 8) }

// watcher follows latency and memory, span by span.
type watcher struct {
	began  time.Time
	span   time.Duration
	mu     sync.Mutex
	spans  [][]time.Duration
	memory []int64 // the most of each span
}

func (w *watcher) grow() int {
	i := int(time.Since(w.began) / w.span)
	for len(w.spans) <= i {
		w.spans, w.memory = append(w.spans, nil), append(w.memory, 0)
	}
	return i
}

func (w *watcher) note(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.grow()
	w.spans[i] = append(w.spans[i], d)
}

// sample looks at the memory ten times a second until stop is called.
func (w *watcher) sample(sub *subject) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			now, _, err := sub.memory()
			if err != nil {
				return
			}
			w.mu.Lock()
			i := w.grow()
			w.memory[i] = max(w.memory[i], now)
			w.mu.Unlock()
		}
	})
	return func() {
		close(end)
		done.Wait()
	}
}

// judge compares the spans; one that was cut short does not count.
func (w *watcher) judge() (growth, slowest float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	whole := max(1, int(time.Since(w.began)/w.span))
	first := 0.0
	for i, span := range w.spans[:min(whole, len(w.spans))] {
		slices.Sort(span)
		p := ms(quantile(span, 0.99))
		if i == 0 {
			first = p
		} else if first > 0 {
			slowest = max(slowest, p/first)
		}
	}
	last := min(whole, len(w.memory)) - 1
	return float64(w.memory[last]) / float64(w.memory[min(1, last)]), slowest
}
