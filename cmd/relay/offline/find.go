package offline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/find"
	"postern/internal/text"
	"postern/mail"
)

// Find prints the transactions of the journal that the flags ask for, newest first,
// each as soon as it is found.
func Find(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay find", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names the journal")
	file := f.String("journal", "", "journal `file`; rotated files beside it, also compressed ones, are read, too")
	var q find.Query
	now := time.Now()
	queryFlags(f, &q, now)
	n := f.Int("n", 100, "show at most `n` messages; 0: all")
	asJSON := f.Bool("json", false, "print the lines of the journal")
	status, ok := cli.ParseOpenFlags(f, args)
	switch {
	case !ok:
		return status
	case f.NArg() > 0:
		fmt.Fprintf(io.Err, "relay find: %[1]q has no flag before it; write -to or -from before an address, -queue-id before an id\n", f.Arg(0))
		return cli.Usage
	}
	journals, err := journalsToSearch(*path, *file)
	if wrong := q.Check(); wrong != nil {
		err = wrong
	}
	if err != nil {
		fmt.Fprintf(io.Err, "relay find: %v\n", err)
		return cli.Usage
	}
	found, stats, err := printFound(io, journals, q, *n, *asJSON, now)
	for _, name := range stats.Cut {
		fmt.Fprintf(io.Err, "relay find: %s has more than fit; its oldest are left out; -until asks for those before a time\n", name)
	}
	switch {
	case err != nil:
		fmt.Fprintf(io.Err, "relay find: %v\n", err)
		return cli.Fault
	case found == 0 && stats.Listed == 0:
		fmt.Fprintf(io.Err, "relay find: %v\n", cli.JournalFault(journals[0], fs.ErrNotExist))
		return cli.Fault
	case found == 0:
		fmt.Fprintf(io.Err, "relay find: nothing in %s of %s\n", text.Count(stats.Files, "file", "files"), strings.Join(journals, " and "))
		return cli.Fault
	case found == *n:
		fmt.Fprintf(io.Err, "%d shown; there may be more: -n 0 shows all; relay explain ID describes one in words\n", found)
	}
	return cli.OK
}

// printFound prints what the journals have of q, at most n transactions (0: all), and says
// how many there were.
func printFound(io cli.IO, journals []string, q find.Query, n int, asJSON bool, now time.Time) (found int, stats find.Stats, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = lookAgain(func() (done bool, err error) {
		stats, err = searchAll(ctx, journals, q, func(line []byte, e *mail.Event) error {
			if found++; asJSON {
				fmt.Fprintf(io.Out, "%s\n", line)
			} else {
				fmt.Fprintln(io.Out, find.Words(e, q.To))
			}
			if found == n {
				return find.ErrEnough
			}
			return nil
		})
		return found > 0 || !q.Until.IsZero() && q.Until.Before(now.Add(-time.Minute)), err
	}, untilWritten)
	return found, stats, err
}

// queryFlags adds the flags that say what is looked for; times are told as of now.
func queryFlags(f *flag.FlagSet, q *find.Query, now time.Time) {
	f.Func("from", "reverse-path: an `address` in any spelling, @example.org for a whole domain, or <> for the null one", addressFlag(&q.From))
	f.Func("to", "recipient, an `address` or @domain", addressFlag(&q.To))
	f.StringVar(&q.Submitter, "submitter", "", "`name` of the mailbox or script that a client has told, alone or as client/name")
	f.StringVar(&q.MessageID, "message-id", "", "Message-ID, a `text` with or without angle brackets")
	f.StringVar(&q.QueueID, "queue-id", "", "queue `id` in the upstream's reply, or the relay's own id")
	f.StringVar(&q.Code, "code", "", "`code` of the reply: 550, 5.7.1 or 4xx")
	f.StringVar((*string)(&q.Class), "class", "", "`class` of the upstream's refusal, such as no-such-user")
	f.Func("since", "only messages of the last `time`, such as 2d, or since a time such as 2026-11-28T23:08", momentFlag(&q.Since, now))
	f.Func("until", "only messages up to a `time`, written the same way", momentFlag(&q.Until, now))
}

// maxHeap bounds the memory of a search, with what waits to be collected; the program
// itself takes some 15 MiB beside it.
const maxHeap = 40 << 20

// YieldToMail keeps this process to one core, to what of it nobody else wants, and to
// maxHeap.
func YieldToMail() {
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(maxHeap)
	// Linux has a priority for each thread, and new ones have that of who makes them.
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			syscall.Setpriority(syscall.PRIO_PROCESS, id, 19)
		}
	}
}

// journalsToSearch are the journal that is named, or those of a configuration: that of
// clients, and that of peers that never became one.
func journalsToSearch(path, file string) ([]string, error) {
	if file != "" {
		return []string{file}, nil
	}
	c, err := cli.JournalConfig(path)
	return []string{c.File, c.Strangers().File}, err
}

// searchAll searches one journal after the other.
func searchAll(ctx context.Context, journals []string, q find.Query, hit func([]byte, *mail.Event) error) (all find.Stats, err error) {
	ended := false
	for _, journal := range journals {
		files, err := find.Files(journal)
		if err != nil {
			return all, cli.JournalFault(journal, err)
		}
		one, err := find.Search(ctx, files, q, func(line []byte, e *mail.Event) error {
			err := hit(line, e)
			ended = ended || err != nil
			return err
		})
		all.Listed, all.Files, all.Cut = all.Listed+one.Listed, all.Files+one.Files, append(all.Cut, one.Cut...)
		if err != nil || ended {
			return all, err
		}
	}
	return all, nil
}

// addressFlag takes an address, whose domain may have U-labels, or "@domain".
func addressFlag(to *string) func(string) error {
	return func(s string) (err error) {
		*to, err = find.Address(s)
		return err
	}
}

// momentFlag takes a time, or how long ago it was.
func momentFlag(to *time.Time, now time.Time) func(string) error {
	return func(s string) (err error) {
		var ago time.Duration
		if err := cli.DurationFlag(&ago)(s); err == nil {
			*to = now.Add(-ago)
			return nil
		}
		for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, time.DateOnly} {
			if *to, err = time.ParseInLocation(form, s, time.Local); err == nil {
				return nil
			}
		}
		return errors.New("write it as 2d or 2026-11-28T23:08")
	}
}
