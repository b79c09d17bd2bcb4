package main

import (
	"slices"
	"strconv"

	"postern/outlier"
)

// play is what the detector said to each event: the score of its sender and of
// its client, 0 without an alarm; of the user where there are any.
type play struct {
	sender, client, user []float32
	waits                []bool // the brake would hold up a recipient
	networks             int    // alarms by three networks in a day
}

func newPlay(n int) play {
	return play{make([]float32, n), make([]float32, n), make([]float32, n), make([]bool, n), 0}
}

var names struct{ senders, rcpts, clients, users []string }

// nameOf gives the token of number i, made once.
func nameOf(list *[]string, letter string, i int32) string {
	for int(i) >= len(*list) {
		*list = append(*list, letter+strconv.Itoa(len(*list)))
	}
	return (*list)[i]
}

// run plays the events through the product's detector.
func run(cfg outlier.Config, events []event) play {
	p := newPlay(len(events))
	r, err := outlier.NewReplay(cfg)
	if err != nil {
		panic(err) // defaults are always right
	}
	var rcpts []string
	three := map[int32]int64{}
	for i := range events {
		e := &events[i]
		rcpts = rcpts[:0]
		for _, n := range e.rcpts {
			rcpts = append(rcpts, nameOf(&names.rcpts, "r", n))
		}
		user := ""
		if e.user > 0 {
			user = nameOf(&names.users, "u", e.user)
		}
		s := r.MessageFrom(addr(e.network), e.at, user, nameOf(&names.senders, "s", e.sender), nameOf(&names.clients, "c", int32(clientOf(e.sender))), rcpts, int(e.refused))
		p.sender[i], p.client[i], p.user[i] = float32(s.Sender), float32(s.Client), float32(s.User)
		p.waits[i] = s.Waiting > 0
		if e.network > 0 { // of an account of one sender the alarm of its user is the same
			p.sender[i] = max(p.sender[i], p.user[i])
			if last, ok := three[e.user]; s.Networks > 0 && (!ok || e.at-last > gap) {
				p.networks++
			}
			if s.Networks > 0 {
				three[e.user] = e.at
			}
		}
	}
	return p
}

const gap = 86400 // an alarm after so long without one is another episode

// episodes counts first alarms, and those after a day without one, of senders
// and of clients. which says whose; nil: all.
func episodes(events []event, p play, which func(*event) bool, excused map[int32]int64) int {
	senders, clients := episodesBoth(events, p, which, excused)
	return senders + clients
}

func episodesBoth(events []event, p play, which func(*event) bool, excused map[int32]int64) (senders, ofClients int) {
	lastS := map[int32]int64{}
	lastC := [clients]int64{}
	for i := range events {
		e := &events[i]
		if which != nil && !which(e) {
			continue
		}
		if p.sender[i] >= 1 {
			if last, ok := lastS[e.sender]; (!ok || e.at-last > gap) && e.at > excused[e.sender] {
				senders++
			}
			lastS[e.sender] = e.at
		}
		if c := clientOf(e.sender); p.client[i] >= 1 {
			if (lastC[c] == 0 || e.at-lastC[c] > gap) && e.at > excused[e.sender] {
				ofClients++
			}
			lastC[c] = e.at
		}
	}
	return senders, ofClients
}

// quiet is what normal mail suffers.
type quiet struct{ perYear, senderAlarms, clientAlarms, under, held float64 }

func measureQuiet(r *recording, p play) (q quiet) {
	s, c := episodesBoth(r.events, p, nil, nil)
	q.senderAlarms, q.clientAlarms = float64(s)/r.years(), float64(c)/r.years()
	q.perYear = q.senderAlarms + q.clientAlarms
	began, lastS := map[int32]int64{}, map[int32]int64{}
	var beganC, lastC [clients]int64
	var under, held int
	for i := range r.events {
		e := &r.events[i]
		cl := clientOf(e.sender)
		if at, ok := began[e.sender]; ok && e.at-at <= 4*3600 || beganC[cl] > 0 && e.at-beganC[cl] <= 4*3600 {
			held++
		}
		if p.sender[i] >= 1 {
			if last, ok := lastS[e.sender]; !ok || e.at-last > gap {
				began[e.sender] = e.at
			}
			lastS[e.sender] = e.at
		}
		if p.client[i] >= 1 {
			if lastC[cl] == 0 || e.at-lastC[cl] > gap {
				beganC[cl] = e.at
			}
			lastC[cl] = e.at
		}
		if p.sender[i] >= 1 || p.client[i] >= 1 {
			under++
		}
	}
	n := float64(len(r.events))
	q.under, q.held = float64(under)/n, float64(held)/n
	return q
}

// letOut gives for each attack the messages out before it was stopped, and
// whether it was found.
func letOut(s *scene, p play) (out []float64, found int) {
	type progress struct {
		out     int
		stopped map[int32]bool
		client  bool
	}
	state := make([]progress, len(s.attacks))
	bySender := map[int32][]int{} // attacks under way of a sender
	byClient := [clients][]int{}
	begun := make([]bool, len(s.attacks))
	for i := range state {
		state[i].stopped = map[int32]bool{}
	}
	for i := range s.events {
		e := &s.events[i]
		if a := int(e.attack) - 1; a >= 0 {
			if !begun[a] {
				begun[a] = true
				for _, sender := range s.attacks[a].senders {
					bySender[sender] = append(bySender[sender], a)
				}
				byClient[s.attacks[a].client] = append(byClient[s.attacks[a].client], a)
			}
			if st := &state[a]; !st.client && !st.stopped[e.sender] {
				st.out++
			}
		}
		if p.sender[i] >= 1 {
			for _, a := range bySender[e.sender] {
				if e.at <= s.attacks[a].end && !s.attacks[a].wide && s.attacks[a].user == 0 {
					state[a].stopped[e.sender] = true
				}
			}
		}
		if a := int(e.attack) - 1; a >= 0 && p.user[i] >= 1 && s.attacks[a].user == e.user {
			state[a].client = true
		}
		if p.client[i] >= 1 {
			for _, a := range byClient[clientOf(e.sender)] {
				if e.at <= s.attacks[a].end && len(s.attacks[a].senders) > 1 {
					state[a].client = true
				}
			}
		}
	}
	for i, st := range state {
		out = append(out, float64(st.out))
		if st.client || 2*len(st.stopped) >= len(s.attacks[i].senders) {
			found++
		}
	}
	return out, found
}

func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	xs = slices.Sorted(slices.Values(xs))
	return xs[min(len(xs)-1, int(q*float64(len(xs))))]
}
