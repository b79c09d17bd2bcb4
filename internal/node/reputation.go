package node

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"postern/dkimsign"
	"postern/internal/check"
	"postern/internal/config"
	"postern/mail"
	"postern/outlier"
	"postern/reputation"
	"postern/reputation/identity"
)

// reputationWatch joins the monitor of package reputation to a node: it takes
// events in, and carries out what the monitor decides.
type reputationWatch struct {
	monitor *reputation.Monitor
	log     *slog.Logger
	signers atomic.Pointer[dkimsign.Signers]
}

// byListing is who suspends the suspect of a listing, by on_listing of a stream.
const byListing = "on_listing"

// reputationParts are what the watch needs of a node.
type reputationParts struct {
	log     *slog.Logger
	backoff *reputation.Backoff
	changed func(kind, to string) // counts events
	written func(part string, err error)
	suspend func(outlier.Order) error
	scores  func(kind, name string) float64 // of the outlier watch; nil: none
}

// openReputation begins to watch over listings and the records of our identity.
func (n *Node) openReputation(file *config.File) (err error) {
	n.reputation, err = newReputationWatch(file, n.rules.Snapshot.Signers, reputationParts{
		log: n.log, backoff: n.receivers.backoff, changed: n.metrics.CountChange,
		written: n.stateWritten,
		suspend: func(o outlier.Order) error { _, err := n.watch.Suspend(o); return err }, scores: n.outlierScore,
	})
	if err != nil {
		return err
	}
	n.receivers.groupOf = n.groupOfHost
	n.receivers.backoff.Groups.UseClients(n.clientsOf)
	n.receivers.tellBy(n.reputation, n.metrics.CountChange)
	n.run(n.reputation.monitor.Run)
	return nil
}

// newReputationWatch makes the watch from a configuration that has been checked.
func newReputationWatch(f *config.File, signers *dkimsign.Signers, p reputationParts) (*reputationWatch, error) {
	w := &reputationWatch{log: p.log}
	keepPublished(w.signers.Swap(signers), signers)
	suspendFor := time.Hour
	if len(f.Outlier.Expiry.Suspend) > 0 {
		suspendFor = f.Outlier.Expiry.Suspend[0]
	}
	o := reputation.Options{
		Setup: w.setup(f, signers), Backoff: p.backoff, StateDir: f.StateDir, Log: p.log, Report: p.written, OnKeys: w.noteKeys,
		Command: func(words ...string) string { return config.Command(f.Path(), words...) },
		OnEvent: func(e reputation.Event) { w.tell(e, p.changed) },
	}
	if p.suspend != nil {
		o.Suspend = func(s reputation.Suspect, reason string) error {
			return p.suspend(outlier.Order{Scope: s.Kind, Name: s.Name, For: suspendFor, Reason: reason, By: byListing})
		}
	}
	if p.scores != nil {
		o.Outlier = func(kind, name, _ string) float64 { return p.scores(kind, name) }
	}
	var err error
	w.monitor, err = reputation.NewMonitor(o)
	return w, err
}

// keepPublished carries over what is known of keys that stay.
func keepPublished(old, signers *dkimsign.Signers) {
	if old == nil || signers == nil {
		return
	}
	known := map[string]dkimsign.RecordState{}
	for _, k := range old.Keys() {
		_, value := k.Record()
		known[k.Name()+" "+value] = k.Published()
	}
	for _, k := range signers.Keys() {
		_, value := k.Record()
		signers.SetPublished(k.Domain, k.Selector, known[k.Name()+" "+value])
	}
}

func (w *reputationWatch) setup(f *config.File, signers *dkimsign.Signers) reputation.Setup {
	return reputation.Setup{Config: f.Reputation, Identity: check.Identity(f, signers)}
}

// outlierScore is how far a sender, user or client is from its own past now; 0
// where the watch does not know it.
func (n *Node) outlierScore(scope, name string) float64 {
	d, err := n.watch.Show(scope, name)
	if err != nil {
		return 0
	}
	return d.Score
}

// reload takes a new configuration over; the checks run anew. signers are those
// that sign from now on.
func (w *reputationWatch) reload(f *config.File, signers *dkimsign.Signers) error {
	keepPublished(w.signers.Swap(signers), signers)
	return w.monitor.Reload(w.setup(f, signers))
}

// noteKeys passes on to the signers what DNS says about their keys.
func (w *reputationWatch) noteKeys(states map[string]identity.KeyState) {
	for key, state := range states {
		if state == identity.KeyUnknown {
			continue // what was seen last still holds
		}
		domain, selector, _ := strings.Cut(key, "/")
		w.signers.Load().SetPublished(domain, selector, map[identity.KeyState]dkimsign.RecordState{
			identity.KeyPublished: dkimsign.Matches, identity.KeyUnpublished: dkimsign.Unpublished,
		}[state])
	}
}

// tell writes an event to the log and counts it.
func (w *reputationWatch) tell(e reputation.Event, changed func(kind, to string)) {
	level := slog.LevelInfo
	switch e.Status {
	case identity.Fail:
		level = slog.LevelError
	case identity.Warn, identity.Unknown:
		level = slog.LevelWarn
	}
	attrs := []any{"event", e.Kind, "status", string(e.Status), "subject", e.Subject, "text", e.Text}
	if e.Listing != nil {
		attrs = append(attrs, "listing", e.Listing.ID)
	}
	w.log.Log(context.Background(), level, "reputation", attrs...)
	if changed != nil {
		changed("reputation "+e.Kind, string(e.Status))
	}
}

// Observe takes in what the upstream was asked about.
func (w *reputationWatch) Observe(e *mail.Event) {
	var one [1]reputation.Recipient // as most have
	if to := recipientsOf(one[:0], e); len(to) > 0 || e.Said != nil {
		t := transactionOf(e, to)
		w.monitor.Note(&t, to)
	}
}

// transactionOf is what the monitor needs to know beside the recipients.
func transactionOf(e *mail.Event, to []reputation.Recipient) reputation.Transaction {
	t := reputation.Transaction{Time: e.Time, ID: e.ID, Client: e.Client, User: e.Party(), Sender: mail.IdentityOf(e.From), Stream: e.Stream, Upstream: e.Upstream,
		Said: e.AllSaid()}
	refused := func(r reputation.Recipient) bool { return !r.Relayed }
	if e.Said != nil || slices.ContainsFunc(to, refused) { // it may be refused for what we are
		t.Domains = domainsOf(e)
		t.SourceIP, _ = netip.ParseAddr(e.SourceIP)
	}
	return t
}

// recipientsOf appends those that the upstream was asked about.
func recipientsOf(rs []reputation.Recipient, e *mail.Event) []reputation.Recipient {
	rs = slices.Grow(rs, len(e.To)) // mostly all were
	for i := range e.To {
		if r := &e.To[i]; askedAbout(e, r) {
			rs = append(rs, recipientOf(r))
		}
	}
	return rs
}

// askedAbout reports whether the upstream has said something about r, or has
// perhaps got the message. Where no host took the connection or our login, r was
// never sent, however often the client comes again.
func askedAbout(e *mail.Event, r *mail.RecipientEvent) bool {
	return r.Rule == "upstream" && (r.Code/100 == 2 || r.Said != nil || r.Reply != "" || e.Stage == "forward")
}

func recipientOf(r *mail.RecipientEvent) reputation.Recipient {
	out := reputation.Recipient{Address: mail.RecipientOf(r.Address), Domain: domainOf(r.Address), Relayed: r.Code/100 == 2, Code: r.Code,
		Class: r.Class, Said: r.Said, Trial: r.Trial}
	if !out.Relayed {
		out.Reply = upstreamReply(r)
	}
	return out
}

// domainsOf are the domains of reverse-path, authors and signatures.
func domainsOf(e *mail.Event) (domains []string) {
	add := func(d string) {
		if d != "" && !slices.Contains(domains, d) {
			domains = append(domains, d)
		}
	}
	if strings.Contains(e.From, "@") {
		add(domainOf(e.From))
	}
	for _, a := range e.Authors {
		add(domainOf(a))
	}
	for _, s := range e.Signed {
		d, _, _ := strings.Cut(s, "/")
		add(d)
	}
	return domains
}

// Suspects ranks, from journal files, who left what was usual for it before
// a time.
func Suspects(events func(func(*mail.Event) error) error, streams []string, at time.Time, lookBack time.Duration) ([]reputation.Suspect, error) {
	h := reputation.NewHistory(lookBack)
	err := events(func(e *mail.Event) error {
		if e.Time.After(at) {
			return nil
		}
		h.Add(&reputation.Transaction{Time: e.Time, ID: e.ID, Client: e.Client, User: e.Party(), Sender: mail.IdentityOf(e.From), Stream: e.Stream, Recipients: recipientsOf(nil, e)})
		return nil
	})
	return h.Suspects(streams, at, nil), err
}
