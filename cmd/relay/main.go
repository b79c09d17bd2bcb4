// Command relay runs and inspects Postern, an outbound SMTP relay that
// enforces sending policy.
package main

import (
	"fmt"
	"io"
	"os"

	"postern/internal/plain"
)

// Exit statuses of every verb.
const (
	exitOK    = 0
	exitFault = 1 // the work was tried and failed, or a check found faults
	exitUsage = 2 // unknown verb or flag, unreadable or wrong configuration
)

// stdio is what a verb talks to; tests give it buffers.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// verb is one command; run returns the exit status.
type verb struct {
	name, summary string
	run           func(io stdio, args []string) int
}

// verbs in the order in which usage lists them.
var verbs = []verb{
	{"serve", "run the relay", runServe},
	{"status", "show the state of a running relay: ready or why not, upstream hosts, store, last reload", runStatus},
	{"health", "exit with 0 while a running relay answers; for containers and supervisors", runHealth},
	{"check", "explain a configuration and list what is wrong with it", runCheck},
	{"dkim", "make DKIM keys and print their DNS records", runDKIM},
	{"explain", "describe one transaction in words, from the journal", runExplain},
	{"find", "look a message up in the journal, by sender, recipient, ids, code, class or time", runFind},
	{"alert", "list the conditions that hold, and try a channel of alerts", runAlert},
	{"hash-password", "hash a password for [user.NAME]", runHashPassword},
	{"listings", "show where we are listed, since when, and who may have caused it", runListings},
	{"outliers", "try the detector of unusual senders on a journal or on other traffic", runOutliers},
	{"backoff", "list and end back-offs that receivers asked for", runBackoff},
	{"mx", "show who takes mail for a domain, and in which order they would be tried", runMX},
	{"oauth", "log a mailbox in at the provider of an upstream", runOAuth},
	{"suppressions", "list, add and remove recipients to whom no mail is sent", runSuppressions},
	{"limits", "show, explain and reset limits, and allow more for a while", runLimits},
	{"senders", "list senders with their numbers of today and their usual ones, or show one", runSenders},
	{"suspend", "defer all mail of a sender, user or client", runSuspend},
	{"release", "end a suspension, throttle or alarm", runRelease},
	{"simulate", "show what the limits of a configuration would have refused of past mail", runSimulate},
	{"scan", "show a message in a file to each scanner, and say what would become of it", runScan},
	{"suggest", "find limits that past mail would have kept, with headroom", runSuggest},
	{"import", "read the limits of another program", runImport},
	{"version", "print the version", runVersion},
	{"replies", "classify replies of receivers, count them, and teach those that are unknown", runReplies},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "find" {
		yieldToMail()
	}
	os.Exit(run(stdio{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

func run(io stdio, args []string) int {
	io.out, io.err = plain.NewWriter(io.out), plain.NewWriter(io.err)
	if len(args) == 0 {
		usage(io.err)
		return exitUsage
	}
	for _, v := range verbs {
		if v.name == args[0] {
			return v.run(io, args[1:])
		}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(io.out)
		return exitOK
	}
	fmt.Fprintf(io.err, "relay: unknown command %q; run \"relay help\" for the list\n", args[0])
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: relay <command> [flags]\n\n")
	for _, v := range verbs {
		fmt.Fprintf(w, "  %-14s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, "\nrelay <command> -h shows the flags of a command.\n")
}
