// Package upstream is the client's end of SMTP: it carries mail transactions to the
// next hop, and hands each of its replies back.
//
// A client of ours waits for these replies, so a transaction may not begin with a
// connection, TLS and a login. Connections are kept in a pool for each host and
// source address, and commands go out together where the host offers it
// (PIPELINING, RFC 2920). A kept connection may have died unnoticed: an envelope
// that met a dead one is sent once more over a new one, a message never, for the
// host may have taken it (RFC 5321 s. 4.5.4.1).
//
// A reply counts in two ways. It is the answer to the client, unless only we can
// mend what it speaks of; and it is evidence, of the host, the receiver or
// ourselves, which observers get with the class that package replies gives it.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/oauth"
	"postern/mail"
	"postern/upstream/capture"
	"postern/upstream/content"
	"postern/upstream/replies"
	"postern/upstream/share"
)

// Errors that a fault of a transaction may wrap.
var (
	// ErrUnknownOutcome: the connection was lost after the message may have been
	// written to its end. The upstream may have taken it or not.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrVerdictChanged: the upstream no longer takes a recipient that it took
	// before Park. Nothing was sent.
	ErrVerdictChanged = errors.New("verdict on a recipient changed")
	// ErrSource: the stream's source address cannot be used. No other was tried
	// in its place.
	ErrSource = errors.New("source address cannot be used")
	// ErrCredentials: the host does not take our user name and password. The
	// error's text quotes its reply.
	ErrCredentials = errors.New("credentials refused")
	// ErrNoTLS: the host does not offer STARTTLS or refuses it, and mail may not leave
	// without it.
	ErrNoTLS = errors.New("host does not offer STARTTLS")
	// ErrClosed: the upstream is closed.
	ErrClosed = errors.New("upstream is closed")

	// ErrBusy: all connections that the host may have are in use, and none became
	// free in time.
	ErrBusy = errors.New("all connections are in use")
)

// Content is a message as it shall leave.
type Content = content.Content

// Route is how a stream's mail leaves.
type Route struct {
	// SourceIPs are the addresses to connect from; one of the family of the
	// host's address is bound, in turn where there are several, and never any
	// other. Empty: whatever the system chooses.
	SourceIPs []netip.Addr
	// EHLO is the name given in EHLO. Blank: Options.Hostname.
	EHLO string
}

// route is a Route to compare. Connections are shared within one only.
type route struct {
	ehlo string
	a, b netip.Addr // the first two source addresses
	more string     // the others, separated by spaces
}

func (r Route) key(hostname string) route {
	k := route{ehlo: r.EHLO}
	if k.ehlo == "" {
		k.ehlo = hostname
	}
	for i, ip := range r.SourceIPs {
		switch i {
		case 0:
			k.a = ip.Unmap()
		case 1:
			k.b = ip.Unmap()
		default:
			k.more += " " + ip.Unmap().String()
		}
	}
	return k
}

// sources are the route's addresses as text.
func (r *route) sources() []string {
	var s []string
	for _, a := range []netip.Addr{r.a, r.b} {
		if a.IsValid() {
			s = append(s, a.String())
		}
	}
	return append(s, strings.Fields(r.more)...)
}

// source returns the address to connect to a host from; the zero Addr where the
// route names none at all. turn spreads over several of one family.
func (r *route) source(to netip.Addr, turn uint32) (_ netip.Addr, ok bool) {
	all := r.sources()
	if len(all) == 0 {
		return netip.Addr{}, true
	}
	var fit []netip.Addr
	for _, text := range all {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() == to.Is4() {
			fit = append(fit, a)
		}
	}
	if len(fit) == 0 {
		return netip.Addr{}, false
	}
	return fit[int(turn)%len(fit)], true
}

// Options are what an upstream takes from its surroundings.
type Options struct {
	// Hostname is the EHLO name of routes that have none. Blank: the address
	// literal of the connection.
	Hostname string
	// Lookup resolves a host's name to its addresses, in the order to try them.
	// Nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Log gets one line when a host goes down and one when it is up again. Nil:
	// nobody is told.
	Log *slog.Logger
	// TokenFile is where access tokens of the provider are kept, for an upstream
	// with oauth. Blank: in memory only.
	TokenFile string
	// Rules say what refusals mean. Nil: the built-in ones.
	Rules *replies.Classifier
	// Roots are the authorities that certificates are verified against. Nil: those of
	// Config.CA.
	Roots *x509.CertPool
	// Verify looks at the certificates of a connection in place of the usual check, with
	// tls = "verified". Nil: they have to be valid for the host's name.
	Verify func(tls.ConnectionState) error
	// Strangers: the hosts are those of receivers, and nobody connects to them to
	// see whether they are up again.
	Strangers bool
}

// Upstream forwards mail to one configured upstream. It owns the connections;
// all methods may be called from several goroutines.
type Upstream struct {
	name    string
	opt     Options
	hosts   []*host
	capture *capture.Folder // non-nil: nothing is sent
	cfg     Config
	tokens  *oauth.Source // nil: the password is used
	turn    atomic.Uint32
	rules   atomic.Pointer[replies.Classifier] // by which refusals are weighed
}

// New makes the upstream called name; cfg must have passed Check. It reads the CA file and
// makes the capture folder, but connects to nobody. The error is about a file or about cfg.
func New(name string, cfg Config, opt Options) (*Upstream, error) {
	if opt.Lookup == nil {
		opt.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	u := &Upstream{name: name, opt: opt, cfg: cfg}
	u.SetRules(opt.Rules)
	if cfg.Capture != "" {
		c, err := capture.Open(name, cfg.Capture)
		u.capture = c
		return u, err
	}
	roots, err := opt.Roots, error(nil)
	if roots == nil {
		roots, err = LoadRoots(cfg.CA)
	}
	if err != nil {
		return nil, err
	}
	for _, text := range cfg.Hosts {
		h, err := u.newHost(text, roots)
		if err != nil {
			return nil, err
		}
		u.hosts = append(u.hosts, h)
	}
	if len(u.hosts) == 0 {
		return nil, fmt.Errorf("upstream %s: no hosts", name)
	}
	if cfg.OAuth != nil {
		if u.tokens, err = oauth.New(*cfg.OAuth, oauth.Options{File: opt.TokenFile, Log: opt.Log.With("upstream", name)}); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", name, err)
		}
	}
	return u, nil
}

// LoadRoots reads a PEM file of authorities. For a blank path it returns nil, which stands
// for the authorities of the system.
func LoadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read ca: %s holds no PEM certificate", path)
	}
	return pool, nil
}

func (u *Upstream) newHost(text string, roots *x509.CertPool) (*host, error) {
	name, port, err := splitHost(text)
	if err != nil {
		return nil, err
	}
	h := &host{
		u: u, cfg: &u.cfg, probeEvery: probeEvery, name: name, port: uint16(port), addr: net.JoinHostPort(name, strconv.Itoa(port)),
		all: map[*conn]bool{}, shares: share.New(u.cfg.MaxConnections),
		tls: &tls.Config{
			ServerName: name, RootCAs: roots,
			InsecureSkipVerify: u.cfg.TLS != EncryptVerified,
			ClientSessionCache: tls.NewLRUClientSessionCache(u.cfg.MaxConnections),
			// A message goes out in few records, not in many of one segment.
			DynamicRecordSizingDisabled: true,
		},
	}
	if u.opt.Verify != nil {
		h.tls.InsecureSkipVerify, h.tls.VerifyConnection = true, u.opt.Verify
	}
	u.cfg.TLSMin.Limit(h.tls)
	if u.cfg.ServerName != "" {
		h.tls.ServerName = u.cfg.ServerName
	}
	h.life, h.end = context.WithCancel(context.Background())
	return h, nil
}

// SetRules takes other rules for the refusals that come from now on; nil are the
// built-in ones.
func (u *Upstream) SetRules(r *replies.Classifier) {
	if r == nil {
		r = replies.BuiltIn()
	}
	u.rules.Store(r)
}

// Name is the upstream's name in the configuration.
func (u *Upstream) Name() string { return u.name }

// Connections is how many it has with all hosts, those that are idle or in the
// making included.
func (u *Upstream) Connections() (n int) {
	for _, h := range u.hosts {
		h.mu.Lock()
		n += h.open
		h.mu.Unlock()
	}
	return n
}

// Close closes idle connections at once and the others as their transactions
// end; it returns when there are none. When ctx ends first, what is left is cut
// off, and the error is that of ctx. Transactions that begin meanwhile are
// still served, those that begin afterwards get ErrClosed.
func (u *Upstream) Close(ctx context.Context) error {
	if u.tokens != nil {
		defer u.tokens.Close()
	}
	var done []<-chan struct{}
	for _, h := range u.hosts {
		done = append(done, h.drain())
		h.stopProbes()
	}
	defer func() {
		for _, h := range u.hosts {
			h.close()
		}
	}()
	for _, d := range done {
		select {
		case <-d:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Begin starts a transaction. It does no I/O; env must stay as it is until the
// transaction's end, except for env.To, which is not read. The caller calls
// Close in the end.
func (u *Upstream) Begin(r Route, env *mail.Envelope) *Transaction {
	return &Transaction{u: u, route: r.key(u.opt.Hostname), env: env}
}

// take returns a connection of the route: a kept one or, also with fresh, a new
// one, of the first host that gives one.
func (u *Upstream) take(ctx context.Context, what want) (*conn, error) {
	var errs faults
	for _, h := range u.order() {
		c, err := u.takeFrom(ctx, h, what)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errs
}

// order is that of preference, those that failed lately last.
func (u *Upstream) order() []*host {
	if len(u.hosts) == 1 {
		return u.hosts
	}
	now := time.Now()
	var good, bad []*host
	for _, h := range u.hosts {
		if h.failing(now) {
			bad = append(bad, h)
		} else {
			good = append(good, h)
		}
	}
	return append(good, bad...)
}

func (u *Upstream) takeFrom(ctx context.Context, h *host, what want) (*conn, error) {
	c, err := h.acquire(ctx, what)
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		c.client = what.client
		return c, nil
	}
	c, err = u.connect(ctx, h, what.route)
	if err == nil {
		err = h.added(c)
	}
	if err == nil {
		c.client = what.client
		return c, nil
	}
	if c != nil {
		c.raw.Close()
	}
	h.free(what.client)
	// Our own address or the caller's patience says nothing about the host, and
	// neither does a try that was not made.
	if !errors.Is(err, ErrSource) && !errors.Is(err, errLocked) && ctx.Err() == nil {
		h.failedTry(what.route, err)
	}
	return nil, err
}

// faults are errors of one after another attempt, told on one line.
type faults []error

func (f faults) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (f faults) Unwrap() []error { return f }
