package main

import (
	"context"
	"fmt"
	"time"
)

// fan measures one message to many domains, whose exchangers think about it at the
// same time, beside one to one of them.
type fan struct{}

func (fan) title() string { return "100 KiB, 1 LMTP connection, 20 domains of 20 ms each" }

// thinking is how long each exchanger takes for its reply.
const thinking = 20 * time.Millisecond

// run measures with exchangers that think about the message, and then with some that
// think about the recipient, too: a client then waits for two of their rounds.
func (f fan) run(ctx context.Context, r *runner) (res result, err error) {
	res = result{Row: f.title(), Base: "1 domain"}
	if res.Relay, res.Floor, err = f.side(ctx, r, &sink{atDot: thinking}); err != nil {
		return res, err
	}
	twice, _, err := f.side(ctx, r, &sink{atRCPT: thinking, atDot: thinking})
	if err != nil {
		return res, err
	}
	res.Checks = []check{
		{What: "p50 in ms", Have: res.Relay.P50, Bar: 40, Aim: 26},
		{What: "p50 to that of one domain", Have: res.Relay.P50 / res.Floor.P50, Bar: 1.9, Aim: 1.25},
		{What: "p50 beyond two rounds, where RCPT takes 20 ms, too", Have: twice.P50 - 2*ms(thinking), Bar: 20, Aim: 6},
	}
	return res, nil
}

func (f fan) side(ctx context.Context, r *runner, s *sink) (many, one measure, err error) {
	w, err := newReceivers(ctx, s)
	if err != nil {
		return many, one, err
	}
	defer w.close()
	sub, err := r.world(ctx, setup{keys: "rsa", windows: 3, world: w, lmtp: true}, "")
	if err != nil {
		return many, one, err
	}
	defer sub.stop()
	sides := []*meter{{subject: sub}, {subject: sub}}
	loads := []plan{{conns: 1, recipients: 20}, {conns: 1, recipients: 1}}
	for i := range loads {
		loads[i].domains, loads[i].lmtp, loads[i].messages = loads[i].recipients, true, []message{newMessage(100 * kib)}
	}
	before := w.messages.Load()
	if err := r.inTurns(ctx, sides, loads, 0); err != nil {
		return many, one, err
	}
	if came, want := int(w.messages.Load()-before), 20*sides[0].messages+sides[1].messages; came < want {
		return many, one, fmt.Errorf("%d messages came, want %d", came, want)
	}
	if many, err = sides[0].result(); err != nil {
		return many, one, err
	}
	one, err = sides[1].result()
	return many, one, err
}

// world starts a relay that delivers to the exchangers of conf, else to a smarthost.
func (r *runner) world(ctx context.Context, conf setup, smarthost string) (*subject, error) {
	binary, err := r.binary(ctx, true)
	if err != nil {
		return nil, err
	}
	return r.lab.startRelay(ctx, binary, conf, smarthost)
}

// inTurns puts each side under its load, a round of each after another; limit is that of
// a round, 0: its time. What the first round shows does not count.
func (r *runner) inTurns(ctx context.Context, sides []*meter, loads []plan, limit int) error {
	d := r.duration
	if limit > 0 {
		d = time.Minute
	}
	for i := range r.rounds + 1 {
		for j, m := range sides {
			if err := m.round(ctx, &loads[j], d, limit); err != nil {
				return err
			}
			if i == 0 {
				*m = meter{subject: m.subject}
			}
		}
	}
	return nil
}

// exchangers sets a relay that delivers to MX beside one that has a smarthost, both with
// the same load and the same sink.
type exchangers struct {
	name    string
	conns   int
	domains int
	each    int // messages of a round; 0: as many as go in the time
	bars    []bar
}

func (e exchangers) title() string { return e.name }

func (e exchangers) run(ctx context.Context, r *runner) (res result, err error) {
	res = result{Row: e.name, Base: "smarthost"}
	w, err := newReceivers(ctx, &sink{})
	if err != nil {
		return res, err
	}
	defer w.close()
	conf := setup{keys: "rsa", windows: 3, journal: true}
	base, err := r.world(ctx, conf, w.addr())
	if err != nil {
		return res, err
	}
	defer base.stop()
	conf.world = w
	relay, err := r.world(ctx, conf, "")
	if err != nil {
		return res, err
	}
	defer relay.stop()
	sides := []*meter{{subject: relay}, {subject: base}}
	load := plan{conns: e.conns, domains: e.domains, messages: []message{newMessage(2 * kib)}}
	for _, m := range sides {
		if err := r.verify(ctx, w.sink, m, load, conf.keys); err != nil {
			return res, err
		}
	}
	if err := r.inTurns(ctx, sides, []plan{load, load}, e.each/e.conns); err != nil {
		return res, err
	}
	if res.Relay, err = sides[0].result(); err != nil {
		return res, err
	}
	if res.Floor, err = sides[1].result(); err != nil {
		return res, err
	}
	res.Checks = checks(e.bars, res.Relay, res.Floor)
	return res, nil
}

// hosts measures what many receivers cost that got one message each, beside a smarthost
// that got as many.
type hosts struct{}

func (hosts) title() string { return "20,000 receivers, one message each" }

func (h hosts) run(ctx context.Context, r *runner) (res result, err error) {
	res = result{Row: h.title(), Base: "smarthost"}
	w, err := newReceivers(ctx, &sink{})
	if err != nil {
		return res, err
	}
	defer w.close()
	conf := setup{keys: "rsa", windows: 3}
	resident := [2]float64{}
	for i, into := range []*measure{&res.Floor, &res.Relay} {
		if resident[i], *into, err = h.side(ctx, r, conf, w.addr()); err != nil {
			return res, err
		}
		conf.world = w
	}
	res.Checks = []check{
		{What: fmt.Sprintf("MiB beyond base behind %d", r.hosts), Have: resident[1] - resident[0], Bar: 64, Aim: 40},
		{What: "MiB in all", Have: resident[1], Bar: 128, Aim: 64},
	}
	return res, nil
}

// side sends one message to each domain, and says what memory that leaves in use, in MiB.
func (h hosts) side(ctx context.Context, r *runner, conf setup, smarthost string) (resident float64, m measure, err error) {
	sub, err := r.world(ctx, conf, smarthost)
	if err != nil {
		return 0, m, err
	}
	defer sub.stop()
	p := plan{conns: 20, domains: r.hosts, messages: []message{newMessage(2 * kib)}}
	sent := &meter{subject: sub}
	if err := sent.round(ctx, &p, 10*time.Minute, r.hosts/p.conns); err != nil {
		return 0, m, err
	}
	now, _, err := sub.memory()
	if err != nil {
		return 0, m, err
	}
	m, err = sent.result()
	return float64(now) / 1024, m, err
}
