package offline

import (
	"bufio"
	"flag"
	"fmt"
	"strings"

	"postern/cmd/relay/cli"
	"postern/internal/simulate"
	"postern/ratelimit"
)

// Suggest prints limits that hold what the journal has, with room above.
func Suggest(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay suggest", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names the journal")
	named := cli.JournalFlag(f)
	headroom := f.Float64("headroom", 1.5, "`factor` from the highest use to the limit, 1 to 100")
	windows := f.String("windows", "1m,1h,24h", "`list` of rolling windows, 1s to 31d")
	units := f.String("units", "messages,recipients", "`list` of units: messages, recipients, bytes, distinct_recipients")
	listed := f.Int("listed", 50, "give the `n` busiest clients and senders numbers of their own if they need more than the others")
	asJSON := f.Bool("json", false, "print the highest uses of every client and sender as JSON")
	words, status, ok := cli.ParseWords(f, args, cli.MaxJournals)
	if !ok {
		return status
	}
	asked, err := askedWindows(*units, *windows)
	switch {
	case err != nil:
		fmt.Fprintf(io.Err, "relay suggest: %v\n", err)
		return cli.Usage
	case !(*headroom >= 1 && *headroom <= 100):
		fmt.Fprintln(io.Err, "relay suggest: -headroom is a factor from 1 to 100; 1.5 leaves half as much again")
		return cli.Usage
	}
	files, err := cli.JournalsNamed(*path, append(*named, words...))
	if err != nil {
		fmt.Fprintf(io.Err, "relay suggest: %v\n", err)
		return cli.Usage
	}
	found, err := measure(io, asked, files)
	if err != nil {
		fmt.Fprintf(io.Err, "relay suggest: %v\n", err)
		return cli.Fault
	}
	s := simulate.Suggestion{Found: found, Headroom: *headroom, Listed: max(0, *listed)}
	if *asJSON {
		cli.PrintJSON(io, s.JSON())
		return cli.OK
	}
	w := bufio.NewWriter(io.Out)
	s.Write(w)
	if err := w.Flush(); err != nil {
		fmt.Fprintf(io.Err, "relay suggest: print: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}

func measure(io cli.IO, asked []simulate.Window, files []string) (*simulate.Demands, error) {
	defer lazyCollector()()
	d, err := simulate.NewDemand(asked)
	if err != nil {
		return nil, err
	}
	damage, err := simulate.Read(files, io.In, d.Add)
	tell, err := cli.Damage(io, "relay suggest", damage, err)
	tell()
	if err != nil {
		return nil, err
	}
	return d.Demands(), nil
}

// askedWindows reads the lists of units and windows.
func askedWindows(units, windows string) (asked []simulate.Window, err error) {
	for name := range strings.SplitSeq(units, ",") {
		var u ratelimit.Unit
		if err := u.UnmarshalText([]byte(strings.TrimSpace(name))); err != nil {
			return nil, fmt.Errorf("-units: %w", err)
		}
		for length := range strings.SplitSeq(windows, ",") {
			var n ratelimit.Number
			if err := n.UnmarshalText([]byte("1/" + strings.TrimSpace(length))); err != nil {
				return nil, fmt.Errorf("-windows: %q is not a window; write one from %q to %q", length, "1s", "31d")
			}
			asked = append(asked, simulate.Window{Unit: u, Length: n.Window})
		}
	}
	return asked, nil
}
