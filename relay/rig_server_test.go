package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"postern/dkimsign"
	"postern/internal/auth"
	"postern/internal/smtptest"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/strangers"
	"postern/relay/smtpd"
	"postern/upstream"
)

// start runs the server and returns its address.
func (r *rig) start() string {
	t := r.t
	t.Helper()
	if r.addr != "" {
		return r.addr
	}
	dir := t.TempDir()
	r.files(dir)
	r.up = smtptest.Start(t, r.upOptions())
	r.upConfig.Hosts = []string{r.up.Addr()}
	if r.world != nil {
		r.world.start(t)
	}
	lis, err := smtpd.Listen("test", r.listener)
	if err != nil {
		t.Fatal(err)
	}
	r.lis = lis
	if r.public {
		r.listener.Address = netip.MustParseAddrPort("192.0.2.1:25")
		if err := lis.Change(r.listener); err != nil {
			t.Fatal(err)
		}
	}
	var storeConfig embedded.Config
	storeConfig.SetDefaults()
	r.store = embedded.New(storeConfig, nil)
	var store ratelimit.Store = r.store
	if r.down || r.hang {
		store = downStore{store, r.hang}
	}
	l := &testLog{t: t}
	t.Cleanup(l.end)
	log := cmp.Or(r.log, slog.New(slog.NewTextHandler(l, nil)))
	r.server = New(Options{
		Snapshot: r.snapshot(), Limiter: r.limiterOf(store), Hooks: r.hooks,
		Observers: []mail.Observer{&r.events}, SpoolDir: dir, Log: log, RateGrace: r.grace, Halves: r.world.memory(t),
	})
	if r.tune != nil {
		r.tune(r.server)
	}
	if route := r.server.snapshot().Routes["main"]; r.met {
		<-route.Upstream.Meet(route.Via)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.served = make(chan error, 1)
	go func() { r.served <- r.server.Serve(ctx, lis) }()
	r.addr, r.cancel = lis.Addr().String(), cancel
	t.Cleanup(r.stop)
	return r.addr
}

func (r *rig) upOptions() (o smtptest.Options) {
	if r.provider != "" {
		o = smtptest.Providers[r.provider]()
	}
	if r.offer != nil {
		o.Offer = r.offer
	}
	o.Faults = r.faults
	return o
}

func (r *rig) limiterOf(store ratelimit.Store) *ratelimit.Limiter {
	return ratelimit.NewLimiter(store, r.rules(), nil)
}

func (r *rig) rules() *ratelimit.Limits {
	rules, err := ratelimit.Compile(strangers.Expand(r.limits), ratelimit.Env{InternalDomains: r.internal, Parse: parseAddress})
	if err != nil {
		r.t.Fatal(err)
	}
	return rules
}

// stop ends the server and everything that it started.
func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	snap := r.server.snapshot()
	r.server.Shutdown(ctx)
	r.cancel()
	<-r.served
	snap.Routes["main"].Upstream.Close(ctx)
	r.cancel = nil
}

// files writes the certificates that the listener's mode asks for.
func (r *rig) files(dir string) {
	ca, err := smtptest.NewCA()
	if err != nil {
		r.t.Fatal(err)
	}
	r.ca = ca
	if r.listener.TLS == smtpd.TLSNone {
		return
	}
	r.listener.Certificate, r.listener.Key = ca.WritePair(r.t, dir, "relay", smtptest.Cert{Names: []string{"relay.test", "127.0.0.1"}})
	r.listener.ClientCA = ca.WriteFile(r.t, dir)
}

func (r *rig) clientTLS(cert bool) *tls.Config {
	c := &tls.Config{RootCAs: r.ca.Pool(), ServerName: "relay.test"}
	if cert {
		pair, err := r.ca.Issue(smtptest.Cert{Names: []string{"mta.example.org"}, Client: true})
		if err != nil {
			r.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func (r *rig) snapshot() *Snapshot {
	t := r.t
	t.Helper()
	rules := policy.Compile(policy.Config{
		Clients: r.clients, Streams: map[string]policy.StreamConfig{"main": r.stream}, InternalDomains: r.internal,
	}, parseAddress, func(path, text string) { t.Errorf("%s: %s", path, text) }, func(string, string) {})
	if rules == nil {
		t.FailNow()
	}
	var master mail.Address
	if r.master != "" {
		var err error
		if master, err = parseAddress(r.master); err != nil {
			t.Fatal(err)
		}
	}
	signers, err := dkimsign.Load(r.dkim)
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.New(map[string]auth.UserConfig{"shop": r.user}, r.auth, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.noUsers {
		users = nil
	}
	up, err := upstream.New("up", r.upConfig, upstream.Options{Hostname: "relay.test"})
	if err != nil {
		t.Fatal(err)
	}
	route := &Route{Name: "up", Upstream: up, Via: upstream.Route{SourceIPs: r.sources}, Sign: dkimsign.NewWay(r.way), MaxRecipients: r.upMost}
	if r.world != nil {
		route.Direct = r.world.up
	}
	return &Snapshot{
		Settings: smtpd.Settings{
			Hostname: "relay.test", Rules: rules, Auth: users, Message: r.message, Timeouts: r.timeouts, Session: r.session,
		},
		Postmaster: master, Signers: signers, SuspendedMay: &r.may, HelpURL: r.help,
		Routes: map[string]*Route{"main": route},
	}
}

// shopHash is of the password "secret", and cheap to check.
const shopHash = "$2a$04$gr63VGgi.HnE4cBaYEvAveGfmelCmJbz9gIOlJXoV1OoQiOtwRZ.K"
