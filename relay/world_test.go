package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/freeport"
	"postern/internal/smtptest"
	"postern/mx/provider"
	"postern/relay/halves"
	"postern/upstream"
	"postern/upstream/direct"
)

// world is the receivers of several domains, each on an address of its own in
// 127.0.0.0/8, behind an upstream with mx = true.
type world struct {
	faults    map[string][]smtptest.Fault // by domain
	order     []string
	receivers map[string]*smtptest.Server
	zone      *dnstest.Zone
	most      int // max_domains; 0: as by default
	groups    map[string]provider.Config
	up        *direct.Upstream
	asked     []string // domains whose groups were asked for before the last reload
	forgetful bool     // nothing can be remembered
	unsynced  bool     // what is to be remembered can be written, and not synced
	halves    *halves.Memory
}

func (r *rig) worldOf() *world {
	if r.world == nil {
		r.world = &world{faults: map[string][]smtptest.Fault{}, receivers: map[string]*smtptest.Server{}, groups: map[string]provider.Config{}}
	}
	return r.world
}

// mx takes "DOMAIN" or "DOMAIN FAULT" of a dialog file: a receiver for the domain, and
// what it does, as rig.fault has it.
func (r *rig) mx(at, line string) {
	w := r.worldOf()
	domain, fault, faulty := strings.Cut(line, " ")
	if _, ok := w.faults[domain]; !ok {
		w.order = append(w.order, domain)
		w.faults[domain] = nil
	}
	if faulty {
		own := r.faults
		r.faults = nil
		r.fault(at, fault)
		w.faults[domain], r.faults = append(w.faults[domain], r.faults...), own
	}
}

// start starts the receivers and the upstream that finds them.
func (w *world) start(t testing.TB) {
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	w.zone = dnstest.StartZone(t.(*testing.T))
	for i, domain := range w.order {
		ip := fmt.Sprintf("127.0.3.%d", i+1)
		w.receivers[domain] = smtptest.Start(t, smtptest.Options{Addr: net.JoinHostPort(ip, strconv.Itoa(port)), Faults: w.faults[domain]})
		w.zone.Add(fmt.Sprintf("%s. 60 MX 10 mx.%s.", domain, domain), fmt.Sprintf("mx.%s. 60 A %s", domain, ip))
	}
	var cfg upstream.Config
	cfg.Config.SetDefaults()
	cfg.SetDefaults()
	cfg.MX, cfg.MTASTS, cfg.Port, cfg.Resolvers = true, false, port, []string{w.zone.Address}
	cfg.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg.TLS, cfg.MaxConnections, cfg.MessagesPerConnection, cfg.IdleTimeout, cfg.ConnectTimeout = upstream.EncryptOpportunistic, 10, 20, 10*time.Second, 10*time.Second
	if w.most > 0 {
		cfg.MaxDomains = w.most
	}
	groups, err := provider.New(w.groups)
	if err != nil {
		t.Fatal(err)
	}
	open := func(after *direct.Upstream) *direct.Upstream {
		up, err := direct.New("world", cfg, direct.Options{Hostname: "relay.test", DNSTimeout: time.Second, Groups: groups, After: after})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			up.Close(ctx)
		})
		return up
	}
	before := open(nil)
	for _, domain := range w.asked {
		before.Provider(t.Context(), domain)
	}
	w.up = open(before)
}

// unsynced is a file that is synced once, when it is opened, and never again.
type unsynced struct {
	*os.File
	opened bool
}

func (u *unsynced) Sync() error {
	if u.opened {
		return syscall.EIO
	}
	u.opened = true
	return u.File.Sync()
}

// memory is what remembers halves; nil without a world.
func (w *world) memory(t testing.TB) *halves.Memory {
	if w == nil || w.halves != nil {
		return nil
	}
	file := filepath.Join(t.TempDir(), "halves.state")
	if w.forgetful {
		file = filepath.Join(t.TempDir(), "none", "halves.state")
	}
	o := halves.Options{File: file}
	if w.unsynced {
		o.Open = func(name string) (halves.File, error) {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			return &unsynced{File: f}, err
		}
	}
	w.halves = halves.Open(o)
	w.halves.Want(t.Context())
	return w.halves
}

// expectTaken takes "DOMAIN N" of a dialog file: how many messages its receiver has.
func (d *dialog) expectTaken(rest string) {
	domain, n, _ := strings.Cut(rest, " ")
	s := d.rig.world.receivers[domain]
	if s == nil {
		d.fatalf("no receiver of %q", domain)
	}
	if got := fmt.Sprint(len(s.Messages())); got != n {
		d.fatalf("%s has %s messages, want %s", domain, got, n)
	}
}
