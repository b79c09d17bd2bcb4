package offline

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/mail"
	"postern/upstream/replies"
)

const repliesUsage = `usage: relay replies classify [-stage S] [-rules FILE] [-json] [REPLY]
       relay replies top [-by class,stream,destination,sender] [-n 20] [-since 24h] [-rules FILE] [-json] [-config FILE | -journal FILE [FILE...]]
       relay replies unknown [-n 20] [-json] [-config FILE]
       relay replies teach [-stage S] [-words TEXT] [-rules FILE] [-config FILE] ID|REPLY CLASS
       relay replies rules
`

func Replies(io cli.IO, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "classify":
			return runClassify(io, args[1:])
		case "top":
			return runTop(io, args[1:])
		case "unknown":
			return runUnknown(io, args[1:])
		case "teach":
			return runTeach(io, args[1:])
		case "rules":
			fmt.Fprint(io.Out, replies.BuiltInRules())
			return cli.OK
		case "-h", "-help", "--help", "help":
			fmt.Fprint(io.Out, repliesUsage)
			return cli.OK
		}
		fmt.Fprintf(io.Err, "relay replies: unknown command %q\n", args[0])
	}
	fmt.Fprint(io.Err, repliesUsage)
	return cli.Usage
}

// repliesFlags adds the flags that both commands take.
func repliesFlags(io cli.IO, name string, rules *string, asJSON *bool) *flag.FlagSet {
	f := flag.NewFlagSet("relay replies "+name, flag.ContinueOnError)
	f.SetOutput(io.Err)
	f.StringVar(rules, "rules", "", "`file` with rules that are tried before the built-in ones")
	f.BoolVar(asJSON, "json", false, "print JSON, one object a line")
	return f
}

// runClassify says what one reply means, or each line of standard input.
func runClassify(io cli.IO, args []string) int {
	var stage, file string
	var asJSON bool
	f := repliesFlags(io, "classify", &file, &asJSON)
	f.StringVar(&stage, "stage", "", "`command` that was answered: connect, ehlo, mail, rcpt, data, dot; default: any")
	if status, ok := cli.ParseOpenFlags(f, args); !ok {
		return status
	}
	rules, err := replies.LoadRules(file)
	if err != nil {
		fmt.Fprintf(io.Err, "relay replies: %v\n", err)
		return cli.Usage
	}
	if f.NArg() > 0 && f.Arg(0) != "-" {
		printVerdict(io, rules.Classify(stage, replyLines(strings.Join(f.Args(), " "))), asJSON)
		return cli.OK
	}
	in := bufio.NewScanner(io.In)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		printVerdict(io, rules.Classify(stage, replyLines(in.Text())), asJSON)
	}
	if err := in.Err(); err != nil {
		fmt.Fprintf(io.Err, "relay replies: read replies: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}

// replyLines puts line ends where the two characters \n stand for one.
func replyLines(s string) string {
	return strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", "\r\n", "\n").Replace(s)
}

func printVerdict(io cli.IO, v replies.Meaning, asJSON bool) {
	if asJSON {
		cli.PrintJSON(io, map[string]any{"class": v.Class, "list": v.List, "rule": v.Rule, "remedy": v.Remedy,
			"wait_seconds": v.Wait.Seconds(), "sign": v.Sign, "sure": v.Sure, "guess": v.Guess, "words": v.Words.List()})
		return
	}
	fmt.Fprintf(io.Out, "%s list=%s rule=%s%s", v.Class, cmp.Or(v.List, "-"), cmp.Or(v.Rule, "-"), v.Reason())
	if v.Wait > 0 {
		fmt.Fprintf(io.Out, " wait=%s", v.Wait)
	}
	fmt.Fprintf(io.Out, " remedy: %s\n", v.Remedy)
}

// topColumns are what refusals can be counted by.
var topColumns = []string{"class", "stream", "destination", "sender", "list", "rule", "upstream", "client"}

// maxTopRows bounds the memory of a count over a flood of replies; what comes
// later is counted together.
const maxTopRows = 100_000

// runTop counts the refusals that upstreams gave, from the journal.
func runTop(io cli.IO, args []string) int {
	var file, by string
	var asJSON bool
	var since time.Duration
	var n int
	f := repliesFlags(io, "top", &file, &asJSON)
	f.StringVar(&by, "by", "class,stream,destination,sender", "`columns` to count by, of "+strings.Join(topColumns, ", "))
	path := cli.ConfigFlag(f, " that names the journal and the rules")
	f.IntVar(&n, "n", 20, "number of rows; 0: all")
	f.Func("since", "only transactions of the last `time`, such as 24h or 7d; default: all", cli.DurationFlag(&since))
	named := cli.JournalFlag(f)
	words, status, ok := cli.ParseWords(f, args, cli.MaxJournals)
	if !ok {
		return status
	}
	columns := strings.Split(by, ",")
	for _, c := range columns {
		if !slices.Contains(topColumns, c) {
			fmt.Fprintf(io.Err, "relay replies top: -by %q is none of %s\n", c, strings.Join(topColumns, ", "))
			return cli.Usage
		}
	}
	files, err := cli.JournalsNamed(*path, append(*named, words...))
	if err != nil {
		fmt.Fprintf(io.Err, "relay replies top: %v\n", err)
		return cli.Usage
	}
	rules, err := replyRules(file, *path)
	if err != nil {
		fmt.Fprintf(io.Err, "relay replies: %v\n", err)
		return cli.Usage
	}
	t := replyTop{rules: rules, columns: columns, rows: map[string]*topRow{}}
	if since > 0 {
		t.from = time.Now().Add(-since)
	}
	tell, err := cli.ReadJournal(io, "relay replies top", files, t.add)
	defer tell()
	if err != nil {
		fmt.Fprintf(io.Err, "relay replies: %v\n", err)
		return cli.Fault
	}
	t.print(io, n, asJSON)
	return cli.OK
}

// replyRules are those of a file, else of a configuration, else the built-in
// ones.
func replyRules(file, named string) (*replies.Classifier, error) {
	if path := cli.OwnConfig(named); file == "" && path != "" {
		c, err := config.LoadRules(path)
		if err != nil {
			return nil, err
		}
		file = c.Reputation.ReplyRules
	}
	return replies.LoadRules(file)
}

// replyTop counts refusals of upstreams.
type replyTop struct {
	rules   *replies.Classifier
	columns []string
	from    time.Time
	rows    map[string]*topRow
	more    int // refusals beyond maxTopRows
}

type topRow struct {
	values []string
	count  int
	last   string // reply
}

func (t *replyTop) add(e *mail.Event) error {
	if e.Time.Before(t.from) || e.Upstream == "" {
		return nil
	}
	for _, r := range e.To {
		if r.Code < 400 || r.Rule != "upstream" && r.Class == "" {
			continue
		}
		v, reply := t.verdict(e, &r)
		t.count(e, &r, v, reply)
	}
	return nil
}

// verdict says what a refusal means, and its text.
func (t *replyTop) verdict(e *mail.Event, r *mail.RecipientEvent) (replies.Meaning, string) {
	reply := mail.Reply{Code: r.Code, Status: r.Status, Text: r.Reply}
	_, domain, _ := cutLast(r.Address, '@')
	fault, said := e.FaultOf(domain)
	switch {
	case r.Class == mail.ClassCredentials:
		return replies.Meaning{Class: mail.ClassCredentials}, cmp.Or(e.Err, reply.String())
	case r.Reply == "" && said != nil: // the host took no transaction
		return t.rules.Classify(said.At, said.Reply), said.Reply
	case r.Reply == "" && r.Class == "" && fault != "": // a fault of which nobody has said anything
		return replies.Meaning{}, fault
	case r.Reply == "" && e.Code == r.Code && e.Status == r.Status:
		return t.rules.Classify("", e.Reply), e.Reply
	case r.Reply == "" && fault != "":
		return t.rules.Classify("", reply.String()), fault
	}
	return t.rules.Classify("", reply.String()), reply.String()
}

func (t *replyTop) count(e *mail.Event, r *mail.RecipientEvent, v replies.Meaning, reply string) {
	_, destination, _ := cutLast(r.Address, '@')
	all := map[string]string{"class": string(v.Class), "stream": e.Stream, "destination": destination, "sender": string(mail.IdentityOf(e.From)),
		"list": v.List, "rule": v.Rule, "upstream": e.Upstream, "client": e.Client}
	values := make([]string, len(t.columns))
	for i, c := range t.columns {
		values[i] = cmp.Or(all[c], "-")
	}
	key := strings.Join(values, "\x00")
	row := t.rows[key]
	if row == nil {
		if len(t.rows) == maxTopRows {
			t.more++
			return
		}
		row = &topRow{values: values}
		t.rows[key] = row
	}
	row.count++
	row.last = reply
}

// cutLast cuts s at the last sep.
func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func (t *replyTop) print(io cli.IO, n int, asJSON bool) {
	rows := slices.SortedFunc(maps.Values(t.rows), func(a, b *topRow) int {
		return cmp.Or(cmp.Compare(b.count, a.count), slices.Compare(a.values, b.values))
	})
	if n > 0 && len(rows) > n {
		for _, r := range rows[n:] {
			t.more += r.count
		}
		rows = rows[:n]
	}
	if asJSON {
		for _, r := range rows {
			o := map[string]any{"count": r.count, "reply": r.last}
			for i, c := range t.columns {
				o[c] = r.values[i]
			}
			cli.PrintJSON(io, o)
		}
		return
	}
	w := tabwriter.NewWriter(io.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "count\t%s\tlast reply\n", strings.Join(t.columns, "\t"))
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%s\t%.100q\n", r.count, strings.Join(r.values, "\t"), r.last)
	}
	if t.more > 0 {
		fmt.Fprintf(w, "%d\tmore\n", t.more)
	}
	w.Flush()
}
