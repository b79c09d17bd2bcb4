package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"postern/ratelimit/limitimport"
)

const importUsage = `usage: relay import %s FILE

FILE is its configuration (of iredapd: its table throttle, as INSERT statements or
as columns under their names); - is standard input. Limits are printed as TOML,
with a comment wherever the meaning changes.
`

// runImport prints the limits of another program as tables [limit.NAME].
func runImport(io stdio, args []string) int {
	f := flag.NewFlagSet("relay import", flag.ContinueOnError)
	f.SetOutput(io.err)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), importUsage, strings.Join(limitimport.Formats, "|"))
	}
	if status, ok := parseOpenFlags(f, args); !ok {
		return status
	}
	if f.NArg() != 2 {
		fmt.Fprintf(io.err, "relay import: name the program, one of %s, and the file to read\n", strings.Join(limitimport.Formats, ", "))
		return exitUsage
	}
	in := io.in
	if name := f.Arg(1); name != "-" {
		file, err := os.Open(name)
		if err != nil {
			fmt.Fprintf(io.err, "relay import: %v\n", err)
			return exitUsage
		}
		defer file.Close()
		in = file
	}
	if err := limitimport.Import(f.Arg(0), in, io.out); err != nil {
		fmt.Fprintf(io.err, "relay import: %s: %v\n", f.Arg(1), err)
		return exitFault
	}
	return exitOK
}
