package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	clients = 8
	apps    = 10
)

// event is one message that the upstream was asked to take.
type event struct {
	at      int64
	sender  int32
	refused int32
	network int32 // from which its user sends; 0: not known
	user    int32 // 1 + number of the sender whose SASL user sent it; 0: without a user
	attack  int32 // 1 + number of the attack that it belongs to; 0: normal
	touched bool  // an honest change made it or moved it
	rcpts   []int32
}

// recording is normal mail, prepared as scenarios.md says.
type recording struct {
	name    string
	events  []event
	senders int32 // numbers below are in use
	rcpts   int32
	// networks: numbers below are in use.
	networks int32
	of       [][]int32 // indexes of the events of each sender
	rate     []float64 // mean messages in an active hour, at least 1
}

func clientOf(sender int32) int { return int(sender % clients) }

// options vary the preparation.
type options struct {
	seed     uint64
	fresh    float64 // factor on the shares of new recipients
	refusals bool
}

// load reads a recording and adds the application accounts.
func load(dir, name string, o options) (*recording, error) {
	f, err := os.Open(filepath.Join(dir, name+".txt.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := &recording{name: name}
	in := bufio.NewScanner(z)
	in.Buffer(nil, 1<<22)
	for in.Scan() {
		e, err := parse(in.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.senders = max(r.senders, e.sender+1)
		r.rcpts = max(r.rcpts, slices.Max(e.rcpts)+1)
		r.events = append(r.events, e)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	rng := rand.New(rand.NewPCG(o.seed, uint64(len(r.events))))
	ordinary := r.senders
	r.addApps(rng)
	r.index()
	r.freshen(rng, ordinary, o)
	return r, nil
}

func parse(line string) (e event, err error) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return e, fmt.Errorf("line %q has not three fields", line)
	}
	if e.at, err = strconv.ParseInt(f[0], 10, 64); err != nil {
		return e, err
	}
	n, err := strconv.ParseInt(f[1], 10, 32)
	if err != nil {
		return e, err
	}
	e.sender = int32(n)
	for _, s := range strings.Split(f[2], ",") {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return e, err
		}
		e.rcpts = append(e.rcpts, int32(n))
	}
	return e, nil
}

// addApps adds accounts that each carry the traffic of 30 random senders.
func (r *recording) addApps(rng *rand.Rand) {
	r.index()
	var present []int32
	for s, of := range r.of {
		if len(of) > 0 {
			present = append(present, int32(s))
		}
	}
	for range apps {
		for _, i := range rng.Perm(len(present))[:30] {
			for _, j := range r.of[present[i]] {
				e := r.events[j]
				e.sender = r.senders
				r.events = append(r.events, e)
			}
		}
		r.senders++
	}
	sortEvents(r.events)
}

func sortEvents(events []event) {
	slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
}

// index finds the events and the rate of each sender.
func (r *recording) index() {
	r.of, r.rate = make([][]int32, r.senders), make([]float64, r.senders)
	for i, e := range r.events {
		r.of[e.sender] = append(r.of[e.sender], int32(i))
	}
	for s, of := range r.of {
		hours, last := 0, int64(-1)
		for _, i := range of {
			if h := r.events[i].at / 3600; h != last {
				hours, last = hours+1, h
			}
		}
		r.rate[s] = max(1, float64(len(of))/float64(max(hours, 1)))
	}
}

// freshen puts never-seen recipients in the place of some, and draws who is
// refused.
func (r *recording) freshen(rng *rand.Rand, ordinary int32, o options) {
	for s, of := range r.of {
		share := min(0.9, rng.ExpFloat64()*0.2)
		if int32(s) >= ordinary {
			share = 0.6
		}
		share = min(0.95, share*o.fresh)
		single := (share / 2) / (1 - share/2)
		today, allNew, badDay := int64(-1), false, false
		for _, i := range of {
			e := &r.events[i]
			if d := e.at / 86400; d != today {
				today, allNew, badDay = d, rng.Float64() < share/2, rng.IntN(200) == 0
			}
			e.rcpts = slices.Clone(e.rcpts)
			for j := range e.rcpts {
				isNew := allNew || rng.Float64() < single
				if isNew {
					e.rcpts[j] = r.newRcpt()
				}
				if o.refusals && rng.Float64() < refusal(isNew, badDay) {
					e.refused++
				}
			}
		}
	}
}

func refusal(isNew, badDay bool) float64 {
	switch {
	case badDay:
		return 0.3
	case isNew:
		return 0.03
	}
	return 0.002
}

func (r *recording) newRcpt() int32 {
	r.rcpts++
	return r.rcpts - 1
}

// years are the sender-years of the recording.
func (r *recording) years() float64 {
	var sum int64
	for _, of := range r.of {
		if len(of) >= 20 {
			sum += r.events[of[len(of)-1]].at - r.events[of[0]].at + 86400
		}
	}
	return float64(sum) / (365.25 * 86400)
}

// clone is a copy whose list of events may be changed.
func (r *recording) clone() *recording {
	c := *r
	c.events = slices.Clone(r.events)
	return &c
}

func times(rng *rand.Rand, n int, from, span int64) []int64 {
	at := make([]int64, n)
	for i := range at {
		at[i] = from + int64(rng.Float64()*float64(span))
	}
	slices.Sort(at)
	return at
}

func round(x float64) int { return int(math.Round(x)) }
