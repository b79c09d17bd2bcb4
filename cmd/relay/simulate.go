package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern/internal/config"
	"postern/internal/node"
	"postern/internal/phrase"
	"postern/internal/simulate"
	"postern/mail"
	"postern/ratelimit"
)

// runSimulate tells what the limits of a configuration would have said about
// the mail of the journal.
func runSimulate(io stdio, args []string) int {
	f := flag.NewFlagSet("relay simulate", flag.ContinueOnError)
	f.SetOutput(io.err)
	path := configFlag(f, " with the limits to try")
	named := journalFlag(f)
	asJSON := f.Bool("json", false, "print JSON")
	top := f.Int("top", 20, "print at most `n` senders; with -json all")
	words, status, ok := parseWords(f, args, maxJournals)
	if !ok {
		return status
	}
	file, err := config.LoadRules(configPath(*path))
	if err != nil {
		fmt.Fprintln(io.err, err)
		return exitUsage
	}
	files, err := journalsNamed(*path, append(*named, words...))
	if err != nil {
		fmt.Fprintf(io.err, "relay simulate: %v\n", err)
		return exitUsage
	}
	report, see, err := simulateFile(io, file, files)
	switch {
	case err != nil:
		fmt.Fprintf(io.err, "relay simulate: %v\n", err)
		return exitFault
	case *asJSON:
		printJSON(io, struct {
			*simulate.Report
			Unknown map[string]int64 `json:"unknown_clients,omitempty"`
		}{report, see.unknown})
		return exitOK
	}
	w := bufio.NewWriter(io.out)
	writeSimulated(w, report, see.unknown, max(0, *top))
	if err := w.Flush(); err != nil {
		fmt.Fprintf(io.err, "relay simulate: print: %v\n", err)
		return exitFault
	}
	return exitOK
}

func simulateFile(io stdio, file *config.File, files []string) (*simulate.Report, *view, error) {
	defer lazyCollector()()
	see := newView(file)
	store := file.Store
	if file.Redis.Enabled() {
		store.Memory = max(store.Memory, sharedMemory)
	}
	r, err := simulate.New(simulate.Options{Limits: file.Limits(), Env: file.LimitEnv(), Store: store, Facts: see.facts})
	if err != nil {
		return nil, nil, err
	}
	if err := simulate.Read(files, io.in, r.Add); err != nil {
		return nil, nil, err
	}
	return r.Report(), see, nil
}

// lazyCollector has the collector of memory run less often until the function
// that it returns is called: a replay makes much garbage and keeps little, and
// is a fifth faster for it.
func lazyCollector() (restore func()) {
	before := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(before) }
}

// sharedMemory is what a simulation may take in place of Redis, which forgets
// nothing.
const sharedMemory = 1 << 30

// journalFlag adds -journal, which may be given several times.
func journalFlag(f *flag.FlagSet) *[]string {
	named := &[]string{}
	f.Func("journal", "journal `file`; rotated ones beside it are read, too; - is standard input; several flags or further arguments: the journals of several nodes;\ndefault: that of the configuration", func(s string) error {
		*named = append(*named, s)
		return nil
	})
	return named
}

// journalsNamed are the files that are named with those rotated beside them, or
// those of a configuration; each once.
func journalsNamed(path string, named []string) (files []string, err error) {
	if len(named) == 0 {
		return journalFiles(path, "")
	}
	seen := map[string]bool{}
	for _, name := range named {
		more, err := journalFiles("", name)
		if err != nil {
			return nil, err
		}
		for _, file := range more {
			if file = cleanPath(file); !seen[file] {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	return files, nil
}

func cleanPath(file string) string {
	if file == "-" {
		return file
	}
	return filepath.Clean(file)
}

// view is how a configuration sees past transactions.
type view struct {
	file    *config.File
	sources map[string]string // by stream
	// unknown are clients that it does not have, with their transactions; nil:
	// none.
	unknown map[string]int64
}

// maxUnknown bounds view.unknown.
const maxUnknown = 1000

func newView(file *config.File) *view {
	v := &view{file: file, sources: map[string]string{}}
	for name, s := range file.Stream {
		v.sources[name] = node.SourceKey(s.SourceIP)
	}
	return v
}

// facts are what limits would see: the client by its name or, when there is
// none of that name, the one that it would be now; its stream as it is now.
func (v *view) facts(t *simulate.Transaction) ratelimit.Facts {
	f := ratelimit.Facts{
		Client: t.Client, User: t.User, ClientIP: t.ClientIP, Sender: mail.Identity(t.From), SenderDomain: t.SenderDomain(),
		Stream: t.Stream, Upstream: t.Upstream,
	}
	if _, ok := v.file.Client[f.Client]; !ok {
		if f.Client, ok = v.clientNow(t); !ok {
			v.note(t.Client)
			f.Client = t.Client
			return f
		}
	}
	f.Stream = v.file.Client[f.Client].Stream
	f.Upstream, f.SourceIP = v.file.Stream[f.Stream].Upstream, v.sources[f.Stream]
	return f
}

func (v *view) clientNow(t *simulate.Transaction) (string, bool) {
	ip, err := netip.ParseAddr(t.ClientIP)
	if err != nil {
		return "", false
	}
	c, refusal := v.file.Policy().Client(&mail.Peer{Addr: netip.AddrPortFrom(ip, 0), Listener: t.Listener, User: t.User, TLS: mail.TLS{Version: t.TLS}})
	if refusal != nil {
		return "", false
	}
	return c.Name(), true
}

func (v *view) note(client string) {
	if v.unknown == nil {
		v.unknown = map[string]int64{}
	}
	if _, ok := v.unknown[client]; ok || len(v.unknown) < maxUnknown {
		v.unknown[client]++
	}
}

func writeSimulated(w io.Writer, r *simulate.Report, unknown map[string]int64, top int) {
	if r.Transactions == 0 {
		fmt.Fprintln(w, "The journal holds no transaction.")
		return
	}
	fmt.Fprintf(w, "%d transactions from %s to %s UTC; %d of them reached the limits, with %d recipients.\n",
		r.Transactions, day(r.From), day(r.To), r.Replayed, r.Recipients)
	fmt.Fprintf(w, "Limits refused %d recipients then and would refuse %d now: %d that passed then would be refused, %d that were refused would pass.\n",
		r.RefusedThen, r.RefusedNow, r.Refused, r.Passed)
	if r.Retries > 0 {
		fmt.Fprintf(w, "%d later attempts for what would have passed before do not count.\n", r.Retries)
	}
	if r.Late > 0 {
		fmt.Fprintf(w, "%d transactions lasted so long that they count later than they should.\n", r.Late)
	}
	if r.Undecided > 0 {
		fmt.Fprintf(w, "%d recipients are undecided, for there was no memory left for their counts; raise store.memory.\n", r.Undecided)
	}
	for _, name := range sorted(unknown) {
		fmt.Fprintf(w, "Client %s, with %d transactions, is none of this configuration; its mail counts as it did.\n", phrase.Printable(name), unknown[name])
	}
	writeLimits(w, r.Limits)
	writeFirst(w, r.Limits)
	writeWere(w, r.Were)
	writeSenders(w, r, top)
}

func day(t time.Time) string { return t.UTC().Format(time.DateTime) }

func writeLimits(w io.Writer, limits []simulate.Limit) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LIMIT\tREFUSES\tNEWLY\tWINDOW\tHIGHEST\tOF\tUSE\tWHEN\tKEY")
	var idle []string
	for i := range limits {
		l := &limits[i]
		used := func(p simulate.Peaks) bool { return len(p.Top) > 0 }
		if l.Refused == 0 && !slices.ContainsFunc(l.Windows, used) {
			idle = append(idle, l.Name)
			continue
		}
		name, refuses, newly := l.Name, fmt.Sprint(l.Refused), fmt.Sprint(l.New)
		if l.Mode == ratelimit.Shadow {
			name += " (shadow)"
		}
		for j := range l.Windows {
			p := &l.Windows[j]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s in %s\t%s\n", name, refuses, newly, p.Unit.Words(), p.Window, highest(p))
			name, refuses, newly = "", "", ""
		}
	}
	t.Flush()
	if len(idle) > 0 {
		fmt.Fprintf(w, "No mail counted for: %s\n", strings.Join(idle, ", "))
	}
}

// highest is the end of a row about a window.
func highest(p *simulate.Peaks) string {
	if len(p.Top) == 0 {
		return "0"
	}
	h := &p.Top[0]
	return fmt.Sprintf("%s\t%s\t%.0f%%\t%s\t%s", amount(p.Unit, h.Used), amount(p.Unit, h.Max), 100*h.Use(), day(h.Time), phrase.Printable(h.Key))
}

// amount writes octets in a unit that people read, and other numbers as they
// are.
func amount(u ratelimit.Unit, n int64) string {
	if u != ratelimit.Bytes || n < 10<<10 {
		return fmt.Sprint(n)
	}
	size, unit := float64(n)/(1<<10), "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if size < 1<<10 {
			break
		}
		size, unit = size/(1<<10), next
	}
	return fmt.Sprintf("%.4g%s", size, unit)
}

func writeFirst(w io.Writer, limits []simulate.Limit) {
	for i := range limits {
		l := &limits[i]
		if len(l.First) == 0 {
			continue
		}
		what := "that passed then"
		if l.Mode == ratelimit.Shadow {
			what = "if it were enforced"
		}
		fmt.Fprintf(w, "\nFirst refusals of limit %s, %s:\n", l.Name, what)
		for _, m := range l.First {
			fmt.Fprintf(w, "  %s  client %s, sender %s: %s %s in %s on %s\n",
				day(m.Time), phrase.Printable(m.Client), phrase.Printable(m.Sender), amount(m.Unit, m.Max), m.Unit.Words(), m.Window, phrase.Printable(m.Key))
		}
	}
}

func writeWere(w io.Writer, were []simulate.Were) {
	if len(were) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LIMIT OF THEN\tREFUSED\tWOULD PASS")
	for _, l := range were {
		fmt.Fprintf(t, "%s\t%d\t%d\n", phrase.Printable(l.Name), l.Refused, l.Passed)
	}
	t.Flush()
}

func writeSenders(w io.Writer, r *simulate.Report, top int) {
	if len(r.Senders) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CLIENT\tSENDER\tNEWLY REFUSED\tWOULD PASS\tFIRST\tLIMITS")
	for _, s := range r.Senders[:min(top, len(r.Senders))] {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", phrase.Printable(s.Client), phrase.Printable(s.Sender), s.Refused, s.Passed, day(s.First), phrase.Printable(strings.Join(s.Limits, ", ")))
	}
	t.Flush()
	if more := r.MoreSenders + int64(len(r.Senders)-min(top, len(r.Senders))); more > 0 {
		fmt.Fprintf(w, "%d more senders; -top shows them\n", more)
	}
}
