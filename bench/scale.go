package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"
)

// point is one measurement of how cost grows. Costs are processor time, because
// the machine is shared by all that takes part.
type point struct {
	Series string  `json:"series"`
	X      string  `json:"x"`
	Rate   float64 `json:"rate"`
	Relay  float64 `json:"relay_cpu_ms"` // per transaction, of all relays
	Redis  float64 `json:"redis_cpu_ms"` // per transaction, of all Redis servers
	P50    float64 `json:"p50_ms"`
	Memory float64 `json:"relay_mib"` // resident in the end, of one relay
	Store  float64 `json:"redis_mib"` // resident in the end, of all Redis servers
}

// trial is how a point is measured.
type trial struct {
	series  string
	x       string
	conf    setup
	load    plan
	nodes   int // relays; 0: 1
	cluster int // Redis servers of a Cluster; 0: the one of the lab
	noRedis bool
	count   int // transactions at least, else as many as fit into the time
}

// trials are the questions of docs/scale.md.
func trials() []trial {
	signed := setup{keys: "rsa", windows: 3, journal: true}
	bare := setup{windows: 3, quiet: true}
	small := []message{newMessage(2 * kib)}
	var list []trial
	for _, size := range []int{2 * kib, 20 * kib, 100 * kib, mib, 20 * mib} {
		list = append(list, trial{series: "body", x: octets(size), conf: signed, load: plan{conns: 4, messages: []message{newMessage(size)}}})
	}
	for _, n := range []int{1, 10, 50, 100} {
		list = append(list, trial{series: "recipients", x: fmt.Sprint(n), conf: signed, load: plan{conns: 4, recipients: n, messages: small}})
	}
	for _, noRedis := range []bool{false, true} {
		name := map[bool]string{false: "limits in Redis", true: "limits embedded"}[noRedis]
		for _, c := range []struct{ windows, limits int }{{0, 0}, {1, 0}, {3, 0}, {3, 3}, {3, 7}} {
			list = append(list, trial{
				series: name, x: fmt.Sprintf("%d windows", c.windows+c.limits), noRedis: noRedis,
				conf: setup{windows: c.windows, limits: c.limits, quiet: true}, load: plan{conns: 8, messages: small},
			})
		}
		for _, n := range []int{1e3, 1e4, 1e5, 1e6} {
			list = append(list, trial{
				series: strings.Replace(name, "limits", "senders", 1), x: fmt.Sprint(n), noRedis: noRedis, conf: bare,
				load: plan{conns: 8, senders: n, messages: small}, count: n,
			})
		}
	}
	for _, limits := range []int{0, 1, 3} {
		list = append(list, trial{
			series: "limits on a Cluster of 3", x: fmt.Sprintf("%d windows", 3+limits), cluster: 3,
			conf: setup{windows: 3, limits: limits, quiet: true}, load: plan{conns: 8, messages: small},
		})
	}
	for _, n := range []int{1, 2, 4} {
		list = append(list, trial{series: "nodes on one Redis", x: fmt.Sprint(n), conf: bare, nodes: n, load: plan{conns: 8, messages: small}})
	}
	for _, n := range []int{1, 2, 4} {
		list = append(list, trial{series: "nodes on a Cluster of 3", x: fmt.Sprint(n), conf: bare, nodes: n, cluster: 3, load: plan{conns: 8, messages: small}})
	}
	return list
}

func octets(n int) string {
	if n >= mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d KiB", n/kib)
}

// scale runs the trials that are wanted and prints them.
func (o *options) scale(ctx context.Context, out io.Writer) ([]point, error) {
	var points []point
	fmt.Fprintln(out, " msg/s  relay CPU ms  Redis CPU ms  p50 ms  relay MiB  Redis MiB  what")
	for _, tr := range trials() {
		if !o.run.MatchString(tr.series) {
			continue
		}
		p, err := tr.run(ctx, &o.runner)
		if err != nil {
			return points, fmt.Errorf("%s, %s: %w", tr.series, tr.x, err)
		}
		points = append(points, p)
		fmt.Fprintf(out, "%6.0f  %12.3f  %12.3f  %6.2f  %9.0f  %9.0f  %s: %s\n", p.Rate, p.Relay, p.Redis, p.P50, p.Memory, p.Store, p.Series, p.X)
	}
	return points, nil
}

func (tr trial) run(ctx context.Context, r *runner) (point, error) {
	p := point{Series: tr.series, X: tr.x}
	s, err := newSink(true, nil)
	if err != nil {
		return p, err
	}
	defer s.close()
	stores, err := tr.stores(ctx, r)
	if err != nil {
		return p, err
	}
	for _, q := range stores {
		defer q.stop()
	}
	tr.conf.redis = addresses(stores)
	binary, err := r.binary(ctx, true)
	if err != nil {
		return p, err
	}
	// All relays of one trial share their limits.
	tr.conf.prefix = fmt.Sprintf("scale%d", time.Now().UnixNano())
	var meters []*meter
	for range max(1, tr.nodes) {
		sub, err := r.lab.startRelay(ctx, binary, tr.conf, s.addr())
		if err != nil {
			return p, err
		}
		defer sub.stop()
		meters = append(meters, &meter{subject: sub})
	}
	before, err := used(stores)
	if err != nil {
		return p, err
	}
	if err := tr.load1(ctx, r, meters); err != nil {
		return p, err
	}
	after, err := used(stores)
	if err != nil {
		return p, err
	}
	return p, p.sum(meters, stores, after-before)
}

// load1 puts all relays under load at one time.
func (tr trial) load1(ctx context.Context, r *runner, meters []*meter) error {
	d, limit := r.duration, 0
	if tr.count > 0 {
		limit = int(math.Ceil(float64(tr.count) / float64(tr.load.conns)))
		d = max(d, 10*time.Minute)
		if limit < 1000 { // all senders, and enough mail to measure
			limit = 1000
		}
	}
	errs := make([]error, len(meters))
	var wg sync.WaitGroup
	for i, m := range meters {
		wg.Go(func() {
			load := tr.load
			errs[i] = m.round(ctx, &load, d, limit)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sum adds the relays up.
func (p *point) sum(meters []*meter, stores []*store, used time.Duration) error {
	count := 0
	for _, m := range meters {
		res, err := m.result()
		if err != nil {
			return err
		}
		now, _, err := m.memory()
		if err != nil {
			return err
		}
		count += res.Messages
		p.Rate += res.Rate
		p.Relay += ms(m.used)
		p.P50 = max(p.P50, res.P50)
		p.Memory = float64(now) / 1024
	}
	p.Relay /= float64(count)
	p.Redis = ms(used) / float64(count)
	for _, s := range stores {
		now, _, err := s.memory()
		if err != nil {
			return err
		}
		p.Store += float64(now) / 1024
	}
	return nil
}

// store is one Redis server.
type store struct {
	*process
	addr string
	bus  string // port, in a Cluster
}

func (tr trial) stores(ctx context.Context, r *runner) ([]*store, error) {
	if tr.noRedis {
		return nil, nil
	}
	if tr.cluster > 0 {
		return startCluster(ctx, r.lab.dir, tr.cluster)
	}
	dir, err := os.MkdirTemp(r.lab.dir, "redis-")
	if err != nil {
		return nil, err
	}
	p, addr, err := startRedis(ctx, dir)
	return []*store{{process: p, addr: addr}}, err
}

func addresses(stores []*store) string {
	list := make([]string, len(stores))
	for i, s := range stores {
		list[i] = s.addr
	}
	return strings.Join(list, ",")
}

// used is the processor time of all stores.
func used(stores []*store) (sum time.Duration, err error) {
	for _, s := range stores {
		d, err := s.cpu()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}
