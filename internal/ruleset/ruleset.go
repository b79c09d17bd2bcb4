// Package ruleset makes from one configuration everything that mail is handled by:
// the compiled policy, the signers, the upstreams with their connections, the
// scanners, and the check of passwords.
//
// A relay in service changes its rules without losing a connection. So a set is made
// as a whole next to the one in force, takes over from it what has not changed, and
// then replaces it by one pointer; with any error nothing has changed. The set of
// before is retired: it closes what the new one did not take over, once the
// transactions that still use it have ended.
package ruleset

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

// Set is one configuration with what is made from it. Its fields are read only.
type Set struct {
	File      *config.File
	Snapshot  *relay.Snapshot               // what sessions work by
	Upstreams map[string]*upstream.Upstream // those that have hosts, by name
	Direct    map[string]*direct.Upstream   // those with mx = true
	Scanners  *scan.Set
	Links     *links.Lists

	replies *replies.Classifier // says what refusals mean
	wrong   auth.WrongPasswords // nil: there are no users
}

// New makes everything that file describes. Upstreams that old has
// under the same settings are taken over with their connections, and guessed
// passwords stay counted; old nil is none, and so is a Redis of nil. What
// changes later in its parts goes to log.
func New(file *config.File, old *Set, rdb redis.UniversalClient, log *slog.Logger) (*Set, error) {
	r := &Set{File: file, Upstreams: map[string]*upstream.Upstream{}, Direct: map[string]*direct.Upstream{}}
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
		r.Retire(context.Background(), old)
		return nil, err
	}
	r.Snapshot = &relay.Snapshot{
		Settings: smtpd.Settings{
			Hostname: file.Hostname, Rules: file.Policy(), Auth: users,
			Message: file.Message, Timeouts: file.Timeouts, Session: file.Session,
		},
		Postmaster: postmaster, SuspendedMay: file.SuspendedMay(), HelpURL: file.Outlier.HelpURL, Signers: signers, Routes: r.routes(), Scanners: r.Scanners, Links: r.Links,
	}
	return r, nil
}

func (r *Set) makeUpstreams(old *Set, log *slog.Logger) error {
	var errs []error
	for name, cfg := range r.File.Upstream {
		if cfg.MX {
			continue
		}
		if old != nil && old.File.Hostname == r.File.Hostname && reflect.DeepEqual(old.File.Upstream[name].Config, cfg.Config) {
			r.Upstreams[name] = old.Upstreams[name]
			continue
		}
		u, err := upstream.New(name, cfg.Config, upstream.Options{Hostname: r.File.Hostname, Log: log, Rules: r.replies, TokenFile: r.File.TokenFile(name)})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Upstreams[name] = u
	}
	return errors.Join(errs...)
}

// makeScanners takes over those of old that have not changed, with what is known
// of them.
func (r *Set) makeScanners(old *Set, log *slog.Logger) (err error) {
	o := scan.Options{Hostname: r.File.Hostname, Configs: r.File.Scanner, Changed: func(s scan.ScannerState) {
		if s.Up {
			log.Info("scanner is up", "scanner", s.Name, "version", s.Version.Name)
			return
		}
		log.Error("scanner is down", "scanner", s.Name, "err", s.Why)
	}}
	if old != nil {
		o.Old = old.Scanners
	}
	r.Scanners, err = scan.New(o)
	return err
}

// makeLinks takes over the lists of old if nothing changes for them.
func (r *Set) makeLinks(old *Set, log *slog.Logger) (err error) {
	o := links.Options{
		Config: r.File.Links, Zones: r.File.Reputation.DNSBL, Own: r.File.OwnDomains(), Servers: r.File.Reputation.Resolvers,
		Changed: func(list string, why error) {
			if why == nil {
				log.Info("list of links is believed", "list", list)
				return
			}
			log.Error("list of links is not believed, mail passes without it", "list", list, "err", why)
		},
	}
	if old != nil {
		o.Old = old.Links
	}
	r.Links, err = links.New(o)
	return err
}

// canaryWait is how long a start or a reload waits for the first canaries.
const canaryWait = 3 * time.Second

// Start begins to try scanners and lists of links, and waits a moment for the first
// answers of the scanners.
func (r *Set) Start() {
	r.Scanners.Start(canaryWait)
	r.Links.Start()
}

func (r *Set) makeAuth(old *Set, rdb redis.UniversalClient) (*auth.Authenticator, error) {
	if len(r.File.User) == 0 {
		return nil, nil
	}
	switch {
	case rdb != nil:
		r.wrong = bruteforce.New(rdb, r.File.Redis.Prefix, r.File.Redis.Timeout, r.File.Auth)
	case old != nil && old.wrong != nil && reflect.DeepEqual(old.File.Auth, r.File.Auth):
		r.wrong = old.wrong
	default:
		r.wrong = auth.NewLocal(r.File.Auth, time.Now)
	}
	return auth.New(r.File.User, r.File.Auth, time.Now, r.wrong)
}

func (r *Set) routes() map[string]*relay.Route {
	routes := make(map[string]*relay.Route, len(r.File.Stream))
	for name, s := range r.File.Stream {
		routes[name] = &relay.Route{
			Name: s.Upstream, Upstream: r.Upstreams[s.Upstream], Direct: r.Direct[s.Upstream],
			Via: upstream.Route{SourceIPs: s.SourceIP, EHLO: s.EHLO}, SourceKey: SourceKey(s.SourceIP),
			Sign: dkimsign.NewWay(r.File.Way(name)), MaxRecipients: r.File.Upstream[s.Upstream].MaxRecipients,
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

// UseReplyRules has upstreams that were taken over weigh refusals by these rules.
func (r *Set) UseReplyRules() {
	for _, u := range r.Upstreams {
		u.SetRules(r.replies)
	}
	for _, u := range r.Direct {
		u.SetRules(r.replies)
	}
}

// Retire ends the scanners and closes the upstreams that next has not taken over, once their
// transactions have ended or ctx has.
func (r *Set) Retire(ctx context.Context, next *Set) {
	if next == nil {
		r.Scanners.Stop(nil)
		r.Links.Stop(nil)
	} else {
		r.Scanners.Stop(next.Scanners)
		r.Links.Stop(next.Links)
	}
	for name, u := range r.Upstreams {
		if next == nil || next.Upstreams[name] != u {
			u.Close(ctx)
		}
	}
	r.retireDirect(ctx, next)
}

// Close ends everything in the set.
func (r *Set) Close(ctx context.Context) { r.Retire(ctx, nil) }
