// Package node is the running relay: it joins listeners, rules, limits, watch,
// reputation, journal and control socket to one process. New opens what the
// configuration names, Start takes mail, Reload puts another configuration into
// force, Stop ends it. It prints nothing; what there is to tell goes to the log.
package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/net/netutil"

	"postern/dkimsign"
	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/audit"
	"postern/internal/check"
	"postern/internal/config"
	"postern/internal/console"
	"postern/internal/console/peers"
	"postern/internal/eventlog"
	"postern/internal/health"
	"postern/internal/ruleset"
	"postern/internal/tally"
	"postern/internal/warmups"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
	"postern/relay"
	"postern/relay/halves"
)

// Node is one relay: made by New, taking mail from Start to Stop.
type Node struct {
	options Options
	log     *slog.Logger
	lines   *eventlog.LineWriter // beneath log
	level   *slog.LevelVar
	failed  chan error     // trouble that ends the process
	health  *health.Health // trouble that does not
	opened  closers
	state   interface{ Close() error } // the lock on the state folder; nil: not taken yet

	mu         sync.Mutex // one reload at a time
	rules      *ruleset.Set
	inForce    atomic.Pointer[ruleset.Set] // rules, for those who cannot wait for mu
	condition  condition
	limiter    *ratelimit.Limiter
	warmups    *warmups.Set
	metrics    *admin.Metrics
	judges     *judges
	watch      *outlier.Watch
	alerts     *alerts
	reputation *reputationWatch
	tally      *tally.Tally     // nil: there is no console
	console    *console.Console // likewise
	peers      *peers.Peers     // likewise
	counting   chan struct{}    // holds one while an hour of the journal is read for it
	self       *selfTest
	redis      redis.UniversalClient // nil: everything is kept in process
	audit      *audit.Log
	tokens     *access.Tokens
	gate       *access.Gate
	api        *api.API
	journal    *eventlog.Writer // nil: none is kept
	strangers  *eventlog.Writer // of peers that are no client; likewise
	server     *relay.Server
	halves     *halves.Memory
	listeners  map[string]*listening

	background context.Context
	serving    sync.WaitGroup
}

// meetWait is how long a start waits for the first answers of upstream hosts.
const meetWait = time.Second

// closeTimeout bounds what happens after the last session has ended.
const closeTimeout = 5 * time.Second

// Options are what a node needs beside its configuration.
type Options struct {
	// Version is what relay status shows.
	Version string
	// Log takes the lines of the log, each in one write.
	Log io.Writer
	// KeyMade is told of each DKIM key that the node has just made, so that its
	// record can be published.
	KeyMade func(*dkimsign.Key)
}

// New opens all that the configuration names: state folder, ports, Redis, keys,
// upstreams, journal. What watches begins to run, and no connection is taken yet.
// On an error nothing stays open.
func New(file *config.File, o Options) (_ *Node, err error) {
	n := &Node{options: o, failed: make(chan error, 1)}
	n.log, n.lines, n.level = newLog(o.Log, file.Log)
	n.health = health.New(n.log, nil)
	n.condition.started = time.Now()
	defer n.closeOn(&err)
	if err := n.prepare(file); err != nil {
		return nil, err
	}
	return n, nil
}

// closeOn closes everything when err is one.
func (n *Node) closeOn(err *error) {
	if *err != nil {
		n.opened.run(context.Background())
		n.lines.Close()
	}
}

// Start serves metrics and the control socket, and then takes mail. It is called
// once; on an error the node has been stopped.
func (n *Node) Start() (err error) {
	defer n.closeOn(&err)
	file := n.rules.File
	n.openAPI()
	n.console = n.openConsole(file)
	if err := n.openAdmin(file.Admin); err != nil {
		return err
	}
	if err := n.openControl(file); err != nil {
		return err
	}
	n.rules.Meet(meetWait)
	for name := range n.listeners {
		n.serve(name)
	}
	n.noteListeners()
	n.condition.serving.Store(true)
	n.startAlerts()
	n.probeState(file.StateDir)
	n.run(func(ctx context.Context) { n.every(ctx, probeEvery, func() { n.probeState(file.StateDir) }) })
	n.run(func(ctx context.Context) { n.self.report(ctx, file, n.log) })
	return nil
}

// Failed gives the trouble after which a node cannot go on: the caller stops it.
func (n *Node) Failed() <-chan error { return n.failed }

// Log is the node's log; after Stop it takes nothing any more.
func (n *Node) Log() *slog.Logger { return n.log }

// prepare opens state, rules and observers, and makes the server.
func (n *Node) prepare(file *config.File) error {
	if err := n.openState(file.StateDir); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	n.openAudit(file.StateDir)
	if err := n.listen(file); err != nil {
		return err
	}
	n.opened.add(func(context.Context) { n.closeListeners(n.listeners) })
	if err := n.openRedis(file); err != nil {
		return err
	}
	n.startBackground()
	n.metrics = admin.NewMetrics(func() int64 { return n.server.Connections() })
	secret := n.openSecret(file)
	store := n.openStore(file, secret)
	n.warmups = n.newWarmups(store)
	n.limiter = ratelimit.NewLimiter(store, file.CompiledLimits(), nil)
	n.limiter.UseSecret(secret)
	n.openHalves(file)
	n.limiter.UseProviders(n.providerOf)
	n.run(n.limiter.Run)
	var err error
	if n.rules, err = ruleset.New(file, nil, n.redis, n.log); err != nil {
		return err
	}
	n.opened.add(func(ctx context.Context) { n.rules.Close(ctx) })
	n.inForce.Store(n.rules)
	n.rules.Start()
	n.metrics.WatchUpstreams(func() []admin.UpstreamHost { return n.inForce.Load().Hosts() })
	n.metrics.WatchTLS(func() []admin.TLSUse { return n.inForce.Load().TLSUse() })
	n.warmups.Use(file, n.rules.Direct)
	n.metrics.WatchProviders(func() []admin.ProviderLane { return n.inForce.Load().Lanes() })
	n.metrics.Expect(labels(file))
	n.metrics.WatchScanners(func() map[string]bool { return n.inForce.Load().ScannersUp() })
	n.tellMade(n.rules)
	if n.judges, err = n.openJudges(file); err != nil {
		return err
	}
	if err := n.openAlerts(file); err != nil {
		return err
	}
	if err := n.openWatch(file); err != nil {
		return fmt.Errorf("outlier: %w", err)
	}
	n.reputation, err = newReputationWatch(file, n.rules.Snapshot.Signers, reputationParts{
		log: n.log, backoff: n.judges.backoff, changed: n.metrics.CountChange,
		written: n.stateWritten,
		suspend: func(o outlier.Order) error { _, err := n.watch.Suspend(o); return err }, scores: n.outlierScore,
	})
	if err != nil {
		return fmt.Errorf("reputation: %w", err)
	}
	n.judges.groupOf = n.groupOfHost
	n.judges.backoff.Groups.UseClients(n.clientsOf)
	n.judges.tellBy(n.reputation, n.metrics.CountChange)
	n.metrics.WatchState(n.options.Version, n.measured)
	n.run(n.reputation.monitor.Run)
	n.openTally(file)
	observers := []mail.Observer{n.openRecords(file), n.judges, n.openUnknown(file), n.alerts, n.watch, n.metrics, n.reputation, newGatewayWatch(n.log, check.Gateways()), n.warmups}
	if n.tally != nil {
		observers = append(observers, n.tally)
	}
	n.self = &selfTest{next: observers}
	hooks := n.judges.hooks()
	hooks.Past, hooks.Stranger = n.past, n.watch.Stranger
	hooks.Suspended, hooks.Admit, hooks.Brake, hooks.Once = n.suspended, n.admit, n.brake, n.limiter.Once
	n.server = relay.New(relay.Options{
		Snapshot: n.rules.Snapshot, Limiter: n.limiter, Observers: []mail.Observer{n.self},
		Hooks: hooks, SpoolDir: os.TempDir(), Halves: n.halves, Log: n.log,
	})
	return nil
}

// openRecords makes the observer that writes the log and the journals.
func (n *Node) openRecords(file *config.File) mail.Observer {
	lines := eventlog.NewLogObserver(n.log)
	clients, strangers := []mail.Observer{lines}, []mail.Observer{lines}
	if cfg := file.Journal; cfg.File != "" {
		n.journal = n.openJournal(cfg, "", file.StateDir)
		n.strangers = n.openJournal(cfg.Strangers(), "strangers, ", file.StateDir)
		clients, strangers = append(clients, n.journal), append(strangers, n.strangers)
	}
	fruitless := eventlog.NewFruitless(clients, nil)
	records := eventlog.NewStrangers([]mail.Observer{fruitless}, strangers, nil)
	n.opened.add(func(context.Context) { records.Close(); fruitless.Close() })
	n.run(func(ctx context.Context) { n.every(ctx, time.Second, func() { records.Tell(); fruitless.Tell() }) })
	return records
}

func (n *Node) openJournal(cfg eventlog.Config, which, state string) *eventlog.Writer {
	w := eventlog.Open(cfg, eventlog.Options{Log: n.log, NoLink: within(state, cfg.File), Report: func(part string, err error) {
		n.health.Report(health.Journal, which+part, err)
	}})
	n.opened.add(func(context.Context) { w.Close() })
	return w
}

// reopenJournals is for a SIGHUP after the files were renamed.
func (n *Node) reopenJournals() {
	if n.journal != nil {
		n.journal.Reopen()
		n.strangers.Reopen()
	}
}

// startBackground makes the context of what runs beside the sessions. It ends
// after them, and before what it uses is closed.
func (n *Node) startBackground() {
	ctx, cancel := context.WithCancel(context.Background())
	n.background = ctx
	n.opened.add(func(context.Context) {
		cancel()
		n.serving.Wait()
	})
}

// run starts f, which ends with the context that it is given, and has stop
// wait for it.
func (n *Node) run(f func(context.Context)) {
	n.serving.Go(func() { f(n.background) })
}

// adminConnections is how many the port of [admin] has open at once; others wait. Each
// needs a file handle, which mail needs, too.
const adminConnections = 256

// openAdmin serves metrics, health and the console.
func (n *Node) openAdmin(cfg config.AdminConfig) error {
	if !cfg.Address.IsValid() {
		return nil
	}
	secure, err := n.adminTLS()
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	ln, err := net.Listen("tcp", cfg.Address.String())
	if err != nil {
		return explainListen(cfg.Address.String(), fmt.Errorf("admin: %w", err))
	}
	ln = netutil.LimitListener(ln, adminConnections)
	if secure != nil {
		ln = tls.NewListener(ln, secure.Config())
	}
	n.serveHTTP(ln, n.guardMetrics(admin.Handler(n.metrics, n.readiness, func() []string {
		f := n.inForce.Load().File
		return append([]string{f.Hostname}, f.Admin.Hosts...)
	}, n.alerts.links().Serve, n.servePort, n.console.Serve)))
	return nil
}

// serveHTTP serves h on ln until the node stops.
func (n *Node) serveHTTP(ln net.Listener, h http.Handler) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.serving.Go(func() { s.Serve(ln) })
	n.opened.add(func(ctx context.Context) { s.Shutdown(ctx) })
}

// reload puts the rules of file into force, or leaves everything as it is.
func (n *Node) reload(file *config.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next, err := ruleset.New(file, n.rules, n.redis, n.log)
	if err != nil {
		return err
	}
	senders, err := n.alerts.senders(file)
	if err != nil {
		next.Retire(n.background, n.rules)
		return err
	}
	if err := n.apply(file, next); err != nil {
		if err := n.apply(n.rules.File, n.rules); err != nil {
			n.log.Error("the old configuration is in force in part only; start anew", "err", err)
		}
		next.Retire(n.background, n.rules)
		return err
	}
	n.tellMade(next)
	for _, what := range fixedAtStart(n.rules.File, file) {
		n.log.Warn("a change waits for the next start", "key", what)
	}
	next.Start()
	old := n.rules
	n.rules = next
	n.inForce.Store(next)
	next.UseReplyRules()
	if err := n.judges.reload(old.File, file); err != nil {
		n.log.Error("the resolvers of before are still asked", "err", err)
	}
	n.alerts.use(file, senders)
	if n.peers != nil {
		n.peers.Use(file.Admin.Peers)
	}
	n.metrics.Expect(labels(file))
	n.limiter.SetLimits(file.CompiledLimits())
	n.wantHalves(file)
	n.warmups.Use(file, next.Direct)
	n.server.Reload(next.Snapshot)
	next.Meet(0)
	setLevel(n.level, file.Log.Level)
	n.serving.Go(func() { old.Retire(n.background, next) })
	return nil
}

// apply gives a configuration to the parts that may refuse it; listeners come
// last, since what they do is seen outside.
func (n *Node) apply(file *config.File, rules *ruleset.Set) error {
	if err := n.reputation.reload(file, rules.Snapshot.Signers); err != nil {
		return err
	}
	if err := n.watch.SetConfig(file.Outlier); err != nil {
		return err
	}
	return n.relisten(file.Listener)
}

// Stop takes no more mail, ends sessions, then everything else. Transactions that
// are under way may end within [timeouts] shutdown, or until ctx ends.
func (n *Node) Stop(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.condition.draining.Store(&now)
	bound := n.rules.Snapshot.Timeouts.Shutdown
	sessions, cancel := context.WithTimeout(ctx, bound)
	cut := n.server.Shutdown(sessions)
	cancel()
	if cut > 0 {
		n.log.Warn("transactions cut off", "connections", cut, "after", bound)
	}
	// A folder that can be made by now must be there before all write into it.
	n.probeState(n.rules.File.StateDir)
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	n.opened.run(ctx)
	n.log.Info("stopped")
	n.lines.Close()
}

// tellMade tells of the keys of a rule set that have just been made.
func (n *Node) tellMade(r *ruleset.Set) {
	for _, k := range r.Snapshot.Signers.Keys() {
		if k.Made && n.options.KeyMade != nil {
			n.options.KeyMade(k)
		}
	}
}
