package cli

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// help is what -h says of a command above its flags.
type help struct {
	operands string // what follows the flags, such as "ID"; "": nothing
	what     string // what the command does, a sentence without its subject
	example  string // arguments that people often give; "": none
}

// helps by the name of the command without "relay".
var helps = map[string]help{
	"serve":               {"", "Runs the relay until it is stopped.", ""},
	"status":              {"", "Shows whether a running relay takes mail and why not, its upstream hosts, store and last reload.", ""},
	"health":              {"", "Exits with 0 while a running relay answers, else with 1.", "-ready"},
	"reload":              {"", "Has a running relay read its configuration again, and says whether it is now in use.", "-dry-run"},
	"token new":           {"NAME", "Makes a token of the API and prints it; it is not shown again.", "-role operate -for 30d alice"},
	"token list":          {"", "Lists the tokens of the API, without their secret text.", ""},
	"token revoke":        {"NAME", "Revokes a token at once.", ""},
	"audit list":          {"", "Lists who had the relay do what, the newest first.", "-act release"},
	"audit undo":          {"ID", "Undoes one action of relay audit list.", "-dry-run ID"},
	"audit verify":        {"[FILE]", "Checks that no line of the audit was changed, removed or inserted.", ""},
	"check":               {"[FILE]", "Explains a configuration and lists what is wrong with it.", "-strict new.toml"},
	"dkim keygen":         {"", "Makes a DKIM key and prints its DNS record.", "-domain example.org -selector s2027 -out s2027.pem"},
	"dkim record":         {"", "Prints the DNS record of a DKIM key.", "-domain example.org -selector s2027 -key s2027.pem"},
	"dkim rotate":         {"DOMAIN", "Makes the next key of a domain, prints its DNS record, and says whether DNS has it.", "-wait 1h example.org"},
	"explain":             {"ID", "Describes one transaction in words, from the journal.", ""},
	"find":                {"", "Lists messages in the journal, the newest first.", "-to bob@dest.example -since 2d"},
	"incident":            {"WHO", "Tells what left in somebody's name, to whom, and what receivers said. WHO is a sender, user:NAME, submitter:CLIENT/NAME or client:NAME.", "-since 2d -list to.csv anna@example.org"},
	"alert list":          {"", "Lists open alerts and the channels.", ""},
	"alert test":          {"CHANNEL", "Sends a test alert to one channel.", ""},
	"hash-password":       {"", "Reads a password from standard input and prints its hash for [user.NAME].", ""},
	"outliers replay":     {"", "Reads lines of traffic from standard input and prints what the outlier watch would say of them.", ""},
	"outliers explain":    {"WHO", "Shows what the outlier watch knows of a sender, user:NAME, submitter:CLIENT/NAME or client:NAME.", "anna@example.org"},
	"outliers measure":    {"[JOURNAL...]", "Says from the journal how often users appear in networks that are new for them.", ""},
	"outliers tune":       {"[JOURNAL...]", "Says from the journal how many false alarms a year each sensitivity would cause, and how many messages attacks would get out.", "-accept 20/year"},
	"outliers backtest":   {"[JOURNAL...]", "Prints when the outlier watch would have acted on past mail.", "-journal journal.jsonl"},
	"listings":            {"", "Lists where we are listed, since when, and who may have caused it.", ""},
	"listings show":       {"ID", "Shows one listing with its evidence and suspects.", ""},
	"listings zones":      {"", "Lists the blocklist zones that the relay asks.", ""},
	"listings resume":     {"STREAM", "Resumes a stream that a listing has paused.", ""},
	"listings findings":   {"", "Shows the last run of the identity checks.", ""},
	"listings suspects":   {"", "Lists who may have caused a listing.", "-at 2026-03-04T12:00:00Z"},
	"backoff list":        {"", "Lists streams and destinations that back off.", ""},
	"backoff end":         {"DOMAIN|PROVIDER|STREAM", "Ends a back-off, so that mail goes again at once.", ""},
	"warmup":              {"", "Shows how far the warm-up of each source address is at each group of receivers.", ""},
	"mx":                  {"DOMAIN", "Shows which hosts take mail for a domain, in the order in which they would be tried.", "-connect example.com"},
	"tls":                 {"", "Shows how TLS with receivers went, by what their domains ask for.", ""},
	"firewall":            {"", "Prints nftables rules that let only the relay send mail from this machine.", ""},
	"oauth login":         {"UPSTREAM", "Logs a mailbox in at the provider of an upstream.", ""},
	"suppressions list":   {"", "Lists recipients to whom no mail is sent.", ""},
	"suppressions add":    {"RECIPIENT", "Suppresses a recipient: no mail is sent there.", "-for 7d bob@dest.example"},
	"suppressions remove": {"RECIPIENT", "Ends the suppression of a recipient.", ""},
	"limits show":         {"", "Shows the counts of limits.", "-sender news@example.org"},
	"limits top":          {"", "Shows the fullest limits.", ""},
	"limits explain":      {"", "Shows what each limit would do with a message.", "-client shop -from news@example.org -to bob@dest.example"},
	"limits reset":        {"", "Forgets the counts of a limit for one key.", "-limit sender -sender news@example.org -reason \"test run\""},
	"limits allow":        {"", "Allows more than a limit for a while (a temporary override).", "-limit sender -sender news@example.org -messages +5000 -until 18:00 -reason \"campaign\""},
	"limits raises":       {"", "Lists temporary overrides of limits.", ""},
	"console":             {"", "Prints a link that logs a browser in to the console of a running relay.", ""},
	"senders":             {"", "Lists senders with their numbers of today and their usual ones; relay senders show WHO shows one.", "-state throttle"},
	"senders show":        {"WHO", "Shows everything about one sender, user:NAME, submitter:CLIENT/NAME or client:NAME.", ""},
	"suspend":             {"WHO", "Defers all mail of a sender, user:NAME, submitter:CLIENT/NAME or client:NAME.", "-for 24h -reason \"stolen password\" anna@example.org"},
	"release":             {"WHO", "Ends a suspension, throttle or alarm of a sender, user:NAME, submitter:CLIENT/NAME or client:NAME.", "-reason \"password changed\" anna@example.org"},
	"simulate":            {"[JOURNAL...]", "Shows which past mail the limits of a configuration would have refused.", "-config new.toml"},
	"scan":                {"FILE", "Shows a message file to each scanner, and says what would happen to the message. FILE may be - for standard input.", ""},
	"suggest":             {"[JOURNAL...]", "Prints limits that past mail would have stayed within, with headroom.", ""},
	"replies classify":    {"[REPLY]", "Says what a reply of a receiver means; without REPLY it reads replies from standard input, a line each.", "\"550 5.1.1 User unknown\""},
	"replies top":         {"[JOURNAL...]", "Counts the refusals in the journal.", "-by class,destination -since 24h"},
	"replies unknown":     {"", "Lists refusals whose meaning is not known.", ""},
	"replies teach":       {"ID|REPLY CLASS", "Writes a rule that gives a reply a class.", ""},
	"replies rules":       {"", "Prints the built-in rules.", ""},
}

// reach are the flags by which a command finds the relay; help lists them last.
var reach = map[string]bool{"config": true, "server": true, "socket": true, "token-file": true, "ca": true}

// printHelp prints what a command does, how it is called, and its flags.
func printHelp(w io.Writer, f *flag.FlagSet, name string) {
	h := helps[name]
	fmt.Fprintf(w, "usage: relay %s [flags]%s\n\n%s\n", name, prefixed(" ", h.operands), h.what)
	if h.example != "" {
		fmt.Fprintf(w, "For example: relay %s %s\n", name, h.example)
	}
	own, others := flag.NewFlagSet("", flag.ContinueOnError), flag.NewFlagSet("", flag.ContinueOnError)
	f.VisitAll(func(one *flag.Flag) {
		to := own
		if reach[one.Name] && f.Lookup("server") != nil {
			to = others
		}
		to.Var(one.Value, one.Name, one.Usage)
		to.Lookup(one.Name).DefValue = one.DefValue
	})
	printFlags(w, "Flags:", own)
	printFlags(w, "Flags that say which relay is meant:", others)
}

func printFlags(w io.Writer, title string, f *flag.FlagSet) {
	n := 0
	f.VisitAll(func(*flag.Flag) { n++ })
	if n == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	f.SetOutput(w)
	f.PrintDefaults()
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// showHelp prints what -h prints of a command: its own usage where it has one.
func showHelp(f *flag.FlagSet) {
	name := strings.TrimPrefix(f.Name(), "relay ")
	if _, ok := helps[name]; !ok {
		f.Usage()
		return
	}
	printHelp(f.Output(), f, name)
}

// groupHelp lists the subcommands of a command.
func groupHelp(group string, order []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: relay %s %s [flags]\n\n", group, strings.Join(order, "|"))
	for _, name := range order {
		h := helps[group+" "+name]
		fmt.Fprintf(&b, "  %-10s %s\n", name, h.what)
	}
	fmt.Fprintf(&b, "\nrelay %s %s -h shows the flags of one.\n", group, order[0])
	return b.String()
}
