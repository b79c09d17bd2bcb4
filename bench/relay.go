package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postern/dkimsign"
	"postern/internal/freeport"
	"postern/internal/smtptest"
)

// selector of the keys; that of Ed25519 has an "e" before it.
const selector = "bench"

// setup is how the relay is configured for a row.
type setup struct {
	keys    string // "", "rsa" or "rsa+ed25519"
	redis   string // addresses, separated by commas; "": embedded limits
	prefix  string // of the keys in Redis; "": one of this relay's own
	windows int    // of limits per sender
	limits  int    // limit tables beyond the first, of one window each
	journal bool
	secure  bool // TLS on both sides
	quiet   bool // no log line for each transaction
	// chunking sends by BDAT, which the sink offers only then: the floor would save
	// a round trip that the relay does not save by default.
	chunking bool
	scanners *scanners  // nil: none
	world    *receivers // non-nil: mail goes to the exchangers of its domains
	lmtp     bool       // the listener speaks it
	admin    bool       // with the port of [admin], and the console on it
	events   int        // that the journal holds at the start
}

// lab is what all rows share.
type lab struct {
	dir   string // for everything that is written
	redis string // address
	ca    *smtptest.CA
	proc  *process // of Redis
}

// newLab starts Redis and makes keys and certificates in dir.
func newLab(ctx context.Context, dir string) (*lab, error) {
	l := &lab{dir: dir}
	for name, kind := range map[string]dkimsign.KeyType{"rsa.pem": dkimsign.RSA, "ed25519.pem": dkimsign.Ed25519} {
		key, err := dkimsign.NewKey(kind, 2048)
		if err != nil {
			return nil, err
		}
		if err := dkimsign.WriteKey(filepath.Join(dir, name), key); err != nil {
			return nil, err
		}
	}
	var err error
	if l.ca, err = smtptest.NewCA(); err != nil {
		return nil, err
	}
	t := &panicTB{}
	l.ca.WritePair(t, dir, "relay", smtptest.Cert{Names: []string{"127.0.0.1"}})
	l.ca.WriteFile(t, dir)
	l.proc, l.redis, err = startRedis(ctx, dir)
	return l, err
}

func (l *lab) close() { l.proc.stop() }

// panicTB lets test support be used where there is no test.
type panicTB struct{}

func (*panicTB) Helper()                           {}
func (*panicTB) Cleanup(func())                    {}
func (*panicTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// certificate is one for the sink.
func (l *lab) certificate() (*tls.Config, error) {
	c, err := l.ca.Issue(smtptest.Cert{Names: []string{"127.0.0.1"}})
	return &tls.Config{Certificates: []tls.Certificate{c}}, err
}

// subject is a process under test.
type subject struct {
	*process
	addr string
	took time.Duration // to the first 220
}

// startFloor runs the floor as a process of its own.
func (l *lab) startFloor(ctx context.Context, s setup, upstream string) (*subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	redis, key := "-", "-"
	if s.redis != "" {
		redis = s.redis
	}
	if s.keys != "" {
		key = filepath.Join(l.dir, "rsa.pem")
	}
	args := []string{"floor", upstream, redis, key}
	if s.scanners != nil {
		args = append(args, s.scanners.clamd, s.scanners.rspamd)
	}
	p, err := start(ctx, l.dir, "floor.log", self, args...)
	if err != nil {
		return nil, err
	}
	for range 5000 {
		text, _ := os.ReadFile(p.log)
		if addr, _, ok := strings.Cut(string(text), "\n"); ok {
			return &subject{process: p, addr: addr}, nil
		}
		time.Sleep(time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("floor is not ready: %s", p.lastLines())
}

// startRelay runs the real relay.
func (l *lab) startRelay(ctx context.Context, binary string, s setup, upstream string) (*subject, error) {
	port, err := freeport.Port()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	dir, err := os.MkdirTemp(l.dir, "relay-")
	if err != nil {
		return nil, err
	}
	if s.events > 0 {
		if err := writeJournal(filepath.Join(dir, "state", "journal.jsonl"), s.events); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(dir, "relay.toml")
	if err := os.WriteFile(file, []byte(l.config(s, addr, upstream)), 0o600); err != nil {
		return nil, err
	}
	p, err := start(ctx, dir, "relay.log", binary, "serve", "-config", file)
	if err != nil {
		return nil, err
	}
	greeted := func(s *stream) error {
		_, err := s.line()
		return err
	}
	if s.secure {
		greeted = func(*stream) error { return nil }
	}
	if err := p.await(addr, 20*time.Second, greeted); err != nil {
		p.stop()
		return nil, err
	}
	return &subject{process: p, addr: addr, took: time.Since(p.born)}, nil
}

// config is the relay's configuration file.
func (l *lab) config(s setup, addr, upstream string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("hostname = \"relay.%s\"\nstate_dir = \"state\"\n", domain)
	p("[listener.main]\naddress = %q\nmax_connections = 10000\nmax_connections_per_ip = 10000", addr)
	if s.secure {
		p("tls = \"implicit\"\ncertificate = %q\nkey = %q", filepath.Join(l.dir, "relay.crt"), filepath.Join(l.dir, "relay.key"))
	}
	if s.lmtp {
		p("protocol = \"lmtp\"")
	}
	p("\n[client.bench]\nnetworks = [\"127.0.0.1/32\"]\nsenders = [\"@%s\"]\nstream = \"main\"\n", domain)
	p("[stream.main]\nupstream = \"sink\"\n\n[upstream.sink]")
	if s.world == nil {
		p("hosts = [%q]", upstream)
	}
	if s.chunking {
		p("chunking = true")
	}
	switch {
	case s.world != nil:
		p("mx = true\nresolvers = [%q]\nport = %d\nallow_networks = [\"127.0.0.0/8\"]", s.world.dns, s.world.port)
	case s.secure:
		p("tls = \"verified\"\nca = %q", filepath.Join(l.dir, "ca.pem"))
	default:
		p("tls = \"off\"")
	}
	l.limits(s, p)
	var keys []string
	for kind := range strings.SplitSeq(s.keys, "+") {
		switch kind {
		case "rsa":
			keys = append(keys, fmt.Sprintf("{ selector = %q, file = %q }", selector, filepath.Join(l.dir, "rsa.pem")))
		case "ed25519":
			keys = append(keys, fmt.Sprintf("{ selector = %q, file = %q }", "e"+selector, filepath.Join(l.dir, "ed25519.pem")))
		}
	}
	if keys != nil {
		p("\n[dkim.%q]\nkeys = [%s]", domain, strings.Join(keys, ", "))
	}
	if s.redis != "" {
		prefix := s.prefix
		if prefix == "" {
			prefix = fmt.Sprintf("bench%d", time.Now().UnixNano())
		}
		p("\n[redis]\naddresses = [%s]\nprefix = %q", quoted(strings.Split(s.redis, ",")), prefix)
	}
	if s.quiet {
		p("\n[log]\nlevel = \"warn\"")
	}
	if s.journal {
		p("\n[journal]\nfile = \"state/journal.jsonl\"")
	}
	if s.admin {
		port, _ := freeport.Port() // without one the relay does not start, and says so
		p("\n[admin]\naddress = \"127.0.0.1:%d\"", port)
	}
	if s.scanners != nil {
		p("\n[scanner.av]\nclamd = %q\nconcurrency = 24\n[scanner.spam]\nrspamd = %q\nconcurrency = 24", "unix:"+s.scanners.clamd, "unix:"+s.scanners.rspamd)
	}
	// Senders that begin at full speed are what the watch is there to stop; in
	// shadow it does all its work but lets them go on.
	p("\n[outlier]\nmode = \"shadow\"")
	return b.String()
}

// limits writes the limit tables. None of them is ever reached.
func (l *lab) limits(s setup, p func(format string, args ...any)) {
	windows := []string{"1000000/1m", "10000000/1h", "100000000/24h"}
	if s.windows > 0 {
		p("\n[limit.sender]\nper = \"sender\"\nmessages = [%s]", quoted(windows[:min(s.windows, len(windows))]))
	}
	pers := []string{"client", "sender_domain", "stream", "client_ip", "recipient_domain", "all", "upstream"}
	for i := range s.limits {
		p("\n[limit.n%d]\nper = %q\nmessages = [\"100000000/1h\"]", i, pers[i%len(pers)])
	}
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return strings.Join(q, ", ")
}
