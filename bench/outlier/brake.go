package main

import (
	"fmt"
	"strings"
)

// The brake is measured beside the alarms: how many messages an attack has out before
// the first one waits, and how many honest ones wait. What waits is counted as if it had
// been sent, so that what the brake spares its submitter is left out.

// brakeAtMost are the messages let out before the brake that the issue allows.
var brakeAtMost = map[string]string{"burst30": "8 / 12", "burst100": "8 / 12", "flash5m": "8 / 12", "newsender": "8 / 12"}

// beforeBrake gives for each attack the messages out before the first one that waits.
func beforeBrake(s *scene, p play) (out []float64) {
	out = make([]float64, len(s.attacks))
	held := make([]bool, len(s.attacks))
	for i := range s.events {
		a := s.events[i].attack - 1
		if a < 0 || held[a] {
			continue
		}
		if held[a] = p.waits[i]; !held[a] {
			out[a]++
		}
	}
	return out
}

// slowed is what the brake does to normal mail: the share of messages that wait, and
// how often a year a sender is braked.
func slowed(r *recording, p play) (share, episodes float64) {
	last := map[int32]int64{}
	waits := 0
	for i := range r.events {
		if !p.waits[i] {
			continue
		}
		e := &r.events[i]
		waits++
		if at, ok := last[e.sender]; !ok || e.at-at > gap {
			episodes++
		}
		last[e.sender] = e.at
	}
	return float64(waits) / float64(len(r.events)), episodes / r.years()
}

// brakes reports what the brake does.
func (b *bench) brakes() {
	fmt.Println("| recording | honest messages that wait | braked, a sender-year |")
	fmt.Println("| --- | --- | --- |")
	var shares, times []float64
	for i, r := range b.recs {
		share, n := slowed(r, b.base[i])
		shares, times = append(shares, 100*share), append(times, n)
		fmt.Printf("| %s | %.2f %% | %.2f |\n", r.name, 100*share, n)
	}
	fmt.Printf("| mean | %.2f %% | %.2f |\n\n", mean(shares), mean(times))
	fmt.Printf("| attack | out before the brake, median / 90th | at most | %s |\n", strings.Join(recordings, " | "))
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for i := range attackKinds {
		k := &attackKinds[i]
		if !b.wanted(k.name) || k.by != nil {
			continue
		}
		var all []float64
		var each []string
		for _, r := range b.recs {
			s := newScene(r, uint64(i)+100, b.o)
			s.attack(k)
			out := beforeBrake(s, run(b.cfg, s.events))
			all, each = append(all, out...), append(each, spread(out))
		}
		most := brakeAtMost[k.name]
		if most == "" {
			most = "-"
		}
		fmt.Printf("| %s | %s | %s | %s |\n", k.name, spread(all), most, strings.Join(each, " | "))
	}
	fmt.Println()
}
