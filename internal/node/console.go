package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/config"
	"postern/internal/console"
	"postern/internal/console/peers"
	"postern/internal/find"
	"postern/internal/phrase"
	"postern/internal/statefile"
	"postern/internal/tally"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation/identity"
)

// saveTallyEvery is how much of the counts for the console a crash loses, where there is
// no journal to read them from again.
const saveTallyEvery = 5 * time.Minute

// openTally begins to count mail for the console, where there is one.
func (n *Node) openTally(file *config.File) {
	if !file.Admin.Address.IsValid() {
		return
	}
	at := tally.StateFile(filepath.Join(file.StateDir, "tally.json"))
	counts, since, err := tally.Open(at, time.Now)
	if err != nil {
		n.log.Error("the counts of the console begin anew", "err", err)
	}
	n.tally, n.counting = counts, make(chan struct{}, 1)
	save := func() { n.stateWritten("tally", counts.Save(at)) }
	started := time.Now()
	n.run(func(ctx context.Context) {
		if err := n.replay(ctx, since, started); err != nil && ctx.Err() == nil {
			n.log.Warn("the counts of the console lack what was before the start", "err", err)
		}
		n.every(ctx, saveTallyEvery, save)
		save()
	})
}

// replay counts what the journal holds of the time before the start.
func (n *Node) replay(ctx context.Context, since, started time.Time) error {
	journal := n.rules.File.Journal.File
	if journal == "" {
		return nil
	}
	files, err := find.Files(journal)
	if err != nil {
		return err
	}
	return find.Aside(func() error { return n.tally.Replay(ctx, files, since, started) })
}

// openConsole makes the console; nil where there is no port for it.
func (n *Node) openConsole(file *config.File) *console.Console {
	if n.tally == nil {
		return nil
	}
	n.peers = peers.New(time.Now)
	n.peers.Use(file.Admin.Peers)
	c, err := console.New(console.Options{
		Data: n.consoleData(), Log: n.log, API: n.api, Peers: n.peers, Token: n.gate.Token, Still: n.tokens.Still, Identify: n.gate.Identify,
		State: statefile.New(filepath.Join(file.StateDir, "console.json"), 1<<20),
	})
	n.stateWritten("console", err)
	return c
}

// consoleLink is a link that logs somebody in as who he is, once; "" where there is no
// console.
func (n *Node) consoleLink(who access.Caller) string {
	if n.console == nil {
		return ""
	}
	return adminURL(n.file()) + n.console.NewLink(who)
}

// adminURL is where a browser on this machine finds the console.
func adminURL(f *config.File) string {
	at := f.Admin.Address
	if a := at.Addr(); a.IsUnspecified() {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	if f.Admin.Certificate != "" {
		return "https://" + at.String()
	}
	return "http://" + at.String()
}

// consoleData is what the console asks.
func (n *Node) consoleData() console.Data {
	return console.Data{
		State:   n.consoleState,
		Budgets: n.limiter.Top,
		History: func(scope, name string) []int {
			if d, err := n.watch.Show(scope, name); err == nil {
				return d.History
			}
			return nil
		},
		Senders:   n.sendersOf,
		UsualHour: n.usualHour,
		Report:    n.tally.Report,
		Ways:      n.tally.Ways,
		Now:       n.wouldGetNow,
	}
}

// sendersOf reads the senders of an hour from the journal; one at a time, since it takes up
// to a core.
func (n *Node) sendersOf(ctx context.Context, stream, client string, hour tally.Hour) (list []tally.Sender, whole bool, err error) {
	journal := n.file().Journal.File
	if journal == "" {
		return nil, true, errors.New("the relay keeps no journal; set journal.file")
	}
	ctx, cancel := context.WithTimeout(ctx, sendersTime)
	defer cancel()
	select {
	case n.counting <- struct{}{}:
		defer func() { <-n.counting }()
	case <-ctx.Done():
		return nil, true, errors.New("another hour is being read; try again in a moment")
	}
	files, err := find.Files(journal)
	if err != nil {
		return nil, true, err
	}
	err = find.Aside(func() (err error) {
		list, whole, err = tally.Senders(ctx, files, stream, client, hour)
		return err
	})
	return list, whole, err
}

// sendersTime bounds the reading of one hour.
const sendersTime = 20 * time.Second

// usualHour is what the watch knows of a sender.
func (n *Node) usualHour(s *tally.Sender) int {
	scope, name := outlier.Sender, s.Name
	if s.User != "" {
		var err error
		if scope, name, err = n.watch.FindTarget(outlier.UserSender + ":" + s.User + " " + s.Name); err != nil {
			return 0
		}
	}
	d, err := n.watch.Show(scope, name)
	if err != nil {
		return 0
	}
	return d.UsualHr
}

// consoleState is this node at the moment; unlike status it takes no time that grows with
// the senders.
func (n *Node) consoleState() console.RelayState {
	rules := n.inForce.Load()
	f := rules.File
	ready := n.readiness()
	s := console.RelayState{Relay: f.Hostname, Version: n.options.Version, Started: n.condition.started, Ready: ready.Ready, Connections: n.server.Connections()}
	for _, r := range ready.Reasons {
		s.Conditions = append(s.Conditions, console.Condition{Bad: true, What: r.What, Text: r.Text, Since: r.Since})
	}
	for _, r := range ready.Degraded {
		s.Conditions = append(s.Conditions, console.Condition{What: r.What, Text: r.Text, Since: r.Since})
	}
	findings, _ := n.reputation.monitor.Findings()
	for i := range findings {
		if f := &findings[i]; f.Status == identity.Fail {
			s.Conditions = append(s.Conditions, console.Condition{What: "identity", Text: fmt.Sprintf("%s of %s is wrong: %s", f.Check, f.Subject, f.Seen), Remedy: f.Change})
		}
	}
	paused := n.receivers.backoff.Paused()
	for _, name := range slices.Sorted(maps.Keys(f.Stream)) {
		up := f.Stream[name].Upstream
		s.Streams = append(s.Streams, console.Stream{Name: name, Upstream: up, Capture: f.Upstream[up].Capture != "", Paused: paused[name]})
	}
	for _, h := range rules.Hosts() {
		s.Hosts = append(s.Hosts, console.Host{Upstream: h.Upstream, Host: h.Host, Up: h.Up, Since: h.Since, LastSuccess: h.LastSuccess, LastFailure: h.LastFailure, LastError: h.LastError, Connections: h.InUse, Idle: h.Idle, Max: h.Max})
	}
	return s
}

// wouldGetNow says what would stop mail such as that of an event now.
func (n *Node) wouldGetNow(ctx context.Context, e *mail.Event) ([]string, error) {
	var list []string
	sender := string(mail.IdentityOf(e.From))
	scope, name := outlier.Sender, sender
	switch {
	case e.From == "<>" || sender == "":
		scope, name = outlier.Client, e.Client
	case e.User != "":
		var err error
		if scope, name, err = n.watch.FindTarget(outlier.UserSender + ":" + e.User + " " + sender); err != nil {
			return nil, err
		}
	}
	for _, s := range n.watch.States(outlier.Throttled) {
		if !s.Shadow && (s.Scope == scope && s.Name == name || s.Scope == outlier.Sender && s.Name == sender && !(outlier.OfUnnamed(&s) && e.Party() != "")) {
			list = append(list, fmt.Sprintf("%s %s is %s%s", s.Scope, s.Name, phrase.State(&outlier.Row{State: s.Level, Until: s.Until}), phrase.Prefixed(": ", s.Reason)))
		}
	}
	for _, h := range n.hindrances(ctx, scope, name) {
		if !slices.Contains(list, h.What) {
			list = append(list, h.What)
		}
	}
	facts := ratelimit.Facts{Client: e.Client, User: e.User, Submitter: e.Submitter, SubmitterIP: e.SubmitterIP, ClientIP: e.ClientIP, Sender: mail.Identity(sender)}
	if err := n.completeFacts(&facts); err != nil {
		return append(list, err.Error()), nil
	}
	for i := range e.To[:min(len(e.To), maxExplained)] {
		more, err := n.limitsNow(ctx, facts, e.To[i].Address)
		if err != nil {
			return nil, err
		}
		for _, words := range more {
			if !slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, words) }) {
				list = append(list, words)
			}
		}
	}
	return list, nil
}

// maxExplained is how many recipients of a message are looked at.
const maxExplained = 5

// limitsNow are the limits without room for one more recipient, with the counts that who
// asks may see.
func (n *Node) limitsNow(ctx context.Context, facts ratelimit.Facts, to string) (list []string, err error) {
	if stream := facts.Stream; n.receivers.suppressions != nil && n.receivers.suppressions.Suppressed(stream, mail.RecipientID(to)) {
		list = append(list, fmt.Sprintf("the recipient %s is suppressed", to))
	}
	all, err := n.limiter.Explain(ctx, facts, ratelimit.Recipient{Address: mail.RecipientID(to)})
	for i := range all {
		x := &all[i]
		if !x.Applies || x.Fits || x.Mode == ratelimit.Shadow {
			continue
		}
		if !n.api.MayReadKey(access.Of(ctx), x.Key) { // what others share with the client
			list = append(list, fmt.Sprintf("limit %s is full", x.Limit))
			continue
		}
		words := fmt.Sprintf("limit %s is full for %s", x.Limit, x.Key)
		for w := range x.Windows {
			if x.Windows[w].Room <= 0 {
				words += fmt.Sprintf(": %s, next fits %s", phrase.Used(&x.Windows[w]), phrase.Wait(x.Windows[w].Wait))
				break
			}
		}
		list = append(list, words)
	}
	return list, err
}
