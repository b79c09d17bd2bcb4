package detector

import (
	"time"

	"postern/outlier/detector/sketch"
)

// windowSeconds are the lengths of the rolling windows.
var windowSeconds = [2]int64{hour: 3600, day: daySeconds}

// SmallMessage is up to how many recipients a message is not a burst by itself; that many
// a throttled submitter may send that has sent nothing of late.
const SmallMessage = 10

// Pace is how long who must wait until n more recipients, beside so many others that
// are on their way, are within its usual pace; 0 when they may go now. Unless it is to
// be exact any other wait is a second.
func (d *Detector) Pace(now int64, who Who, n, others int, exact bool, expect Expect) time.Duration {
	e := d.look(who)
	if e == nil {
		return 0
	}
	floor := expect.of(who)
	p := paced{own: e.meter}
	p.own.roll(now)
	if who.Scope == Client { // its senders are held back by themselves for what is their fault
		p.blamed = d.blamed(e, now)
	}
	if n <= SmallMessage && others == 0 && p.sent(day) == 0 {
		return 0
	}
	var wait time.Duration
	for _, win := range [...]int{hour, day} {
		limit := p.own.usual(sent, win, floor, scaleOf(e.scope)) - float32(others+n-1)
		if p.sent(win) < limit {
			continue
		}
		if !exact {
			return time.Second
		}
		wait = max(wait, p.wait(win, limit))
	}
	return wait
}

// paced is what a throttled submitter has sent.
type paced struct {
	own    meter
	blamed *meter // what is the fault of others; nil: nothing
}

// sent is how many recipients window w holds.
func (p *paced) sent(w int) float32 {
	var s table
	p.own.sums(&s)
	return s.without(p.blamed)[sent][w]
}

// wait is how long it takes until window w holds less than limit if nothing is
// added, in steps of a thirtieth of the window.
func (p *paced) wait(w int, limit float32) time.Duration {
	later := paced{own: p.own}
	if p.blamed != nil {
		b := *p.blamed
		later.blamed = &b
	}
	step := windowSeconds[w] / 30
	for i := int64(0); i < 45; i++ {
		if later.sent(w) < limit {
			return time.Duration(i*step) * time.Second
		}
		at := int64(later.own.last) + step
		later.own.roll(at)
		if later.blamed != nil {
			later.blamed.roll(at)
		}
	}
	return time.Duration(windowSeconds[w]) * time.Second
}

// blamed is what a user or client sent that is the fault of somebody narrower; nil
// for nothing.
func (d *Detector) blamed(e *entry, now int64) *meter {
	if e.scope != ofUser && e.scope != ofClient {
		return nil
	}
	others := d.meters.find(e.scope.others(), e.name)
	if others == nil {
		return nil
	}
	m := others.meter
	m.roll(now)
	return &m
}

// Project scores who as if so many more recipients had been sent, all of them known
// and none refused. client is that of the mail.
func (d *Detector) Project(now int64, who Who, client string, more int, expect Expect) Finding {
	c := d.client(client, now)
	e := d.look(who)
	if e == nil {
		e = &entry{meter: newMeter(now), client: c.num, scope: who.meter(), name: who.meterName()}
	}
	e.roll(now)
	if rs := d.meters.runsOf(e); rs != nil {
		e.turn(&d.tuning, d.scale(e), d.byNum[e.client].born)
		rs.turn(e.day, d.tuning.growth)
	}
	f := d.assess(e, d.blamed(e, now), expect.of(who), d.scale(e))
	for i := range windows {
		f.sums[sent][i] += float32(more)
	}
	f.judge(&d.tuning, &f.sums)
	return f
}

// Explained reports whether what f is about is expected of a sender, or a regular run
// of it, so that it is nobody else's fault.
func (d *Detector) Explained(f *Finding) bool {
	return f.floor != nil || f.spared && f.raw(&d.tuning, &f.sums) >= stirFrom
}

// WithoutLargest scores a user or client of client anew as if its largest sender were
// not there, which may explain its volume.
func (d *Detector) WithoutLargest(now int64, f *Finding, client string) {
	if f.user != "" {
		f.without(&d.tuning, f.e)
		return
	}
	c := d.client(client, now)
	p := &c.party
	if f.e.scope == ofUser {
		if sender := d.meters.soloOf(f.e.name); sender != nil {
			f.without(&d.tuning, sender)
			return
		}
		p = d.user(c, f.e.name)
	}
	if top := p.top.at(now); top != nil {
		f.without(&d.tuning, top)
	}
}

// Keys tells submitters apart: the sender, and around it the user, or without one the
// client. narrow is 0 for the null reverse-path.
func (d *Detector) Keys(client, user, sender string) (narrow, wide uint64) {
	hash := d.seed.Hash
	if user != "" {
		wide = ofUser.hash(hash(user))
	} else {
		wide = ofClient.hash(hash(client))
	}
	switch {
	case sender == "":
	case user != "":
		narrow = sketch.Mix(wide, hash(sender)|1)
	default:
		narrow = ofSender.hash(hash(sender))
	}
	return narrow, wide
}
