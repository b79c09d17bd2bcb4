package main

import (
	"context"
	"fmt"
	"time"

	"postern/cmd/relay/cli"
	"postern/dkimsign"
	"postern/internal/check"
	"postern/internal/config"
	"postern/internal/resolve"
	"postern/internal/text"
	"postern/reputation/identity"
)

// worse is the status of two checks together: what failed goes before what is
// unknown.
func worse(a, b int) int {
	if a == cli.Fault || b == cli.Fault {
		return cli.Fault
	}
	return max(a, b)
}

// checkBound is the most that relay check --dns may take.
const checkBound = 2 * time.Minute

// checkDNS is relay check --dns: what DNS and upstreams say of us, against what
// they should.
func checkDNS(io cli.IO, f *config.File, asJSON bool) int {
	signers, missing, err := dkimsign.Check(f.DKIM)
	if err != nil {
		fmt.Fprintf(io.Err, "relay check: %v\n", err)
		return cli.Fault
	}
	for _, file := range missing {
		fmt.Fprintf(io.Err, "relay check: key file %s is not there yet, so its record is not checked; relay serve makes it\n", file)
	}
	r, err := resolve.New(resolve.Options{Servers: f.Reputation.Resolvers, Timeout: f.Reputation.Timeout})
	if err != nil {
		fmt.Fprintf(io.Err, "relay check: %v\n", err)
		return cli.Fault
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkBound)
	defer cancel()
	report := identity.Check(ctx, r, check.Identity(f, signers), time.Now)
	summary := identity.Summarize(report.Findings)
	if asJSON {
		cli.PrintJSON(io, map[string]any{"findings": report.Findings, "summary": summary})
	} else {
		identity.WriteTable(io.Out, report.Findings)
	}
	return summary.ExitStatus()
}

// checkConnect is relay check -connect: what mail will need is tried now.
func checkConnect(io cli.IO, f *config.File, dns, asJSON bool) int {
	all := check.Connect(context.Background(), f, dns)
	summary := identity.Summarize(all)
	if asJSON {
		cli.PrintJSON(io, map[string]any{"findings": all, "summary": summary})
	} else {
		identity.WriteTable(io.Out, all)
	}
	return summary.ExitStatus()
}

// checkOpenRelay is relay check -open-relay: forged envelopes against the
// running relay.
func checkOpenRelay(io cli.IO, f *config.File, asJSON bool) int {
	t := check.OpenRelay(context.Background(), f, func(*check.Forgery) bool { return true })
	if asJSON {
		cli.PrintJSON(io, t)
		return openRelayStatus(&t)
	}
	for i := range t.Attempts {
		a := &t.Attempts[i]
		if a.Status == "pass" {
			continue
		}
		fmt.Fprintf(io.Out, "%s: listener %s, from %s: %s\n", a.Status, a.Listener, a.From, a.Forgery)
		for _, line := range a.Transcript {
			fmt.Fprintf(io.Out, "  %s\n", line)
		}
	}
	for _, w := range t.Warnings {
		fmt.Fprintf(io.Out, "warn: %s\n", w)
	}
	for _, s := range t.Skipped {
		fmt.Fprintf(io.Out, "unknown: %s\n", s)
	}
	fmt.Fprintf(io.Out, "open relay: %s, %d accepted, %d refused, %d without an answer\n",
		text.Count(len(t.Attempts), "forged envelope", "forged envelopes"), t.Count("fail"), t.Count("pass"), t.Count("unknown"))
	return openRelayStatus(&t)
}

func openRelayStatus(t *check.RelayTest) int {
	switch {
	case t.Count("fail") > 0:
		return cli.Fault
	case t.Count("pass") == 0, t.Count("unknown") > 0, len(t.Skipped) > 0:
		return cli.Unknown
	}
	return cli.OK
}
