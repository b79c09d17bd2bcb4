package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/dkimsign"
	"postern/internal/auth"
	"postern/internal/bruteforce"
	"postern/internal/config"
	"postern/mail"
	"postern/relay"
	"postern/relay/smtpd"
	"postern/scan"
	"postern/scan/links"
	"postern/upstream"
	"postern/upstream/direct"
	"postern/upstream/replies"
)

// ruleset is one configuration with what is made from it.
type ruleset struct {
	file      *config.File
	snapshot  *relay.Snapshot
	upstreams map[string]*upstream.Upstream
	direct    map[string]*direct.Upstream // those with mx = true
	replies   *replies.Classifier         // that say what refusals mean
	wrong     auth.WrongPasswords
	scanners  *scan.Set
	links     *links.Lists
}

// newRuleset makes everything that file describes. Upstreams that old has
// under the same settings are taken over with their connections, and guessed
// passwords stay counted; old nil is none, and so is a Redis of nil. What
// changes later in its parts goes to log.
func newRuleset(file *config.File, old *ruleset, rdb redis.UniversalClient, log *slog.Logger) (*ruleset, error) {
	r := &ruleset{file: file, upstreams: map[string]*upstream.Upstream{}, direct: map[string]*direct.Upstream{}}
	var errs []error
	signers, err := dkimsign.Load(file.DKIM)
	errs = append(errs, err)
	if err == nil {
		for _, unmade := range signers.Unmade() {
			log.Error("a DKIM key cannot be made, its domain's mail is not signed; reload when the disk can be written", "err", unmade)
		}
	}
	if r.replies, err = replies.LoadRules(file.Reputation.ReplyRules); err != nil {
		errs = append(errs, fmt.Errorf("reputation.reply_rules: %w", err))
	}
	errs = append(errs, r.makeUpstreams(old, log), r.makeDirect(old, log), r.makeScanners(old, log), r.makeLinks(old, log))
	users, err := r.makeAuth(old, rdb)
	errs = append(errs, err)
	var postmaster mail.Address
	if file.Postmaster != "" {
		postmaster, err = config.ParseAddress(file.Postmaster)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		r.retire(context.Background(), old)
		return nil, err
	}
	r.snapshot = &relay.Snapshot{
		Settings: smtpd.Settings{
			Hostname: file.Hostname, Rules: file.Policy(), Auth: users,
			Message: file.Message, Timeouts: file.Timeouts, Session: file.Session,
		},
		Postmaster: postmaster, SuspendedMay: file.SuspendedMay(), HelpURL: file.Outlier.HelpURL, Signers: signers, Routes: r.routes(), Scanners: r.scanners, Links: r.links,
	}
	return r, nil
}

func (r *ruleset) makeUpstreams(old *ruleset, log *slog.Logger) error {
	var errs []error
	for name, cfg := range r.file.Upstream {
		if cfg.MX {
			continue
		}
		if old != nil && old.file.Hostname == r.file.Hostname && reflect.DeepEqual(old.file.Upstream[name].Config, cfg.Config) {
			r.upstreams[name] = old.upstreams[name]
			continue
		}
		u, err := upstream.New(name, cfg.Config, upstream.Options{Hostname: r.file.Hostname, Log: log, Rules: r.replies, TokenFile: r.file.TokenFile(name)})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.upstreams[name] = u
	}
	return errors.Join(errs...)
}

// makeScanners takes over those of old that have not changed, with what is known
// of them.
func (r *ruleset) makeScanners(old *ruleset, log *slog.Logger) (err error) {
	o := scan.Options{Hostname: r.file.Hostname, Configs: r.file.Scanner, Changed: func(s scan.ScannerState) {
		if s.Up {
			log.Info("scanner is up", "scanner", s.Name, "version", s.Version.Name)
			return
		}
		log.Error("scanner is down", "scanner", s.Name, "err", s.Why)
	}}
	if old != nil {
		o.Old = old.scanners
	}
	r.scanners, err = scan.New(o)
	return err
}

// makeLinks takes over the lists of old if nothing changes for them.
func (r *ruleset) makeLinks(old *ruleset, log *slog.Logger) (err error) {
	o := links.Options{
		Config: r.file.Links, Zones: r.file.Reputation.DNSBL, Own: r.file.OwnDomains(), Servers: r.file.Reputation.Resolvers,
		Changed: func(list string, why error) {
			if why == nil {
				log.Info("list of links is believed", "list", list)
				return
			}
			log.Error("list of links is not believed, mail passes without it", "list", list, "err", why)
		},
	}
	if old != nil {
		o.Old = old.links
	}
	r.links, err = links.New(o)
	return err
}

// canaryWait is how long a start or a reload waits for the first canaries.
const canaryWait = 3 * time.Second

func (r *ruleset) makeAuth(old *ruleset, rdb redis.UniversalClient) (*auth.Authenticator, error) {
	if len(r.file.User) == 0 {
		return nil, nil
	}
	switch {
	case rdb != nil:
		r.wrong = bruteforce.New(rdb, r.file.Redis.Prefix, r.file.Redis.Timeout, r.file.Auth)
	case old != nil && old.wrong != nil && reflect.DeepEqual(old.file.Auth, r.file.Auth):
		r.wrong = old.wrong
	default:
		r.wrong = auth.NewLocal(r.file.Auth, time.Now)
	}
	return auth.New(r.file.User, r.file.Auth, time.Now, r.wrong)
}

func (r *ruleset) routes() map[string]*relay.Route {
	routes := make(map[string]*relay.Route, len(r.file.Stream))
	for name, s := range r.file.Stream {
		routes[name] = &relay.Route{
			Name: s.Upstream, Upstream: r.upstreams[s.Upstream], Direct: r.direct[s.Upstream],
			Via: upstream.Route{SourceIPs: s.SourceIP, EHLO: s.EHLO}, SourceKey: SourceKey(s.SourceIP),
			Sign: dkimsign.NewWay(r.file.Way(name)), MaxRecipients: r.file.Upstream[s.Upstream].MaxRecipients,
		}
	}
	return routes
}

// SourceKey is what limits per source_ip count on: the addresses of a stream
// together, since either may be the one taken.
func SourceKey(ips []netip.Addr) string {
	words := make([]string, len(ips))
	for i, ip := range ips {
		words[i] = ip.String()
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// useReplyRules has upstreams that were taken over weigh refusals by these rules.
func (r *ruleset) useReplyRules() {
	for _, u := range r.upstreams {
		u.SetRules(r.replies)
	}
	for _, u := range r.direct {
		u.SetRules(r.replies)
	}
}

// tellMade tells of the keys of a rule set that have just been made.
func (n *Node) tellMade(r *ruleset) {
	for _, k := range r.snapshot.Signers.Keys() {
		if k.Made && n.options.KeyMade != nil {
			n.options.KeyMade(k)
		}
	}
}

// retire ends the scanners and closes the upstreams that next has not taken over, once their
// transactions have ended or ctx has.
func (r *ruleset) retire(ctx context.Context, next *ruleset) {
	if next == nil {
		r.scanners.Stop(nil)
		r.links.Stop(nil)
	} else {
		r.scanners.Stop(next.scanners)
		r.links.Stop(next.links)
	}
	for name, u := range r.upstreams {
		if next == nil || next.upstreams[name] != u {
			u.Close(ctx)
		}
	}
	r.retireDirect(ctx, next)
}

func (r *ruleset) close(ctx context.Context) { r.retire(ctx, nil) }
