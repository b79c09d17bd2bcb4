package main

import (
	"bufio"
	"flag"
	"fmt"

	"postern/cmd/relay/cli"
	"postern/internal/check"
	"postern/internal/config"
	"postern/internal/describe"
)

// runCheck says whether a configuration is good and what it means: problems
// or warnings on standard error, each with its place, then who may send what,
// as whom, by which way and how much.
func runCheck(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay check", flag.ContinueOnError)
	f.SetOutput(io.Err)
	named := cli.ConfigFlag(f, "")
	quiet := f.Bool("quiet", false, "print only problems and warnings")
	identity := f.Bool("dns", false, "check instead what DNS and upstreams say about the relay: PTR, EHLO, SPF, DKIM, DMARC, MX, certificates;\nthe exit status is 1 when a check fails and 3 when some could not be made")
	forged := f.Bool("open-relay", false, "try forged envelopes on the running relay instead; the exit status is as with -dns")
	connect := f.Bool("connect", false, "try instead what mail needs: TLS and login at each upstream host, Redis with each command, test messages to each\nscanner, certificates, a signature by each DKIM key (with -dns compared with its record in DNS); the exit status is as with -dns")
	strict := f.Bool("strict", false, "report passwords, keys, certificates and other files that relay serve needs but that cannot be read here as problems\nand not as warnings; run it before a start or reload, as the user of the relay")
	asJSON := f.Bool("json", false, "print JSON, with -dns, -open-relay and -connect")
	path, status, ok := cli.ParseConfig(f, named, args)
	if !ok {
		return status
	}
	if *asJSON && !*identity && !*forged && !*connect {
		fmt.Fprintln(io.Err, "relay check: -json needs -dns, -open-relay or -connect")
		return cli.Usage
	}
	load := config.LoadHere
	if *strict || *connect {
		load = config.Load
	}
	file, ok := cli.LoadChecked(io, path, load)
	if !ok {
		return cli.Fault
	}
	if err := check.StateFolder(file, *strict); err != nil {
		p := config.Problem{File: path, Key: "state_dir", Text: err.Error() + "; relay serve does not start with it"}
		fmt.Fprintln(io.Err, p)
		return cli.Fault
	}
	if !*connect && watchFiles(io, file, *strict) && *strict { // -connect tells of them itself
		return cli.Fault
	}
	if *identity || *forged || *connect {
		return checkOutside(io, file, *identity, *forged, *connect, *asJSON)
	}
	if *quiet {
		return cli.OK
	}
	w := bufio.NewWriter(io.Out)
	describe.Config(w, file)
	if err := w.Flush(); err != nil {
		fmt.Fprintf(io.Err, "relay check: print: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}

// watchFiles tells of a file of [outlier] that cannot be read, as a problem or as a warning:
// a copy of the configuration is checked on machines that lack it.
func watchFiles(io cli.IO, file *config.File, strict bool) (bad bool) {
	err := check.WatchFiles(file)
	if err == nil {
		return false
	}
	kind := "warning: "
	if strict {
		kind = ""
	}
	fmt.Fprintln(io.Err, config.Problem{File: file.Path(), Text: kind + err.Error() + "; relay serve does not start with it"})
	return true
}

// checkOutside makes the checks that ask others, in turn.
func checkOutside(io cli.IO, file *config.File, identity, forged, connect, asJSON bool) int {
	status := cli.OK
	if connect {
		status = worse(status, checkConnect(io, file, identity, asJSON))
	}
	if identity {
		status = worse(status, checkDNS(io, file, asJSON))
	}
	if forged {
		status = worse(status, checkOpenRelay(io, file, asJSON))
	}
	return status
}
