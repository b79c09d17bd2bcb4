package main

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"postern/outlier"
)

// TestLetOutCountsUpToTheAlarm: an alarm that comes with a message comes too
// late for that message, and one on another sender stops nothing.
func TestLetOutCountsUpToTheAlarm(t *testing.T) {
	s := &scene{recording: &recording{}}
	for i := range 10 {
		s.events = append(s.events, event{at: int64(100 + i), sender: int32(i % 2 * clients), attack: 1})
	}
	s.attacks = []attack{{senders: []int32{0, clients}, client: 0, end: 4000}}
	p := newPlay(10)
	p.sender[4] = 1 // the third message of sender 0
	if out, found := letOut(s, p); out[0] != 3+5 || found != 1 {
		t.Errorf("one sender stopped: %v out, %d found", out, found)
	}
	p.client[5] = 2
	if out, _ := letOut(s, p); out[0] != 6 {
		t.Errorf("client stopped: %v out", out)
	}
	if out, found := letOut(s, newPlay(10)); out[0] != 10 || found != 0 {
		t.Errorf("missed: %v out, %d found", out, found)
	}
}

func TestEpisodesAreADayApart(t *testing.T) {
	events := []event{{at: 10}, {at: 80_000}, {at: 160_000}, {at: 300_000}, {at: 300_001, sender: 1}}
	p := play{[]float32{1, 1, 1, 1, 0.9}, []float32{0, 0, 0, 1, 0}, make([]float32, 5), make([]bool, 5), 0}
	if senders, clients := episodesBoth(events, p, nil, nil); senders != 2 || clients != 1 {
		t.Errorf("%d episodes of senders and %d of clients, want 2 and 1", senders, clients)
	}
	if n := episodes(events, p, nil, map[int32]int64{0: 200_000}); n != 2 {
		t.Errorf("%d episodes, the first one excused", n)
	}
}

// TestSameSeedGivesTheSameScene makes every attack and honest change on a small
// recording.
func TestSameSeedGivesTheSameScene(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "small.txt.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	for d := range 90 {
		for s := range 32 {
			fmt.Fprintf(z, "%d %d %d,%d\n", 1_000_000_000+d*86400+s*1200, s, s+1, d%7)
		}
	}
	z.Close()
	f.Close()
	o := options{seed: 1, fresh: 1, refusals: true}
	r, err := load(dir, "small", o)
	if err != nil {
		t.Fatal(err)
	}
	if r.years() < 8 {
		t.Errorf("%v sender-years", r.years())
	}
	var cfg outlier.Config
	cfg.SetDefaults()
	cfg.MaxKnown = 100_000
	for i := range attackKinds {
		one, two := newScene(r, uint64(i), o), newScene(r, uint64(i), o)
		one.attack(&attackKinds[i])
		two.attack(&attackKinds[i])
		if len(one.attacks) == 0 || !reflect.DeepEqual(one.events, two.events) {
			t.Errorf("%s: %d attacks, or two scenes differ", attackKinds[i].name, len(one.attacks))
		}
		if attackKinds[i].name != "rcptblow" {
			continue
		}
		if out, found := letOut(one, run(cfg, one.events)); found != len(out) || quantile(out, .9) != 1 {
			t.Errorf("rcptblow: %v", out)
		}
	}
	for i := range honestKinds {
		s := newScene(r, uint64(i), o)
		honestKinds[i].change(s)
		s.finish()
		if len(s.honest) == 0 {
			t.Errorf("%s touches nobody", honestKinds[i].name)
		}
		for j := 1; j < len(s.events); j++ {
			if s.events[j].at < s.events[j-1].at {
				t.Fatalf("%s: events are not in order", honestKinds[i].name)
			}
		}
	}
}
