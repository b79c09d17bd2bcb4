package main

import (
	"context"
	"fmt"
	"time"

	"postern/dkimsign"
	"postern/internal/config"
	"postern/reputation"
)

// exitUnknown: no check failed, but some could not be carried out.
const exitUnknown = 3

// worse is the status of two checks together: what failed goes before what is
// unknown.
func worse(a, b int) int {
	if a == exitFault || b == exitFault {
		return exitFault
	}
	return max(a, b)
}

// checkBound is the most that relay check --dns may take.
const checkBound = 2 * time.Minute

// checkDNS is relay check --dns: what DNS and upstreams say of us, against what
// they should.
func checkDNS(io stdio, f *config.File, asJSON bool) int {
	signers, missing, err := dkimsign.Check(f.DKIM)
	if err != nil {
		fmt.Fprintf(io.err, "relay check: %v\n", err)
		return exitFault
	}
	for _, file := range missing {
		fmt.Fprintf(io.err, "relay check: key file %s is not there yet, so its record is not checked; relay serve makes it\n", file)
	}
	r, err := reputation.NewResolver(reputation.ResolverOptions{Servers: f.Reputation.Resolvers, Timeout: f.Reputation.Timeout})
	if err != nil {
		fmt.Fprintf(io.err, "relay check: %v\n", err)
		return exitFault
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkBound)
	defer cancel()
	report := reputation.Check(ctx, r, identityOf(f, signers), time.Now)
	summary := reputation.Summarize(report.Findings)
	if asJSON {
		printJSON(io, map[string]any{"findings": report.Findings, "summary": summary})
	} else {
		reputation.WriteTable(io.out, report.Findings)
	}
	return summary.ExitStatus()
}
