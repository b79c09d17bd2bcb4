// Package node is the running relay: it joins listeners, rules, limits, watch,
// reputation, journal and control socket to one process. New opens what the
// configuration names, Start takes mail, Reload puts another configuration into
// force, Stop ends it. It prints nothing; what there is to tell goes to the log.
package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

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
	"postern/outlier/logins"
	"postern/outlier/tune"
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
	receivers  *receivers
	watch      *outlier.Watch
	tuning     *tune.Keeper
	logins     *logins.Asker
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
	strangers  *eventlog.Writer // of peers that are not clients; likewise
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
	n.openLimits(file)
	n.openHalves(file)
	if err := n.openRules(file); err != nil {
		return err
	}
	var err error
	if n.receivers, err = n.openReceivers(file); err != nil {
		return err
	}
	if err := n.openAlerts(file); err != nil {
		return err
	}
	if err := n.openWatch(file); err != nil {
		return fmt.Errorf("outlier: %w", err)
	}
	if err := n.openReputation(file); err != nil {
		return fmt.Errorf("reputation: %w", err)
	}
	n.metrics.WatchState(n.options.Version, n.measured)
	n.openTally(file)
	n.self = &selfTest{next: n.observers(file)}
	n.server = relay.New(relay.Options{
		Snapshot: n.rules.Snapshot, Limiter: n.limiter, Observers: []mail.Observer{n.self},
		Hooks: n.hooks(), SpoolDir: os.TempDir(), Halves: n.halves, Log: n.log,
	})
	return nil
}

// openLimits opens the counts of limits, and what else is counted in their store.
func (n *Node) openLimits(file *config.File) {
	secret := n.openSecret(file)
	store := n.openStore(file, secret)
	n.warmups = n.newWarmups(store)
	n.limiter = ratelimit.NewLimiter(store, file.CompiledLimits(), nil)
	n.limiter.UseSecret(secret)
	n.limiter.UseProviders(n.providerOf)
	n.run(n.limiter.Run)
}

// openRules makes the first rule set, and has metrics tell of the one in force.
func (n *Node) openRules(file *config.File) (err error) {
	if n.rules, err = ruleset.New(file, nil, n.redis, n.log); err != nil {
		return err
	}
	n.opened.add(func(ctx context.Context) { n.rules.Close(ctx) })
	n.inForce.Store(n.rules)
	n.rules.Start()
	n.warmups.Use(file, n.rules.Direct)
	n.metrics.WatchUpstreams(func() []admin.UpstreamHost { return n.inForce.Load().Hosts() })
	n.metrics.WatchTLS(func() []admin.TLSUse { return n.inForce.Load().TLSUse() })
	n.metrics.WatchProviders(func() []admin.ProviderLane { return n.inForce.Load().Lanes() })
	n.metrics.WatchScanners(func() map[string]bool { return n.inForce.Load().ScannersUp() })
	n.metrics.Expect(labels(file))
	n.tellMade(n.rules)
	n.tellSigner()
	return nil
}

// observers are told of each transaction, in this order.
func (n *Node) observers(file *config.File) []mail.Observer {
	all := []mail.Observer{
		n.openRecords(file), n.receivers, n.openUnknown(file), n.alerts, n.watch, n.metrics, n.reputation,
		newGatewayWatch(n.log, check.Gateways()), n.warmups,
	}
	if n.tally != nil {
		all = append(all, n.tally)
	}
	return all
}

// hooks are what sessions ask of the rest of the node.
func (n *Node) hooks() relay.Hooks {
	h := n.receivers.hooks()
	h.Past, h.Stranger = n.past, n.watch.Stranger
	h.Suspended, h.Admit, h.Brake, h.BrakeMessage, h.Once = n.suspended, n.admit, n.brake, n.brakeMessage, n.limiter.Once
	return h
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

// tellSigner says who makes RSA signatures, which are most of a small message's cost.
func (n *Node) tellSigner() {
	signers := n.rules.Snapshot.Signers
	if len(signers.Keys()) > 0 {
		n.log.Info("DKIM signatures", "rsa", signers.RSASigner())
	}
}

// tellMade tells of the keys of a rule set that have just been made.
func (n *Node) tellMade(r *ruleset.Set) {
	for _, k := range r.Snapshot.Signers.Keys() {
		if k.Made && n.options.KeyMade != nil {
			n.options.KeyMade(k)
		}
	}
}
