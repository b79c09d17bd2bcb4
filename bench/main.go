// Command bench measures the relay beside the floor, the least possible relay,
// with a load source and a sink of its own, all on loopback.
//
//	go run ./bench [-quick] [-run REGEXP] [-time 2s] [-rounds 5] [-soak 10m] [-gobench FILE] [-scale]
//
// Source, sink, Redis, floor and relay share the machine's cores, so that only
// the ratios travel between machines. Floor and relay take turns; a figure is
// the median of the rounds, or counts over all of them, and a ratio of rates is
// the median of those of the rounds. What was measured is kept in bench/results,
// except by -quick, and set beside what was kept there before. -gobench writes
// each round as benchstat reads it:
//
//	go run ./bench -rounds 10 -run unsigned -gobench new.txt
//	benchstat -col /side new.txt      # the relay beside the floor
//	benchstat -filter /side:relay old.txt new.txt
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "floor" {
		if err := floorMain(os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			os.Exit(1)
		}
		return
	}
	if err := bench(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	run     *regexp.Regexp
	list    bool
	scaling bool
	results string // folder
	gobench string // file; "": none
	keep    bool
	runner  runner
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	var pattern string
	var quick bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&pattern, "run", "", "run only rows whose name matches the `regexp`")
	f.BoolVar(&quick, "quick", false, "one short round a row: shows that all works, measures little")
	f.BoolVar(&o.list, "list", false, "print the names of the rows")
	f.BoolVar(&o.scaling, "scale", false, "measure how cost grows, for docs/scale.md, in place of the rows")
	f.StringVar(&o.results, "results", "bench/results", "`folder` of kept results; blank: keep none")
	f.StringVar(&o.gobench, "gobench", "", "write the rounds to this `file` for benchstat")
	f.StringVar(&o.runner.given, "relay", "", "measure this `program` instead of building cmd/relay")
	f.DurationVar(&o.runner.duration, "time", 2*time.Second, "of one round")
	f.IntVar(&o.runner.rounds, "rounds", 5, "of each row")
	f.DurationVar(&o.runner.soak, "soak", 30*time.Second, "of the soak row; 10m is the full one")
	o.runner.idle, o.runner.hosts, o.keep = 2000, 20_000, true
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.scaling && o.gobench != "" {
		return o, errors.New("-gobench needs rounds, which -scale does not make")
	}
	if quick {
		o.keep = false
		o.runner.duration, o.runner.rounds, o.runner.soak, o.runner.idle = 200*time.Millisecond, 1, 2*time.Second, 200
		o.runner.hosts = 2000
	}
	o.keep = o.keep && o.results != ""
	if o.runner.rounds < 1 || o.runner.duration <= 0 {
		return o, errors.New("-rounds and -time must be positive")
	}
	var err error
	o.run, err = regexp.Compile(pattern)
	return o, err
}

func bench(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	var chosen []row
	for _, r := range rows() {
		if o.run.MatchString(r.title()) {
			chosen = append(chosen, r)
		}
	}
	if o.list {
		for _, r := range chosen {
			fmt.Fprintln(out, r.title())
		}
		return nil
	}
	dir, err := scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.runner.lab, err = newLab(ctx, dir); err != nil {
		return err
	}
	defer o.runner.lab.close()
	if o.scaling {
		rep := newReport(time.Now(), &o.runner)
		if rep.Points, err = o.scale(ctx, out); err != nil {
			return err
		}
		return o.store(&rep, out)
	}
	return o.measure(ctx, chosen, out)
}

// measure runs the rows and prints them. A row that cannot be measured does not
// keep the others from it, but is an error in the end.
func (o *options) measure(ctx context.Context, chosen []row, out io.Writer) error {
	earlier, err := readReports(o.results)
	if err != nil {
		return err
	}
	rep := newReport(time.Now(), &o.runner)
	var failed []string
	for _, row := range chosen {
		fmt.Fprintf(out, "... %s\n", row.title())
		res, err := row.run(ctx, &o.runner)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", row.title(), err))
			continue
		}
		rep.Rows = append(rep.Rows, res)
	}
	fmt.Fprintf(out, "\n%s, %d cores, %s\n\n", rep.CPU, rep.Cores, rep.Go)
	rep.figures(out)
	fmt.Fprintln(out)
	below := rep.bars(out, earlier)
	if err := o.store(&rep, out); err != nil {
		return err
	}
	if err := o.storeRounds(&rep); err != nil {
		return err
	}
	if below > 0 {
		fmt.Fprintf(out, "\n%d figures are below their bar\n", below)
	}
	if failed != nil {
		return fmt.Errorf("rows that could not be measured:\n%s", strings.Join(failed, "\n"))
	}
	return nil
}

// store writes the report where later runs find it.
func (o *options) store(rep *report, out io.Writer) error {
	if !o.keep {
		return nil
	}
	name, err := rep.write(o.results)
	if err == nil {
		fmt.Fprintln(out, "\nkept as", name)
	}
	return err
}
