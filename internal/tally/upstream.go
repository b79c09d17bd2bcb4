package tally

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"postern/mail"
)

const (
	slots       = 12 // of five minutes
	slotSeconds = 300
	maxKinds    = 40  // of replies
	maxText     = 300 // octets of a reply
	steps       = 64  // of times: four for each doubling from 1 ms on
)

// way is what an upstream did within the last hour.
type way struct {
	slots   [slots]waySlot
	last    Refusal
	success time.Time
}

type waySlot struct {
	at      int64
	replies map[Kind]int
	times   [steps]uint32
}

// Kind is a kind of reply of an upstream to a recipient: its class ("2xx") and enhanced
// status code; "other" where there were too many.
type Kind struct{ Class, Status string }

// Reply is a kind of reply with the number of recipients that got it.
type Reply struct {
	Kind
	Count int
}

// Refusal is what an upstream refused last.
type Refusal struct {
	Time time.Time // zero: nothing within the hour
	Code int
	Text string // as the upstream wrote it, shortened
	ID   string // of the transaction
}

// UpstreamUse is what an upstream did within the last hour.
type UpstreamUse struct {
	Replies []Reply // most first
	// P50 and P99 are the times until its verdict on the message, rounded up to a
	// fifth; 0: none.
	P50, P99 time.Duration
	Last     Refusal
	// Success is when it took a message last, as far as the tally has seen; zero: never.
	Success time.Time
}

func (w *way) add(e *mail.Event, ended time.Time) {
	at := ended.Unix() / slotSeconds
	s := &w.slots[at%slots]
	if s.at > at {
		return
	}
	if s.at < at {
		*s = waySlot{at: at, replies: map[Kind]int{}}
	}
	for i := range e.To {
		r := &e.To[i]
		if r.Rule != "upstream" || r.Code < 200 || r.Code > 599 {
			continue
		}
		k := Kind{strconv.Itoa(r.Code/100) + "xx", r.Status}
		if _, ok := s.replies[k]; !ok && len(s.replies) >= maxKinds {
			k.Status = "other"
		}
		s.replies[k]++
		if r.Code >= 400 && !ended.Before(w.last.Time) {
			w.last = Refusal{Time: ended, Code: r.Code, Text: r.Reply[:min(len(r.Reply), maxText)], ID: e.ID}
		}
	}
	if e.Outcome == mail.Relayed && ended.After(w.success) {
		w.success = ended
	}
	if took := e.Took.UpstreamData; took > 0 {
		s.times[stepOf(took)]++
	}
}

// stepOf is where a time is counted.
func stepOf(d time.Duration) int {
	if d <= time.Millisecond {
		return 0
	}
	return min(steps-1, int(math.Ceil(4*math.Log2(float64(d)/float64(time.Millisecond)))))
}

// timeOf is the longest time that is counted at a step.
func timeOf(step int) time.Duration {
	return time.Duration(float64(time.Millisecond) * math.Exp2(float64(step)/4))
}

// Ways tells what each upstream did within the last hour.
func (t *Tally) Ways() map[string]UpstreamUse {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	all := map[string]UpstreamUse{}
	for name, w := range t.ways {
		all[name] = w.report(now)
	}
	return all
}

func (w *way) report(now time.Time) (out UpstreamUse) {
	replies := map[Kind]int{}
	var times [steps]uint32
	first := now.Unix()/slotSeconds - slots + 1
	for i := range w.slots {
		s := &w.slots[i]
		if s.at < first {
			continue
		}
		for k, n := range s.replies {
			replies[k] += n
		}
		for step, n := range s.times {
			times[step] += n
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(replies), func(a, b Kind) int {
		return cmp.Or(cmp.Compare(replies[b], replies[a]), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Status, b.Status))
	}) {
		out.Replies = append(out.Replies, Reply{k, replies[k]})
	}
	out.Success = w.success
	out.P50, out.P99 = quantile(&times, 0.5), quantile(&times, 0.99)
	if now.Sub(w.last.Time) <= time.Hour {
		out.Last = w.last
	}
	return out
}

// quantile is the time that a share of all stayed within.
func quantile(times *[steps]uint32, share float64) time.Duration {
	all := 0.0
	for _, n := range times {
		all += float64(n)
	}
	sum := 0.0
	for step, n := range times {
		if sum += float64(n); n > 0 && sum >= share*all {
			return timeOf(step)
		}
	}
	return 0
}
