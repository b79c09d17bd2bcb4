// Command outlier measures the detector of package outlier on recorded mail,
// with labelled attacks and honest changes added, as scenarios.md beside the
// recordings says. The same seed gives the same figures.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"postern/outlier"
)

// recordings of mail; the last one was kept out of the tuning.
var recordings = []string{"eu-a", "radoslaw", "w3c"}

func main() {
	dir := flag.String("data", "../shared/data/volume", "`folder` with the recordings")
	seed := flag.Uint64("seed", 1, "of all that is drawn")
	fresh := flag.Float64("fresh", 1, "factor on the shares of new recipients in normal mail")
	noRefusals := flag.Bool("no-refusals", false, "no recipient is refused, in normal mail and in attacks")
	only := flag.String("only", "", "`names` of attacks and honest changes, with commas between; blank: all")
	sensitivity := flag.Float64("sensitivity", 1, "as in [outlier]")
	evidence := flag.Float64("evidence", 1, "as in [outlier.networks]")
	familiar := flag.Float64("familiar", 0.28, "as in [outlier.networks]")
	vary := flag.Bool("vary", false, "one line each for other seeds, without refusals, with half and twice the new recipients")
	suspects := flag.Bool("suspects", false, "measure instead whether the report on a listing names its cause")
	tuned := flag.Int("tune", -1, "take each recording as a journal, or so many of its last `days`, 0: all of it, and say which sensitivity it asks for")
	flag.Parse()
	b := bench{dir: *dir, only: *only}
	b.cfg.SetDefaults()
	b.cfg.Sensitivity, b.cfg.Networks.Evidence, b.cfg.Networks.Familiar = *sensitivity, *evidence, *familiar
	o := options{*seed, *fresh, !*noRefusals}
	if *only == "cost" {
		recordings = nil
	}
	err := b.load(o)
	switch {
	case err != nil:
	case *tuned >= 0:
		err = b.tunings(*tuned)
	case *suspects:
		b.suspects(os.Stdout)
	case *vary:
		err = b.vary(o)
	default:
		b.quiet(os.Stdout)
		b.attacks()
		b.honest()
		b.brakes()
		b.elsewhere()
		if *only == "" || *only == "cost" {
			cost()
			err = costOfAll()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "outlier:", err)
		os.Exit(1)
	}
}

// bench is one set of prepared recordings.
type bench struct {
	dir, only string
	cfg       outlier.Config
	o         options
	recs      []*recording
	base      []play
}

func (b *bench) load(o options) error {
	b.o, b.recs, b.base = o, nil, nil
	for _, name := range recordings {
		r, err := load(b.dir, name, o)
		if err != nil {
			return err
		}
		b.recs = append(b.recs, r)
		b.base = append(b.base, run(b.cfg, r.events))
	}
	return nil
}

func (b *bench) wanted(name string) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), name)
}

func mean(xs []float64) (sum float64) {
	for _, x := range xs {
		sum += x / float64(len(xs))
	}
	return sum
}

// quiet reports what normal mail suffers.
func (b *bench) quiet(out *os.File) {
	fmt.Fprintln(out, "| recording | messages | sender-years | false alarms a sender-year | of clients | under alarm | held | plain rule: alerts, suspensions a sender-year |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- | --- |")
	var all [6][]float64
	for i, r := range b.recs {
		q := measureQuiet(r, b.base[i])
		alerts, suspensions := plainRule(r, b.cfg.Refused)
		row := [6]float64{q.perYear, q.clientAlarms, 100 * q.under, 100 * q.held, alerts, suspensions}
		for j, x := range row {
			all[j] = append(all[j], x)
		}
		fmt.Fprintf(out, "| %s | %d | %.0f | %.3f | %.3f | %.2f %% | %.2f %% | %.3f, %.3f |\n", r.name, len(r.events), r.years(),
			row[0], row[1], row[2], row[3], row[4], row[5])
	}
	fmt.Fprintf(out, "| mean | | | %.3f | %.3f | %.2f %% | %.2f %% | %.3f, %.3f |\n\n",
		mean(all[0]), mean(all[1]), mean(all[2]), mean(all[3]), mean(all[4]), mean(all[5]))
}

// result is what became of the attacks of one kind.
type result struct {
	out   []float64
	found int
	each  []string // by recording
}

// take adds the attacks of one recording.
func (res *result) take(out []float64, found int) {
	res.out = append(res.out, out...)
	res.found += found
	res.each = append(res.each, fmt.Sprintf("%s, %.0f %%", spread(out), percent(found, len(out))))
}

func (b *bench) attack(i int) (res result) {
	k := &attackKinds[i]
	for _, r := range b.recs {
		s := newScene(r, uint64(i)+100, b.o)
		s.attack(k)
		res.take(letOut(s, run(b.cfg, s.events)))
	}
	return res
}

func spread(out []float64) string {
	return fmt.Sprintf("%.0f / %.0f", quantile(out, .5), quantile(out, .9))
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }

func (b *bench) attacks() {
	fmt.Printf("| attack | let out, median / 90th | found | at most | at least | %s |\n", strings.Join(recordings, " | "))
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for i := range attackKinds {
		k := &attackKinds[i]
		if !b.wanted(k.name) {
			continue
		}
		res := b.attack(i)
		fmt.Printf("| %s | %s | %.1f %% | %s | %s | %s |\n", k.name, spread(res.out), percent(res.found, len(res.out)),
			k.atMost, k.atLeast, strings.Join(res.each, " | "))
	}
	fmt.Println()
}

func (b *bench) honest() {
	fmt.Printf("| honest change | extra alarms for each touched sender | at most | %s |\n", strings.Join(recordings, " | "))
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for i := range honestKinds {
		k := &honestKinds[i]
		if !b.wanted(k.name) {
			continue
		}
		xs, _ := b.extra(i)
		each := make([]string, len(xs))
		for j, x := range xs {
			each[j] = fmt.Sprintf("%.3f", x)
		}
		target := "-"
		if k.target > 0 {
			target = fmt.Sprintf("%.2f", k.target)
		}
		fmt.Printf("| %s | %.3f | %s | %s |\n", k.name, mean(xs), target, strings.Join(each, " | "))
	}
	fmt.Println()
}

// extra gives the extra alarms for each touched sender, by recording.
func (b *bench) extra(i int) (xs []float64, touched int) {
	for j, r := range b.recs {
		s := newScene(r, uint64(i)+200, b.o)
		excused := honestKinds[i].change(s)
		s.finish()
		theirs := func(e *event) bool { return s.honest[e.sender] && e.attack == 0 }
		with := episodes(s.events, run(b.cfg, s.events), theirs, excused)
		events, base := r.events, b.base[j]
		if honestKinds[i].users {
			plain := r.clone()
			plain.giveUsers()
			events, base = plain.events, run(b.cfg, plain.events)
		}
		without := episodes(events, base, theirs, nil)
		xs = append(xs, float64(with-without)/float64(max(1, len(s.honest))))
		touched += len(s.honest)
	}
	return xs, touched
}

// vary shows how the figures move with what was drawn and assumed.
func (b *bench) vary(o options) error {
	for _, v := range []struct {
		name string
		o    options
	}{
		{"seed 2", options{o.seed + 1, 1, true}}, {"seed 3", options{o.seed + 2, 1, true}}, {"seed 4", options{o.seed + 3, 1, true}},
		{"no refusals", options{o.seed, 1, false}}, {"half the new", options{o.seed, 0.5, true}}, {"twice the new", options{o.seed, 2, true}},
	} {
		if err := b.load(v.o); err != nil {
			return err
		}
		var alarms []float64
		for i, r := range b.recs {
			alarms = append(alarms, measureQuiet(r, b.base[i]).perYear)
		}
		fmt.Printf("| %s | %.3f |", v.name, mean(alarms))
		for i := range attackKinds {
			if b.wanted(attackKinds[i].name) {
				res := b.attack(i)
				fmt.Printf(" %s %s %.0f %% |", attackKinds[i].name, spread(res.out), percent(res.found, len(res.out)))
			}
		}
		for i := range honestKinds {
			if b.wanted(honestKinds[i].name) && honestKinds[i].target > 0 {
				xs, _ := b.extra(i)
				fmt.Printf(" %s %.3f |", honestKinds[i].name, mean(xs))
			}
		}
		fmt.Println()
	}
	return nil
}
