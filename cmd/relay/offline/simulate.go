package offline

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"runtime/debug"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/ruleset"
	"postern/internal/simulate"
	"postern/mail"
	"postern/ratelimit"
)

// Simulate tells what the limits of a configuration would have said about
// the mail of the journal.
func Simulate(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay simulate", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " with the limits to try")
	named := cli.JournalFlag(f)
	asJSON := f.Bool("json", false, "print JSON")
	top := f.Int("top", 20, "print at most `n` senders, or messages that would be stopped; -json prints all")
	folder := f.String("messages", "", "show instead the messages below a `folder`, one file each, to the scanners of the configuration")
	words, status, ok := cli.ParseWords(f, args, cli.MaxJournals)
	if !ok {
		return status
	}
	if *folder != "" {
		if len(words)+len(*named) > 0 {
			fmt.Fprintln(io.Err, "relay simulate: -messages takes no journal")
			return cli.Usage
		}
		return simulateScanners(io, *path, *folder, *top, *asJSON)
	}
	file, err := config.LoadRules(cli.ConfigPath(*path))
	if err != nil {
		fmt.Fprintln(io.Err, err)
		return cli.Usage
	}
	files, err := cli.JournalsNamed(*path, append(*named, words...))
	if err != nil {
		fmt.Fprintf(io.Err, "relay simulate: %v\n", err)
		return cli.Usage
	}
	report, see, err := simulateFile(io, file, files)
	if err != nil {
		fmt.Fprintf(io.Err, "relay simulate: %v\n", err)
		return cli.Fault
	}
	defer see.tell()
	if *asJSON {
		cli.PrintJSON(io, struct {
			*simulate.Report
			Unknown map[string]int64 `json:"unknown_clients,omitempty"`
		}{report, see.unknown})
		return cli.OK
	}
	w := bufio.NewWriter(io.Out)
	report.Write(w, see.unknown, max(0, *top))
	if err := w.Flush(); err != nil {
		fmt.Fprintf(io.Err, "relay simulate: print: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}

func simulateFile(io cli.IO, file *config.File, files []string) (*simulate.Report, *view, error) {
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
	d, err := simulate.Read(files, io.In, r.Add)
	if see.tell, err = cli.Damage(io, "relay simulate", d, err); err != nil {
		see.tell()
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

// view is how a configuration sees past transactions.
type view struct {
	file    *config.File
	sources map[string]string // by stream
	tell    func()            // what was damaged
	// unknown are clients that it does not have, with their transactions; nil:
	// none.
	unknown map[string]int64
}

// maxUnknown bounds view.unknown.
const maxUnknown = 1000

func newView(file *config.File) *view {
	v := &view{file: file, sources: map[string]string{}}
	for name, s := range file.Stream {
		v.sources[name] = ruleset.SourceKey(s.SourceIP)
	}
	return v
}

// facts are what limits would see: the client by its name or, when there is
// none of that name, the one that it would be now; its stream as it is now.
func (v *view) facts(t *simulate.Transaction) ratelimit.Facts {
	f := ratelimit.Facts{
		Client: t.Client, User: t.User, Submitter: t.Submitter, SubmitterIP: t.SubmitterIP, ClientIP: t.ClientIP, Sender: mail.Identity(t.From), SenderDomain: t.SenderDomain(),
		Stream: t.Stream, Upstream: t.Upstream,
	}
	if _, ok := v.file.Client[f.Client]; !ok {
		if f.Client, ok = v.clientNow(t); !ok {
			v.note(t.Client)
			f.Client = t.Client
			return f
		}
	}
	c := v.file.Client[f.Client]
	f.Stream, f.Tells, f.Names = c.Stream, c.Tells(), c.Names()
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
