// Command outlier measures the detector of volume outliers on recorded mail
// with attacks and honest changes added.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"postern/outlier"
)

var sets = []string{"eu-a", "radoslaw", "w3c"}

func main() {
	dir := flag.String("data", "/work/shared/data/volume", "")
	seed := flag.Uint64("seed", 1, "")
	fresh := flag.Float64("fresh", 1, "")
	norefusals := flag.Bool("no-refusals", false, "")
	only := flag.String("only", "", "")
	which := flag.String("sets", strings.Join(sets, ","), "")
	flag.Parse()
	o := options{*seed, *fresh, !*norefusals}
	var cfg outlier.Config
	cfg.SetDefaults()
	start := time.Now()
	want := func(name string) bool {
		return *only == "" || slices.Contains(strings.Split(*only, ","), name)
	}
	var recs []*recording
	var base []play
	var mean quiet
	list := strings.Split(*which, ",")
	for _, name := range list {
		r, err := load(*dir, name, o)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		p := run(cfg, r.events)
		recs, base = append(recs, r), append(base, p)
		q := measureQuiet(r, p)
		n := float64(len(list))
		mean.perYear += q.perYear / n
		mean.under += q.under / n
		mean.held += q.held / n
		fmt.Printf("%-9s %7d messages %5.0f years: %.3f alarms a sender-year (senders %.3f clients %.3f), under %.2f %% held %.2f %%\n",
			name, len(r.events), r.years(), q.perYear, q.senderAlarms, q.clientAlarms, 100*q.under, 100*q.held)
	}
	fmt.Printf("mean %.3f under %.2f held %.2f\n", mean.perYear, 100*mean.under, 100*mean.held)
	for i := range attackKinds {
		k := &attackKinds[i]
		if !want(k.name) {
			continue
		}
		var out []float64
		found := 0
		line := ""
		for _, r := range recs {
			s := newScene(r, uint64(i)+100, o)
			s.attack(k)
			x, f := letOut(s, run(cfg, s.events))
			out = append(out, x...)
			found += f
			line += fmt.Sprintf("  %s %.0f/%.0f %.0f%% (%d)", r.name[:2], quantile(x, .5), quantile(x, .9), 100*float64(f)/float64(len(x)), len(x))
		}
		fmt.Printf("%-10s %4.0f / %4.0f %5.1f%%   %s\n", k.name, quantile(out, .5), quantile(out, .9), 100*float64(found)/float64(len(out)), line)
	}
	for i := range honestKinds {
		k := &honestKinds[i]
		if !want(k.name) {
			continue
		}
		line, mean := "", 0.0
		for j, r := range recs {
			s := newScene(r, uint64(i)+200, o)
			excused := k.change(s)
			s.finish()
			touched := func(e *event) bool { return s.honest[e.sender] }
			s1, c1 := episodes(s.events, run(cfg, s.events), touched, excused)
			s0, c0 := episodes(r.events, base[j], touched, nil)
			x := float64(s1+c1-s0-c0) / float64(max(1, len(s.honest)))
			mean += x / float64(len(recs))
			line += fmt.Sprintf("  %s %.3f (s%+d c%+d /%d)", r.name[:2], x, s1-s0, c1-c0, len(s.honest))
		}
		fmt.Printf("%-10s %6.3f   %s\n", k.name, mean, line)
	}
	fmt.Println(time.Since(start).Round(time.Second))
}
