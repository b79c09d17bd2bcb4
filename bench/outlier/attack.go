package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// attack is one labelled attack in a stream.
type attack struct {
	senders []int32
	client  int
	end     int64
	total   int
	user    int32 // see event.user: it ends with the alarm of the user
	wide    bool  // it ends with the alarm of the client only
}

// attackKind is a row of the table of attacks.
type attackKind struct {
	name string
	// one lists the times of an attack of one sender, from its moment on.
	one     func(rng *rand.Rand, moment int64, rate float64) []int64
	rcpts   int  // new recipients of a message; 0: known ones
	newName bool // the sender has never been seen
	by      func(s *scene)
	asleep  bool // only senders that are silent at night
	early   bool // in the first weeks of the client, see scene.earlyMoment
	// atMost are the messages let out that the issue allows, atLeast the share
	// found that it asks for.
	atMost, atLeast string
}

var attackKinds = []attackKind{
	{name: "burst10", one: within(10, 0, 3600), rcpts: 1, atMost: "-", atLeast: "-"},
	{name: "burst30", one: within(30, 0, 3600), rcpts: 1, atMost: "11 / 20", atLeast: "99 %"},
	{name: "burst100", one: within(100, 0, 3600), rcpts: 1, atMost: "11 / 20", atLeast: "99 %"},
	{name: "flash5m", one: within(20, 100, 300), rcpts: 1, atMost: "11 / 20", atLeast: "99 %"},
	{name: "ramp", one: ramp, rcpts: 1, atMost: "22 / 36", atLeast: "99 %"},
	{name: "rampday", one: rampDay, rcpts: 1, atMost: "65 / 160", atLeast: "99 %"},
	{name: "slow5", one: within(0, 5*72, 72*3600), rcpts: 1, atMost: "18 / 27", atLeast: "99 %"},
	{name: "slow20", one: within(0, 20*72, 72*3600), rcpts: 1, atMost: "18 / 26", atLeast: "99 %"},
	{name: "night", one: night, rcpts: 1, asleep: true, atMost: "17 / 27", atLeast: "94 %"},
	{name: "newsender", one: within(0, 200, 7200), rcpts: 1, newName: true, atMost: "11 / 15", atLeast: "99 %"},
	{name: "rcptblow", one: within(0, 20, 4*3600), rcpts: 50, atMost: "1 / 1", atLeast: "100 %"},
	{name: "distrib", by: distrib, atMost: "105 / 255", atLeast: "86 %"},
	{name: "spray", by: spray, atMost: "51 / 300", atLeast: "88 %"},
	{name: "addrbook", one: within(0, 60, 600), atMost: "55 / 60", atLeast: "78 %"},
	{name: "loudspray", by: loudSpray, atMost: "4 / 6", atLeast: "99 %"},
	{name: "framing", by: framing, atMost: "6 / 8", atLeast: "99 %"},
	{name: "early30", one: within(30, 0, 3600), rcpts: 1, early: true, atMost: "-", atLeast: "-"},
}

func within(times_ float64, least int, span int64) func(*rand.Rand, int64, float64) []int64 {
	return func(rng *rand.Rand, moment int64, rate float64) []int64 {
		return times(rng, max(least, round(times_*rate)), moment, span)
	}
}

func ramp(rng *rand.Rand, moment int64, rate float64) (at []int64) {
	sum, done := 0.0, 0
	for k := range 24 {
		sum += rate * math.Pow(1.2, float64(k))
		at = append(at, times(rng, round(sum)-done, moment+int64(k)*3600, 3600)...)
		done = round(sum)
	}
	return at
}

func rampDay(rng *rand.Rand, moment int64, rate float64) (at []int64) {
	sum, done := 0.0, 0
	for k := range 21 {
		sum += 3 * rate * math.Pow(1.2, float64(k))
		at = append(at, times(rng, round(sum)-done, moment+int64(k)*86400, 6*3600)...)
		done = round(sum)
	}
	return at
}

func night(rng *rand.Rand, moment int64, _ float64) []int64 {
	midnight := (moment/86400 + 1) * 86400
	return times(rng, 60, midnight+3600, 3*3600)
}

// scene is a recording with labelled traffic added.
type scene struct {
	*recording
	rng      *rand.Rand
	attacks  []attack
	added    []event
	refusals bool
	honest   map[int32]bool // senders that an honest change touches
}

func newScene(r *recording, seed uint64, o options) *scene {
	return &scene{recording: r.clone(), rng: rand.New(rand.NewPCG(o.seed, seed)), refusals: o.refusals, honest: map[int32]bool{}}
}

// finish puts what was added in its place.
func (s *scene) finish() {
	s.events = append(s.events, s.added...)
	sortEvents(s.events)
	s.added = nil
}

// moment is a random moment of the sender's own activity, after 60 days and 30
// messages.
func (s *scene) moment(sender int32) (at int64, ok bool) {
	of := s.of[sender]
	if len(of) <= 30 {
		return 0, false
	}
	first := s.events[of[0]].at + 60*86400
	i, _ := slices.BinarySearchFunc(of, first, func(i int32, t int64) int { return int(s.recordedAt(i) - t) })
	i = max(i, 30)
	if i >= len(of) {
		return 0, false
	}
	return s.recordedAt(of[i+s.rng.IntN(len(of)-i)]), true
}

func (s *scene) recordedAt(i int32) int64 { return s.events[i].at }

// earlyMoment is a random moment of the sender's own activity in the first 20 days of
// the recording, which are those of its client.
func (s *scene) earlyMoment(sender int32) (at int64, ok bool) {
	of := s.of[sender]
	n, _ := slices.BinarySearchFunc(of, s.events[0].at+20*86400, func(i int32, t int64) int { return int(s.recordedAt(i) - t) })
	if n == 0 {
		return 0, false
	}
	return s.recordedAt(of[s.rng.IntN(n)]), true
}

// targets are up to n senders with a moment each.
func (s *scene) targets(n int, fit func(int32) bool) (senders []int32, moments []int64) {
	return s.targetsAt(n, s.moment, fit)
}

func (s *scene) targetsAt(n int, moment func(int32) (int64, bool), fit func(int32) bool) (senders []int32, moments []int64) {
	for _, i := range s.rng.Perm(int(s.senders)) {
		sender := int32(i)
		if at, ok := moment(sender); ok && fit(sender) {
			senders, moments = append(senders, sender), append(moments, at)
			if len(senders) == n {
				break
			}
		}
	}
	return senders, moments
}

func (s *scene) sleeps(sender int32) bool {
	night := 0
	for _, i := range s.of[sender] {
		if s.events[i].at%86400 < 5*3600 {
			night++
		}
	}
	return float64(night) <= 0.02*float64(len(s.of[sender]))
}

// attack adds the attacks of one kind.
func (s *scene) attack(k *attackKind) {
	defer s.finish()
	if k.by != nil {
		k.by(s)
		return
	}
	moment := s.moment
	if k.early {
		moment = s.earlyMoment
	}
	senders, moments := s.targetsAt(120, moment, func(sender int32) bool { return !k.asleep || s.sleeps(sender) })
	for i, sender := range senders {
		at := k.one(s.rng, moments[i], s.rate[sender])
		from := sender
		if k.newName {
			from = s.newSender()
		}
		s.send(&attack{senders: []int32{from}, client: clientOf(from)}, from, at, func(at int64) event {
			if k.rcpts == 0 {
				return event{rcpts: s.known(sender, at), refused: s.refuse(1, 0.002)}
			}
			return event{rcpts: s.unseen(k.rcpts), refused: s.refuse(k.rcpts, 0.15)}
		}, true)
	}
}

// send adds messages of one attack; last says that the attack is complete.
func (s *scene) send(a *attack, from int32, at []int64, message func(int64) event, last bool) {
	for _, t := range at {
		e := message(t)
		e.at, e.sender, e.attack = t, from, int32(len(s.attacks))+1
		s.added = append(s.added, e)
		a.total++
		a.end = max(a.end, t+3600)
	}
	if last {
		s.attacks = append(s.attacks, *a)
	}
}

func (s *scene) newSender() int32 {
	s.senders++
	return s.senders - 1
}

func (s *scene) unseen(n int) []int32 {
	rcpts := make([]int32, n)
	for i := range rcpts {
		rcpts[i] = s.newRcpt()
	}
	return rcpts
}

func (s *scene) refuse(n int, share float64) (refused int32) {
	for range n {
		if s.refusals && s.rng.Float64() < share {
			refused++
		}
	}
	return refused
}

// known is somebody that the sender has written to before at.
func (s *scene) known(sender int32, at int64) []int32 {
	of := s.of[sender]
	n, _ := slices.BinarySearchFunc(of, at, func(i int32, t int64) int { return int(s.recordedAt(i) - t) })
	e := &s.events[of[s.rng.IntN(max(n, 1))]]
	return []int32{e.rcpts[s.rng.IntN(len(e.rcpts))]}
}

// clientMoments gives the times at which a client is attacked: random moments
// of its activity after 60 days.
func (s *scene) clientMoments(n int, f func(client int, at int64)) {
	start := s.events[0].at + 60*86400
	for c := range clients {
		var when []int64
		for i := range s.events {
			if e := &s.events[i]; e.at >= start && clientOf(e.sender) == c {
				when = append(when, e.at)
			}
		}
		for range n {
			f(c, when[s.rng.IntN(len(when))])
		}
	}
}

func (s *scene) oneNew(int64) event { return event{rcpts: s.unseen(1), refused: s.refuse(1, 0.15)} }

func distrib(s *scene) {
	s.clientMoments(3, func(client int, moment int64) {
		a := attack{client: client}
		for _, i := range s.rng.Perm(int(s.recording.senders)) {
			sender := int32(i)
			of := s.of[sender]
			if clientOf(sender) != client || len(of) < 30 || s.recordedAt(of[0]) > moment {
				continue
			}
			a.senders = append(a.senders, sender)
			if len(a.senders) == 20 {
				break
			}
		}
		for i, sender := range a.senders {
			s.send(&a, sender, times(s.rng, 18, moment, 6*3600), s.oneNew, i == len(a.senders)-1)
		}
	})
}

func spray(s *scene) {
	s.clientMoments(3, func(client int, moment int64) {
		a := attack{client: client}
		at := times(s.rng, 300, moment, 3600)
		for i, t := range at {
			for clientOf(s.senders) != client {
				s.senders++
			}
			from := s.newSender()
			a.senders = append(a.senders, from)
			s.send(&a, from, []int64{t}, s.oneNew, i == len(at)-1)
		}
	})
}
