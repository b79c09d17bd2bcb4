package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
)

// Networks are not in the recordings, so they are drawn: a sender uses one of its own,
// and on some days one that it never used before. A thief uses another one. The shares
// are those of research on stolen accounts; an operator measures his own with relay
// outliers measure.
const (
	awayShare  = 0.02 // of the days of a sender
	awayBusy   = 0.06 // of those on which it sends twice its mean and more
	thiefShare = 0.95 // of the attacks from a network that the victim never used
)

// elsewhereRows are the attacks that are measured with networks, with what the issue
// asks for.
var elsewhereRows = []struct{ name, atMost, atLeast string }{
	{"burst10", "-", "-"}, {"burst30", "6 / 15", "99 %"}, {"burst100", "6 / 15", "99 %"}, {"flash5m", "6 / 15", "99 %"},
	{"slow5", "18 / 27", "99 %"}, {"night", "-", "-"}, {"newsender", "11 / 15", "99 %"}, {"early30", "-", "-"}, {"distrib", "-", "90 %"}, {"addrbook", "-", "85 %"},
}

// addr is the address in network n; 0 is none.
func addr(n int32) netip.Addr {
	if n == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{byte(16 + n>>16), byte(n >> 8), byte(n), 1})
}

// giveNetworks makes all mail that of SASL users, one for each sender, and draws from
// where it comes.
func (r *recording) giveNetworks(rng *rand.Rand) {
	r.giveUsers()
	r.networks = r.senders + 1
	for s, of := range r.of {
		days := map[int64]int{}
		for _, i := range of {
			days[r.events[i].at/86400]++
		}
		today, place := int64(-1), int32(s)+1
		for _, i := range of {
			e := &r.events[i]
			if d := e.at / 86400; d != today {
				today, place = d, int32(s)+1
				share := awayShare
				if days[d]*len(days) >= 2*len(of) {
					share = awayBusy
				}
				if rng.Float64() < share {
					place = r.newNetwork()
				}
			}
			e.network = place
		}
	}
}

func (r *recording) newNetwork() int32 {
	r.networks++
	return r.networks - 1
}

// steal gives the messages of attacks the users of their senders, and networks.
func (s *scene) steal() {
	at := make([]int32, len(s.attacks))
	for i := range at {
		if s.rng.Float64() < thiefShare {
			at[i] = s.newNetwork()
		}
	}
	for i := range s.events {
		if e := &s.events[i]; e.attack > 0 {
			e.user, e.network = e.sender+1, at[e.attack-1]
			if e.network == 0 {
				e.network = e.sender + 1
			}
		}
	}
}

// elsewhere reports what networks cost in false alarms, and what they gain.
func (b *bench) elsewhere() {
	without := b.cfg
	without.Networks.Evidence, without.Networks.Familiar = 0, 0
	fmt.Println("| recording, with users | false alarms a sender-year without networks | with networks | three networks in a day, alarms a sender-year |")
	fmt.Println("| --- | --- | --- | --- |")
	var sums [3][]float64
	recs := make([]*recording, len(b.recs))
	for i, r := range b.recs {
		recs[i] = r.clone()
		recs[i].giveNetworks(rand.New(rand.NewPCG(b.o.seed, 31)))
		p := run(b.cfg, recs[i].events)
		row := [3]float64{measureQuiet(recs[i], run(without, recs[i].events)).perYear, measureQuiet(recs[i], p).perYear, float64(p.networks) / r.years()}
		for j, x := range row {
			sums[j] = append(sums[j], x)
		}
		fmt.Printf("| %s | %.3f | %.3f | %.3f |\n", r.name, row[0], row[1], row[2])
	}
	fmt.Printf("| mean | %.3f | %.3f | %.3f |\n\n", mean(sums[0]), mean(sums[1]), mean(sums[2]))
	fmt.Printf("| attack on users | let out without networks | with networks | found without, with | at most | at least | %s |\n", strings.Join(recordings, " | "))
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, row := range elsewhereRows {
		for i := range attackKinds {
			if k := &attackKinds[i]; k.name == row.name && b.wanted(k.name) {
				var was, is result
				for _, r := range recs {
					s := newScene(r, uint64(i)+100, b.o)
					s.attack(k)
					s.steal()
					was.take(letOut(s, run(without, s.events)))
					is.take(letOut(s, run(b.cfg, s.events)))
				}
				fmt.Printf("| %s | %s | %s | %.1f %%, %.1f %% | %s | %s | %s |\n", k.name, spread(was.out), spread(is.out),
					percent(was.found, len(was.out)), percent(is.found, len(is.out)), row.atMost, row.atLeast, strings.Join(is.each, " | "))
			}
		}
	}
	fmt.Println()
}
