package node

import (
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/ruleset"
)

// Reload opens the files of the journal anew, since they may have been renamed,
// and reads the configuration at path again. With any problem the old
// configuration stays in force, and each problem is a log line. It returns how it went.
func (n *Node) Reload(path string) admin.ReloadStatus {
	n.reopenJournals()
	problems := n.tryReload(path)
	status := admin.ReloadStatus{Time: time.Now(), OK: len(problems) == 0, Problems: problems}
	n.condition.reloaded.Store(&status)
	for _, p := range problems {
		n.log.Error("configuration not reloaded, the old one stays in force", "problem", p)
	}
	if len(problems) == 0 {
		n.log.Info("configuration reloaded", "file", path)
	}
	return status
}

// tryReload puts the file into force or returns what is wrong with it.
func (n *Node) tryReload(path string) (problems []string) {
	file, warnings, err := config.Load(path)
	if err == nil {
		for _, w := range warnings {
			n.log.Warn("configuration", "warning", w.String())
		}
		err = n.reload(file)
	}
	if err != nil {
		return strings.Split(err.Error(), "\n")
	}
	return nil
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
		n.tuning.Use(n.rules.File.Outlier)
		if err := n.applyOthers(n.rules.File, n.rules); err != nil {
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
	if err := n.receivers.reload(old.File, file); err != nil {
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
// last, since what they do is seen outside. The watch takes its part once nothing can
// refuse any more: a file of it that is damaged is so for the old configuration, too.
func (n *Node) apply(file *config.File, rules *ruleset.Set) error {
	useWatch, err := n.watch.Prepare(n.tuning.Use(file.Outlier))
	if err != nil {
		return err
	}
	if err := n.applyOthers(file, rules); err != nil {
		return err
	}
	useWatch()
	return nil
}

// applyOthers is apply for all but the watch.
func (n *Node) applyOthers(file *config.File, rules *ruleset.Set) error {
	if err := n.reputation.reload(file, rules.Snapshot.Signers); err != nil {
		return err
	}
	if err := n.logins.Use(loginLists(file)); err != nil {
		return err
	}
	return n.relisten(file.Listener)
}
