// Command readers holds the header From that passes the relay, in the form in
// which it leaves, against readers of other hands: on values made at random of
// hostile parts, no reader may see an author whom the relay did not judge. The
// same seed gives the same values. It ends with status 1 where one does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	n := flag.Int("n", 1_000_000, "`number` of values to make")
	seed := flag.Uint64("seed", 1, "of all that is drawn")
	dir := flag.String("dir", "bench/readers", "`folder` of the scripts, with node_modules")
	only := flag.String("only", "", "`names` of readers, with commas between; blank: all that are installed")
	show := flag.Int("show", 5, "how many values that a reader takes otherwise to print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, *n, *seed, *dir, *only, *show)
	if err != nil {
		fmt.Fprintln(os.Stderr, "readers:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, seed uint64, dir, only string, show int) (ok bool, err error) {
	ok = true
	for _, with := range []setting{{}, {strictNames: true}, {lenientForms: true}} {
		passed, err := pass(n, seed, with)
		if err != nil {
			return false, err
		}
		fmt.Printf("%s: of %d values %d pass, %d of them written anew\n", with, n, len(passed), anew(passed))
		for _, r := range readers(dir) {
			if only != "" && !slices.Contains(strings.Split(only, ","), r.name) || r.strict && !with.strictNames {
				continue
			}
			if !r.installed() {
				fmt.Printf("  %-22s is not installed\n", r.name)
				ok = false
				continue
			}
			v, err := r.hold(ctx, passed)
			if err != nil {
				return false, fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Printf("  %-22s others %d, no From %d, nobody %d, the same %d\n", r.name, len(v.wrong), len(v.missing), v.nobody, v.same)
			for _, w := range append(v.wrong[:min(show, len(v.wrong))], v.missing[:min(show, len(v.missing))]...) {
				fmt.Println("   ", w)
			}
			ok = ok && len(v.wrong)+len(v.missing) == 0
		}
	}
	return ok, nil
}

func anew(passed []message) (n int) {
	for i := range passed {
		if passed[i].anew {
			n++
		}
	}
	return n
}
