// Command relay runs and inspects Postern, an outbound SMTP relay that
// enforces sending policy.
package main

import (
	"fmt"
	"io"
	"os"

	"postern/cmd/relay/cli"
	"postern/cmd/relay/control"
	"postern/cmd/relay/offline"
	"postern/internal/plain"
)

// verb is one command; run returns the exit status.
type verb struct {
	name, summary string
	run           func(io cli.IO, args []string) int
}

// verbs in the order in which usage lists them.
var verbs = []verb{
	{"serve", "run the relay", runServe},
	{"status", "show the state of a running relay: ready or why not, upstream hosts, store, last reload", control.Status},
	{"health", "exit with 0 while a running relay answers; for containers and supervisors", runHealth},
	{"reload", "have a running relay read its configuration again, and say how it went", control.Reload},
	{"token", "make, list and revoke tokens of the API", control.Token},
	{"audit", "show who had the relay do what, and verify that no line was changed", control.Audit},
	{"check", "explain a configuration and list what is wrong with it", runCheck},
	{"dkim", "make DKIM keys and print their DNS records", runDKIM},
	{"explain", "describe one transaction in words, from the journal", offline.Explain},
	{"find", "look up a message in the journal, by sender, recipient, ids, code, class or time", offline.Find},
	{"incident", "tell what left in somebody's name, to whom, and what receivers said", offline.Incident},
	{"alert", "list the conditions that hold, and try a channel of alerts", control.Alert},
	{"hash-password", "hash a password for [user.NAME]", runHashPassword},
	{"listings", "show where we are listed, since when, and who may have caused it", control.Listings},
	{"outliers", "try the detector of unusual senders on a journal or on other traffic", runOutliers},
	{"backoff", "list and end back-offs that receivers asked for", control.Backoff},
	{"warmup", "show how warm each source address is at each group of receivers", control.Warmup},
	{"mx", "show which hosts take mail for a domain, in the order in which they would be tried", runMX},
	{"tls", "show how TLS with receivers went, by what their domains ask for", control.TLS},
	{"firewall", "print nftables rules that let only the relay send mail from this machine", offline.Firewall},
	{"oauth", "log a mailbox in at the provider of an upstream", runOAuth},
	{"suppressions", "list, add and remove recipients to whom no mail is sent", control.Suppressions},
	{"limits", "show, explain and reset limits, and allow more for a while", control.Limits},
	{"console", "print a link that logs a browser in to the console of a running relay", control.Console},
	{"senders", "list senders with their numbers of today and their usual ones, or show one", control.Senders},
	{"suspend", "defer all mail of a sender, user or client", control.Suspend},
	{"release", "end a suspension, throttle or alarm", control.Release},
	{"simulate", "show which past mail the limits of a configuration would have refused", offline.Simulate},
	{"scan", "show a message file to each scanner, and say what would happen to the message", offline.Scan},
	{"suggest", "find limits that past mail would have stayed within, with headroom", offline.Suggest},
	{"import", "read the limits of another program", offline.Import},
	{"version", "print the version", runVersion},
	{"replies", "classify and count replies of receivers, and write rules for unknown ones", offline.Replies},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "find" {
		offline.YieldToMail()
	}
	os.Exit(run(cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
}

func run(io cli.IO, args []string) int {
	io.Out, io.Err = plain.NewWriter(io.Out), plain.NewWriter(io.Err)
	if len(args) == 0 {
		usage(io.Err)
		return cli.Usage
	}
	for _, v := range verbs {
		if v.name == args[0] {
			return v.run(io, args[1:])
		}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(io.Out)
		return cli.OK
	}
	fmt.Fprintf(io.Err, "relay: unknown command %q; run \"relay help\" for the list\n", args[0])
	return cli.Usage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: relay <command> [flags]\n\n")
	for _, v := range verbs {
		fmt.Fprintf(w, "  %-14s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, "\nrelay <command> -h shows the flags of a command.\n")
}
