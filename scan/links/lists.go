package links

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/resolve"
	"postern/reputation/dnsbl"
)

const (
	maxListed = 20 // listings of a message that are told
	// controlEvery is how often a zone must know its test entries.
	controlEvery = 5 * time.Minute
	// fileEvery is how often files are looked at.
	fileEvery = 5 * time.Second
)

// Lists are the lists of a configuration. A nil Lists has none. It is safe for concurrent
// use.
type Lists struct {
	options  Options
	zones    []*zone
	files    []*hostFile
	skip     map[string]bool
	resolver *resolve.Resolver

	begun sync.Once
	end   context.CancelFunc
	ctx   context.Context
	tasks sync.WaitGroup
}

// zone is a domain list that is asked by DNS.
type zone struct {
	dnsbl.Zone
	problem atomic.Pointer[string] // why it is not believed; "" when it is
}

// Options are what Lists are made of.
type Options struct {
	Config Config
	Zones  map[string]dnsbl.ZoneConfig // tables [reputation.dnsbl]
	Own    []string                    // domains that are left out, besides those of Config
	// Servers are DNS servers, as in [reputation]. Blank: the system's.
	Servers []string
	// Old are the lists that these follow, and are used again if nothing changes.
	Old *Lists
	// Changed hears when a list begins or ceases to be believed; why is nil when it
	// is. Nil: nobody does.
	Changed func(list string, why error)
}

// same reports whether lists of o would be those of p.
func (o *Options) same(p *Options) bool {
	return reflect.DeepEqual(o.Config, p.Config) && reflect.DeepEqual(o.Zones, p.Zones) && slices.Equal(o.Own, p.Own) && slices.Equal(o.Servers, p.Servers)
}

// New makes lists; nil where the configuration names none. They ask nobody before Start.
// The error is about the configuration.
func New(o Options) (*Lists, error) {
	if len(o.Config.Zones)+len(o.Config.Files) == 0 {
		return nil, nil
	}
	if o.Old != nil && o.same(&o.Old.options) {
		return o.Old, nil
	}
	l := &Lists{options: o, skip: map[string]bool{}}
	l.options.Old = nil
	for _, name := range o.Config.Zones {
		z, err := newZone(name, o.Zones)
		if err != nil {
			return nil, fmt.Errorf("links: zone %s: %w", name, err)
		}
		l.zones = append(l.zones, z)
	}
	for _, path := range o.Config.Files {
		f := newHostFile(path)
		f.refresh()
		l.files = append(l.files, f)
	}
	for _, d := range slices.Concat(o.Own, o.Config.Skip) {
		if d = hostOf(d); d != "" {
			l.skip[d] = true
		}
	}
	var err error
	if l.resolver, err = resolve.New(resolve.Options{Servers: o.Servers}); err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l, nil
}

// newZone makes a zone with its table of [reputation.dnsbl], if it has one.
func newZone(name string, tables map[string]dnsbl.ZoneConfig) (*zone, error) {
	c := dnsbl.ConfigOf(name, tables)
	c.Of = []dnsbl.Kind{dnsbl.Domains}
	made, err := dnsbl.NewZone(name, c)
	if err != nil {
		return nil, err
	}
	z := &zone{Zone: *made}
	unasked := "its test entries have not been asked for yet"
	z.problem.Store(&unasked)
	return z, nil
}

// Start begins to look at files and at the test entries of zones, until Stop.
func (l *Lists) Start() {
	if l == nil {
		return
	}
	l.begun.Do(func() {
		for _, f := range l.files {
			l.tell(f.name, nil, f.err())
		}
		l.tasks.Go(l.watchFiles)
		for _, z := range l.zones {
			l.tasks.Go(func() { l.watchZone(z) })
		}
	})
}

// Prove asks for the test entries of all zones, at once, and returns when that has
// been done: for a use that is over sooner than Start would have asked.
func (l *Lists) Prove() {
	if l == nil {
		return
	}
	var tasks sync.WaitGroup
	for _, z := range l.zones {
		tasks.Go(func() { l.control(z) })
	}
	tasks.Wait()
}

// Stop ends what Start began, unless next, which replaces l, is l itself.
func (l *Lists) Stop(next *Lists) {
	if l == nil || l == next {
		return
	}
	l.end()
	l.tasks.Wait()
	l.resolver.Close()
}

func (l *Lists) watchFiles() {
	l.each(fileEvery, func() {
		for _, f := range l.files {
			before := f.err()
			if f.refresh() {
				l.tell(f.name, before, f.err())
			}
		}
	})
}

func (l *Lists) watchZone(z *zone) {
	l.control(z)
	l.each(controlEvery, func() { l.control(z) })
}

// each calls f at intervals until Stop.
func (l *Lists) each(interval time.Duration, f func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// control asks whether a zone knows its test entries.
func (l *Lists) control(z *zone) {
	err := z.Believed(l.ctx, l.resolver, dnsbl.FamilyOf(dnsbl.DomainTarget("test")))
	if l.ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = resolve.Printable(err.Error())
	}
	before := *z.problem.Swap(&text)
	var was error
	if before != "" && before != "its test entries have not been asked for yet" {
		was = errors.New(before)
	}
	l.tell(z.Name, was, err)
}

// tell says that a list begins or ceases to be believed.
func (l *Lists) tell(list string, before, after error) {
	if (before == nil) != (after == nil) && l.options.Changed != nil {
		l.options.Changed(list, after)
	}
}

// Enforces reports whether a listed host refuses its message.
func (l *Lists) Enforces() bool { return l != nil && l.options.Config.Mode == Enforce }

// Listing is a host that a list holds.
type Listing struct {
	Host string
	List string
	Text string // what the list says of it; "" from files
}

// ListResult is what one list said of a message.
type ListResult struct {
	List   string
	Listed bool
	Err    error // nothing is known, or not of all hosts
}

// Result is what the lists said of a message.
type Result struct {
	Hosts   int  // that it links to, without those that are left out
	More    bool // there were more than that
	Left    int  // hosts that zones were not asked about
	Listed  []Listing
	Lists   []ListResult // of those that had something to say
	Took    time.Duration
	Enforce bool
}

// Lookup is the questions about the hosts of one message, which are under way.
type Lookup struct {
	cancel context.CancelFunc
	done   chan struct{}
	result Result
}

// Ask begins to ask the zones about the hosts that a finder has found. Finish has to
// be called.
func (l *Lists) Ask(ctx context.Context, f *Finder) *Lookup {
	k := &Lookup{done: make(chan struct{})}
	ctx, k.cancel = context.WithTimeout(ctx, l.options.Config.Timeout)
	k.result = Result{
		Hosts: len(f.known), More: f.left, Left: f.names - len(f.asked), Listed: f.listed, Enforce: l.Enforces(),
	}
	began := time.Now()
	go func() {
		defer close(k.done)
		defer k.cancel()
		if len(f.known) > 0 {
			k.result.files(l.files)
		}
		if len(f.asked) > 0 {
			k.result.zones(ctx, l, f.asked)
		}
		slices.SortFunc(k.result.Listed, func(a, b Listing) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.List, b.List)) })
		k.result.Took = time.Since(began)
	}()
	return k
}

// Wait returns what the lists said, at the latest when their time is up.
func (k *Lookup) Wait() *Result {
	<-k.done
	return &k.result
}

// Finish ends the questions that are still open, and returns what is known. A nil Lookup
// knows nothing.
func (k *Lookup) Finish() *Result {
	if k == nil {
		return nil
	}
	k.cancel()
	return k.Wait()
}

func (r *Result) files(files []*hostFile) {
	for _, f := range files {
		v := ListResult{List: f.name, Err: f.err()}
		for _, x := range r.Listed {
			v.Listed = v.Listed || x.List == f.name
		}
		r.Lists = append(r.Lists, v)
	}
}

// answer is what a zone says of a name.
type answer struct {
	zone, host int
	listed     bool
	text       string
	err        error
}

func (r *Result) zones(ctx context.Context, l *Lists, hosts []ranked) {
	verdicts := make([]ListResult, len(l.zones))
	answers := make(chan answer)
	open := 0
	for i, z := range l.zones {
		verdicts[i].List = z.Name
		if why := *z.problem.Load(); why != "" {
			verdicts[i].Err = errors.New(why)
			continue
		}
		for j := range hosts {
			for _, name := range slices.Compact([]string{registered(hosts[j].host), hosts[j].host}) {
				open++
				go func() { answers <- l.lookup(ctx, z, i, j, name) }()
			}
		}
	}
	told := map[[2]int]bool{}
	for ; open > 0; open-- {
		a := <-answers
		v, at := &verdicts[a.zone], [2]int{a.zone, a.host}
		if a.err != nil && v.Err == nil {
			v.Err = a.err
		}
		if a.listed && !told[at] && len(r.Listed) < maxListed {
			told[at] = true
			r.Listed = append(r.Listed, Listing{Host: hosts[a.host].host, List: v.List, Text: a.text})
		}
		v.Listed = v.Listed || a.listed
	}
	r.Lists = append(r.Lists, verdicts...)
}

func (l *Lists) lookup(ctx context.Context, z *zone, i, j int, name string) answer {
	found := z.LookupCached(ctx, l.resolver, dnsbl.DomainTarget(name))
	return answer{zone: i, host: j, listed: found.State == dnsbl.Listed, text: strings.Join(found.Codes, ", "), err: found.Why()}
}
