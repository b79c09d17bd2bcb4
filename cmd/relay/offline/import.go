package offline

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"postern/cmd/relay/cli"
	"postern/ratelimit/limitimport"
)

const importUsage = `usage: relay import %s FILE

FILE is its configuration, or - for standard input. For iredapd it is its table
throttle, as INSERT statements or as columns below a line of their names. Limits are
printed as TOML, with a comment wherever the meaning changes.
`

// Import prints the limits of another program as tables [limit.NAME].
func Import(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay import", flag.ContinueOnError)
	f.SetOutput(io.Err)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), importUsage, strings.Join(limitimport.Formats, "|"))
	}
	if status, ok := cli.ParseOpenFlags(f, args); !ok {
		return status
	}
	if f.NArg() != 2 {
		fmt.Fprintf(io.Err, "relay import: name the program, one of %s, and the file to read\n", strings.Join(limitimport.Formats, ", "))
		return cli.Usage
	}
	in := io.In
	if name := f.Arg(1); name != "-" {
		file, err := os.Open(name)
		if err != nil {
			fmt.Fprintf(io.Err, "relay import: %v\n", err)
			return cli.Usage
		}
		defer file.Close()
		in = file
	}
	if err := limitimport.Import(f.Arg(0), in, io.Out); err != nil {
		fmt.Fprintf(io.Err, "relay import: %s: %v\n", f.Arg(1), err)
		return cli.Fault
	}
	return cli.OK
}
