package main

import (
	"io"
	"strings"
	"testing"
)

// A machine that slows down for a while must not change a ratio: both sides of a
// round met it.
func TestThroughputsGoByRound(t *testing.T) {
	fast, slow := round{Rate: 1000}, round{Rate: 400}
	floor := measure{Rate: 1000, Rounds: []round{fast, fast, slow, slow, fast}}
	relay := measure{Rate: 200, Rounds: []round{{Rate: 500}, {Rate: 500}, {Rate: 200}, {Rate: 200}, {Rate: 200}}}
	for _, c := range []struct {
		name        string
		relay, base measure
		want        float64
	}{
		{"by round", relay, floor, 0.5},
		{"an even number of rounds", measure{Rounds: relay.Rounds[1:]}, measure{Rounds: floor.Rounds[1:]}, 0.5},
		{"two rounds", measure{Rounds: []round{{Rate: 250}, {Rate: 500}}}, measure{Rounds: []round{fast, fast}}, 0.375},
		{"one side without rounds", relay, measure{Rate: 1000}, 0.2},
		{"no rounds", measure{Rate: 300}, measure{Rate: 600}, 0.5},
	} {
		if got := throughputs(c.relay, c.base); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if rateRatio(relay, measure{}) != 0 {
		t.Error("a ratio without a base")
	}
}

func TestRoundsForBenchstat(t *testing.T) {
	rep := report{Go: "go1", CPU: "a cpu", Cores: 2, Rows: []result{
		{Row: "2 KiB, unsigned", Relay: measure{Rounds: []round{{Messages: 10, Rate: 5, CPU: 0.25, P50: 1}, {Messages: 20, Rate: 6, CPU: 0.5, P50: 2}}},
			Floor: measure{Rounds: []round{{Messages: 30, Rate: 7, CPU: 0.125, P50: 3}}}},
		{Row: "idle"},
	}}
	const want = `goversion: go1
cpu: a cpu
cores: 2
BenchmarkRow/2_KiB,_unsigned/side=relay 10 5.000 msg/s 0.250000 cpu-ms/msg 1.000000 p50-ms
BenchmarkRow/2_KiB,_unsigned/side=relay 20 6.000 msg/s 0.500000 cpu-ms/msg 2.000000 p50-ms
BenchmarkRow/2_KiB,_unsigned/side=base 30 7.000 msg/s 0.125000 cpu-ms/msg 3.000000 p50-ms
`
	if got := string(rep.gobench()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := parse([]string{"-scale", "-gobench", "x"}, io.Discard); err == nil {
		t.Error("-scale with -gobench, which would write nothing, was taken")
	}
	o := options{gobench: t.TempDir() + "/no/such/folder"}
	if err := o.storeRounds(&rep); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("into a folder that is not there: %v", err)
	}
}
