package offline

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/mail"
	"postern/upstream/replies"
	"postern/upstream/replies/unknown"
)

// runUnknown prints the replies of which nothing sure is known.
func runUnknown(io cli.IO, args []string) int {
	var n int
	var asJSON bool
	f := flag.NewFlagSet("relay replies unknown", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names the state folder and the rules")
	f.IntVar(&n, "n", 20, "number of rows; 0: all")
	f.BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	if status, ok := cli.ParseFlags(f, args); !ok {
		return status
	}
	groups, _, err := unknownGroups(*path)
	if err != nil {
		fmt.Fprintf(io.Err, "relay replies unknown: %v\n", err)
		return cli.Fault
	}
	if n > 0 {
		groups = groups[:min(n, len(groups))]
	}
	w := tabwriter.NewWriter(io.Out, 0, 4, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, "ID\tCOUNT\tLAST\tSTAGE\tGUESS\tRECEIVERS\tREPLY")
	}
	for _, g := range groups {
		if asJSON {
			cli.PrintJSON(io, g)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%.160q\n", g.ID, g.Count, phrase.Time(g.Last), g.Stage, orDash(g.Guess), orDash(strings.Join(g.Domains, ",")), g.Reply)
	}
	w.Flush()
	return cli.OK
}

// unknownGroups reads the groups that the rules of a configuration still do not
// know, and the file of rules.
func unknownGroups(named string) ([]*unknown.Group, string, error) {
	c, err := config.LoadRules(cli.ConfigPath(named))
	if err != nil {
		return nil, "", err
	}
	rules, err := replies.LoadRules(c.Reputation.ReplyRules)
	switch {
	case errors.Is(err, fs.ErrNotExist): // teach makes it
		rules = replies.BuiltIn()
	case err != nil:
		return nil, "", err
	}
	all, err := unknown.Read(filepath.Join(c.StateDir, unknown.FileName))
	var groups []*unknown.Group
	for _, g := range all {
		if v := rules.Classify(g.Stage, g.Reply); v.Rule == "" {
			groups = append(groups, g)
		}
	}
	return groups, c.Reputation.ReplyRules, err
}

// runTeach writes a rule for a reply.
func runTeach(io cli.IO, args []string) int {
	var l unknown.Lesson
	var file string
	f := flag.NewFlagSet("relay replies teach", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names reply_rules")
	f.StringVar(&file, "rules", "", "`file` to write the rule to; default: reply_rules of the configuration")
	f.StringVar(&l.Stage, "stage", "", "`command` that was answered; default: that of the group, or any")
	f.StringVar(&l.Words, "words", "", "`words` of the reply that identify it; default: all of it")
	words, status, ok := cli.ParseWords(f, args, 2)
	if !ok {
		return status
	}
	if len(words) != 2 {
		fmt.Fprint(io.Err, "relay replies teach: name a group of relay replies unknown, or a whole reply, and its class\n")
		return cli.Usage
	}
	l.Class = mail.Class(words[1])
	file, err := lesson(&l, words[0], *path, file)
	if err == nil {
		var rule string
		if rule, err = l.Teach(file); err == nil {
			fmt.Fprintf(io.Out, "written to %s:\n%s\nIt holds from the next reload of the relay on.\n", file, rule)
			return cli.OK
		}
	}
	fmt.Fprintf(io.Err, "relay replies teach: %v\n", err)
	return cli.Usage
}

// lesson fills in what reply is meant, and says to which file the rule goes.
func lesson(l *unknown.Lesson, what, named, file string) (string, error) {
	l.Reply = replyLines(what)
	id := len(what) == 8 && !strings.Contains(what, " ")
	if !id && file != "" {
		return file, nil
	}
	groups, rules, err := unknownGroups(named)
	if err != nil {
		return "", err
	}
	if file == "" {
		file = rules
	}
	if file == "" {
		return "", errors.New(`no file of rules is configured; write reply_rules = "/etc/postern/replies.rules" under [reputation], or name one with -rules`)
	}
	for _, g := range groups {
		if id && g.ID == what {
			l.Reply = g.Reply
			if l.Stage == "" {
				l.Stage = g.Stage
			}
			return file, nil
		}
	}
	if id {
		return "", fmt.Errorf("no group %s is unknown; see relay replies unknown", what)
	}
	return file, nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
