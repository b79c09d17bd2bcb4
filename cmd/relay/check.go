package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"

	"postern/config"
)

// runCheck says whether a configuration is good and what it means: problems
// or warnings on standard error, each with its place, then who may send what,
// as whom, by which way and how much.
func runCheck(io stdio, args []string) int {
	f := flag.NewFlagSet("relay check", flag.ContinueOnError)
	f.SetOutput(io.err)
	path := f.String("config", "", "configuration `file`")
	quiet := f.Bool("quiet", false, "print only problems and warnings")
	identity := f.Bool("dns", false, "check what DNS and upstreams say of us instead: PTR, EHLO, SPF, DKIM, DMARC, MX, certificates;\nthe status is 1 when a check fails and 3 when some could not be made")
	forged := f.Bool("open-relay", false, "try forged envelopes on the running relay instead; the status is as with -dns")
	asJSON := f.Bool("json", false, "print JSON, with -dns and -open-relay")
	if status, ok := parseFlags(f, args); !ok {
		return status
	}
	if *path == "" {
		fmt.Fprintln(io.err, "relay check: -config is missing; name the configuration file")
		return exitUsage
	}
	if *asJSON && !*identity && !*forged {
		fmt.Fprintln(io.err, "relay check: -json needs -dns or -open-relay")
		return exitUsage
	}
	file, ok := loadChecked(io, *path)
	if !ok {
		return exitFault
	}
	switch {
	case *identity && *forged:
		return worse(checkDNS(io, file, *asJSON), checkOpenRelay(io, file, *asJSON))
	case *identity:
		return checkDNS(io, file, *asJSON)
	case *forged:
		return checkOpenRelay(io, file, *asJSON)
	case *quiet:
		return exitOK
	}
	w := bufio.NewWriter(io.out)
	explain(w, file)
	if err := w.Flush(); err != nil {
		fmt.Fprintf(io.err, "relay check: print: %v\n", err)
		return exitFault
	}
	return exitOK
}

// loadChecked reads a configuration and prints what is wrong with it, a line
// each, or when nothing is, what is doubtful in it; ok says that it can be used.
func loadChecked(io stdio, path string) (file *config.File, ok bool) {
	file, warnings, err := config.Load(path)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(io.err, p)
		}
		return nil, false
	case err != nil:
		fmt.Fprintln(io.err, err)
		return nil, false
	}
	for _, p := range warnings {
		p.Text = "warning: " + p.Text
		fmt.Fprintln(io.err, p)
	}
	return file, true
}
