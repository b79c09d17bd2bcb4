package main

import (
	"fmt"

	"postern/cmd/relay/cli"
	"postern/cmd/relay/control"
	"postern/cmd/relay/offline"
)

const outliersUsage = `usage: relay outliers replay [-config FILE]
       relay outliers explain [-config FILE] WHO
       relay outliers measure [-config FILE] [-json] [-as-table FILE] [-journal FILE...]
       relay outliers tune [-config FILE] [-json] [-accept N/year] [-confirmed WHO...] [-journal FILE...]
       relay outliers backtest [-config FILE] [-json] -journal FILE [FILE...]
`

func runOutliers(io cli.IO, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "replay":
			return offline.Replay(io, args[1:])
		case "explain":
			return control.ExplainOutlier(io, args[1:])
		case "measure":
			return offline.Measure(io, args[1:])
		case "tune":
			return offline.Tune(io, args[1:])
		case "backtest":
			return offline.Backtest(io, args[1:])
		case "-h", "-help", "--help", "help":
			fmt.Fprint(io.Out, outliersUsage)
			return cli.OK
		}
		fmt.Fprintf(io.Err, "relay outliers: unknown command %q\n", args[0])
	}
	fmt.Fprint(io.Err, outliersUsage)
	return cli.Usage
}
