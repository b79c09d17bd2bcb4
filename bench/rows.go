package main

import (
	"context"
	"errors"
	"time"
)

// row is one scenario.
type row interface {
	title() string
	run(ctx context.Context, r *runner) (result, error)
}

// pair is a row that sets the relay beside the floor, or beside a relay that is
// configured otherwise, under one load, in turns.
type pair struct {
	name       string
	size       int
	conns      int
	recipients int
	redial     bool
	relay      setup
	redis      bool   // both count in Redis
	scanned    bool   // both show each message to rspamd and clamd
	base       *setup // nil: the floor
	pureBase   bool   // the base is built without cgo, so that Go signs
	bars       []bar
}

func (p pair) title() string { return p.name }

const (
	kib = 1 << 10
	mib = 1 << 20
)

// rows are the scenarios in the order in which they run.
func rows() []row {
	full := setup{keys: "rsa", windows: 3, journal: true}
	plain := setup{windows: 3}
	return []row{
		pair{name: "2 KiB, 20 connections, signed, Redis, journal", size: 2 * kib, conns: 20, relay: full, redis: true,
			bars: []bar{throughput(0.88, 0.95), processor(1.15, 1.08)}},
		pair{name: "2 KiB, 20 connections, unsigned, embedded limits", size: 2 * kib, conns: 20, relay: plain,
			bars: []bar{throughput(0.4, 0.7), {"messages/s", true, 2500, 2500, alone(rate)}}},
		pair{name: "2 KiB, 1 connection, signed, Redis, journal", size: 2 * kib, conns: 1, relay: full, redis: true,
			bars: []bar{{"p50 to base", false, 1.2, 1.1, ratio(p50)}, {"p99 to base", false, 1.5, 1.2, ratio(p99)}}},
		pair{name: "20 KiB, 20 connections, signed, Redis, journal", size: 20 * kib, conns: 20, relay: full, redis: true,
			bars: []bar{throughput(0.85, 0.95)}},
		pair{name: "100 KiB, 20 connections, signed, Redis, journal", size: 100 * kib, conns: 20, relay: full, redis: true,
			bars: []bar{throughput(0.85, 0.95)}},
		pair{name: "2 KiB, new connection per message", size: 2 * kib, conns: 20, redial: true, relay: full, redis: true,
			bars: []bar{throughput(0.85, 0.95)}},
		pair{name: "2 KiB, 10 recipients", size: 2 * kib, conns: 20, recipients: 10, relay: full, redis: true,
			bars: []bar{throughput(0.85, 0.95)}},
		pair{name: "1 MiB, 8 connections, signed", size: mib, conns: 8, relay: full, redis: true,
			bars: []bar{throughput(0.8, 0.9), {"CPU in ms", false, 6, 6, alone(cpu)}}},
		pair{name: "20 MiB, 2 connections, signed", size: 20 * mib, conns: 2, relay: full, redis: true,
			bars: []bar{{"CPU in ms", false, 110, 90, alone(cpu)}, {"peak in MiB", false, 64, 40, alone(peak)}}},
		pair{name: "2 KiB, by BDAT", size: 2 * kib, conns: 20, redis: true,
			relay: setup{keys: "rsa", windows: 3, journal: true, chunking: true}},
		pair{name: "2 KiB, RSA and Ed25519 beside RSA", size: 2 * kib, conns: 20, redis: true,
			relay: setup{keys: "rsa+ed25519", windows: 3, journal: true}, base: &full,
			bars: []bar{processor(1.1, 1.05)}},
		pair{name: "2 KiB, TLS on both sides beside none", size: 2 * kib, conns: 20, redis: true,
			relay: setup{keys: "rsa", windows: 3, journal: true, secure: true}, base: &full,
			bars: []bar{processor(1.15, 1.08)}},
		pair{name: "2 KiB, signed by OpenSSL beside Go", size: 2 * kib, conns: 20, redis: true,
			relay: full, base: &full, pureBase: true,
			bars: []bar{throughput(1.4, 1.4)}},
		pair{name: "2 KiB, 20 connections, signed, embedded limits, rspamd and clamd", size: 2 * kib, conns: 20, scanned: true,
			relay: setup{keys: "rsa", windows: 3},
			bars:  []bar{throughput(0.8, 0.9)}},
		pair{name: "2 KiB, 4 connections, signed, embedded limits, rspamd and clamd beside none", size: 2 * kib, conns: 4, scanned: true,
			relay: setup{keys: "rsa", windows: 3}, base: &setup{keys: "rsa", windows: 3},
			// A bare client spends half of what this shows, too: rspamd and clamd close each
			// connection. The row above has that client as its base.
			bars: []bar{{"CPU beyond base in ms", false, 0.1, 0.1, func(relay, base measure) float64 { return relay.CPU - base.CPU }}}},
		pair{name: "100 KiB, 4 connections, signed, embedded limits, rspamd and clamd", size: 100 * kib, conns: 4, scanned: true,
			relay: setup{keys: "rsa", windows: 3},
			bars:  []bar{{"p99 in ms", false, 200, 100, alone(p99)}}},
		fan{},
		exchangers{name: "2 KiB, 1 connection, to MX beside a smarthost", conns: 1, domains: 1,
			bars: []bar{{"p50 beyond base in ms", false, 1, 0.3, func(relay, base measure) float64 { return relay.P50 - base.P50 }}}},
		exchangers{name: "2 KiB, 20 connections, 2,000 messages to 1,000 domains beside a smarthost", conns: 20, domains: 1000, each: 2000,
			bars: []bar{throughput(0.8, 0.9)}},
		hosts{},
		idle{},
		rest{},
		soak{},
		search{},
	}
}

// run measures both sides in alternating rounds.
func (p pair) run(ctx context.Context, r *runner) (res result, err error) {
	res = result{Row: p.name, Base: "floor"}
	s, err := r.sink(p.relay.secure, p.relay.chunking)
	if err != nil {
		return res, err
	}
	defer s.close()
	if p.scanned {
		if p.relay.scanners, err = r.lab.startScanners(ctx); err != nil {
			return res, err
		}
		defer p.relay.scanners.stop()
	}
	relay, base, err := p.subjects(ctx, r, s)
	for _, m := range []*meter{relay, base} {
		if m != nil {
			defer m.stop()
		}
	}
	if err != nil {
		return res, err
	}
	if p.base != nil {
		res.Base = "relay"
	}
	m := newMessage(p.size)
	load := plan{conns: p.conns, recipients: p.recipients, redial: p.redial, messages: []message{m}}
	secure := load
	if p.relay.secure {
		secure.tls = r.clientTLS()
	}
	if err := p.verify(ctx, r, s, []*meter{relay, base}, []plan{secure, load}); err != nil {
		return res, err
	}
	if p.scanned {
		load.manyMessages(p.size)
		secure = load
	}
	for i := range r.rounds + 1 {
		d := r.duration
		if i == 0 {
			d = min(d, 500*time.Millisecond) // to warm up
		}
		before := s.messages.Load()
		if err := relay.round(ctx, &secure, d, 0); err != nil {
			return res, err
		}
		if err := base.round(ctx, &load, d, 0); err != nil {
			return res, err
		}
		if i == 0 {
			*relay, *base = meter{subject: relay.subject}, meter{subject: base.subject}
			continue
		}
		if came := int(s.messages.Load() - before); i == r.rounds && came == 0 {
			return res, errors.New("nothing came to the sink")
		}
	}
	if res.Relay, err = relay.result(); err != nil {
		return res, err
	}
	if res.Floor, err = base.result(); err != nil {
		return res, err
	}
	res.Checks = checks(p.bars, res.Relay, res.Floor)
	return res, nil
}

// verify shows that both sides do their work before that is measured.
func (p pair) verify(ctx context.Context, r *runner, s *sink, sides []*meter, loads []plan) error {
	before, err := decisions(r.lab.redis)
	if err != nil {
		return err
	}
	if err := r.verify(ctx, s, sides[0], loads[0], p.relay.keys); err != nil {
		return err
	}
	if err := p.counted(r, before); err != nil {
		return err
	}
	signed := p.relay.keys
	switch {
	case p.base != nil:
		signed = p.base.keys
	case signed != "":
		signed = "rsa" // the floor knows no other
	}
	return r.verify(ctx, s, sides[1], loads[1], signed)
}

// counted is an error when the relay should have asked Redis and has not.
func (p pair) counted(r *runner, before int) error {
	if !p.redis {
		return nil
	}
	now, err := decisions(r.lab.redis)
	if err == nil && now == before {
		err = errors.New("the relay did not ask Redis")
	}
	return err
}

// subjects starts both sides.
func (p pair) subjects(ctx context.Context, r *runner, s *sink) (relay, base *meter, err error) {
	conf := p.relay
	if p.redis {
		conf.redis = r.lab.redis
	}
	binary, err := r.binary(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	sub, err := r.lab.startRelay(ctx, binary, conf, s.addr())
	if err != nil {
		return nil, nil, err
	}
	relay = &meter{subject: sub}
	if p.base == nil {
		sub, err = r.lab.startFloor(ctx, conf, s.addr())
	} else {
		other := *p.base
		other.redis = conf.redis
		if binary, err = r.binary(ctx, !p.pureBase); err == nil {
			sub, err = r.lab.startRelay(ctx, binary, other, s.addr())
		}
	}
	if err != nil {
		return relay, nil, err
	}
	return relay, &meter{subject: sub}, nil
}
