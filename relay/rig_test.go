package relay

import (
	"cmp"
	"context"
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/dkimsign"
	"postern/internal/auth"
	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx/provider"
	"postern/policy"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/relay/smtpd"
	"postern/upstream"
)

// rig is a server with an upstream of smtptest behind it, set up by lines of a
// dialog file or by a test. Without settings 127.0.0.1 is the client corporate,
// which owns @example.org; the user shop, whose password is secret, owns
// orders@shop.example.
type rig struct {
	t        testing.TB
	listener smtpd.ListenerConfig
	timeouts smtpd.Timeouts
	message  smtpd.MessageConfig
	session  smtpd.SessionConfig
	auth     auth.Config
	clients  map[string]policy.ClientConfig
	stream   policy.StreamConfig
	limits   map[string]ratelimit.RuleConfig
	upConfig upstream.Config
	dkim     map[string]dkimsign.DomainConfig
	way      dkimsign.WayConfig
	provider string // scripted, of smtptest
	upMost   int    // recipients of a message
	met      bool   // the upstream has been spoken with at start
	internal []string
	master   string
	offer    []string
	faults   []smtptest.Fault
	hooks    Hooks
	sources  []netip.Addr
	public   bool // the listener counts as one that the network reaches
	noUsers  bool
	user     auth.UserConfig // shop
	// suspension is the answer of the default Suspended and Admit; most is how many
	// recipients Admit lets pass, 0 for any.
	suspension atomic.Pointer[Suspension]
	may        mail.Patterns // suspended_may
	help       string        // help_url
	most       atomic.Int64
	log        *slog.Logger  // nil: the test's own
	grace      time.Duration // before min_rate holds; 0: the usual one
	down       bool          // the limit store
	hang       bool          // likewise
	tune       func(*Server) // before it serves
	world      *world        // the recipients' own exchangers; nil: up alone

	ca     *smtptest.CA
	up     *smtptest.Server
	store  *embedded.Store
	server *Server
	lis    *smtpd.Listener
	addr   string
	events events
	cancel context.CancelFunc
	served chan error
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, clients: map[string]policy.ClientConfig{}, limits: map[string]ratelimit.RuleConfig{}, dkim: map[string]dkimsign.DomainConfig{}}
	r.listener.SetDefaults()
	r.listener.Address = netip.MustParseAddrPort("127.0.0.1:0")
	r.timeouts.SetDefaults()
	r.message.SetDefaults()
	r.session.SetDefaults()
	r.auth.SetDefaults()
	r.auth.Delay, r.auth.MaxDelay = 0, 0
	r.upConfig.SetDefaults()
	r.upConfig.TLS = upstream.EncryptOff
	r.stream.SetDefaults()
	var c policy.ClientConfig
	c.SetDefaults()
	c.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	c.Senders = []string{"@example.org"}
	c.Stream = "main"
	r.clients["corporate"] = c
	c.SetDefaults()
	c.Users = []string{"shop"}
	c.Senders = []string{"orders@shop.example"}
	c.Stream = "main"
	r.clients["shop"] = c
	r.user.Password = shopHash
	r.hooks.Suspended, r.hooks.Admit = r.suspended, r.admit
	return r
}

// suspended answers as the watch does: senders are asked for at MAIL.
func (r *rig) suspended(_, user string, from mail.Identity) Suspension {
	s := r.suspension.Load()
	if s == nil || s.Scope == "sender" && from == "" || s.Scope == "user" && user == "" || s.Scope == "submitter" || s.Unnamed && user != "" {
		return Suspension{}
	}
	return *s
}

func (r *rig) admit(id, client, user, submitter, _ string, from mail.Identity, recipients int) Suspension {
	if s := r.suspension.Load(); s != nil && s.Scope == "submitter" && submitter == client+"/"+s.Name {
		return Suspension{Scope: s.Scope, Name: "submitter " + s.Name, Left: s.Left}
	}
	if most := r.most.Load(); most > 0 && int64(recipients) > most {
		return Suspension{Scope: "sender", Name: "<" + string(from) + ">", Left: time.Minute, Pace: true}
	}
	return r.suspended(client, mail.Party(user, submitter), from)
}

// reload puts other settings in force.
func (r *rig) reload(at string, lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		r.set(at, line)
	}
	old, next := r.server.snapshot(), r.snapshot()
	next.Routes["main"].Upstream.Close(context.Background())
	next.Routes = old.Routes
	r.server.Reload(next)
	r.server.limiter.SetLimits(r.rules())
	if err := r.lis.Change(r.listener); err != nil {
		r.t.Fatalf("%s: %v", at, err)
	}
}

// set takes "TABLE.KEY VALUE" of a dialog file.
func (r *rig) set(at, line string) {
	path, value, _ := strings.Cut(line, " ")
	table, key, _ := strings.Cut(path, ".")
	var err error
	switch table {
	case "listener":
		err = assign(&r.listener, key, value)
	case "timeouts":
		err = assign(&r.timeouts, key, value)
	case "message":
		err = assign(&r.message, key, value)
	case "session":
		err = assign(&r.session, key, value)
	case "auth":
		err = assign(&r.auth, key, value)
	case "stream":
		err = assign(&r.stream, key, value)
	case "upstream":
		err = assign(&r.upConfig, key, value)
	case "client":
		name, key, _ := strings.Cut(key, ".")
		c := r.clients[name]
		err = assign(&c, key, value)
		r.clients[name] = c
	case "limit":
		name, key, _ := strings.Cut(key, ".")
		c, ok := r.limits[name]
		if !ok {
			c.SetDefaults()
		}
		if key == "reports" { // as config sets it for null_sender_limit
			c.Reports = value == "true"
		} else {
			err = assign(&c, key, value)
		}
		r.limits[name] = c
	case "sign":
		err = assign(&r.way, key, value)
	case "route": // max_recipients; met: the upstream has been spoken with
		if key == "met" {
			r.met = value == "true"
		} else {
			r.upMost, err = strconv.Atoi(value)
		}
	case "provider":
		r.provider = key
	case "halves": // none: nothing can be remembered; unsynced: the disk fails later
		r.worldOf().forgetful, r.worldOf().unsynced = value == "none", value == "unsynced"
	case "group": // group.NAME PATTERN, of MX hosts
		w := r.worldOf()
		w.groups[key] = provider.Config{MX: strings.Fields(value)}
	case "domains": // max_domains
		r.worldOf().most, err = strconv.Atoi(value)
	case "dkim": // as dkim.SELECTORS, s1 where none is named: DOMAIN [optional]
		domain, optional, _ := strings.Cut(value, " ")
		r.sign(domain, strings.Split(cmp.Or(key, "s1"), ",")...)
		c := r.dkim[domain]
		c.Require = optional == ""
		r.dkim[domain] = c
	case "internal_domains":
		r.internal = strings.Split(value, ",")
	case "postmaster":
		r.master = value
	case "suspended_may":
		for _, text := range strings.Split(value, ",") {
			p, parsed := mail.ParsePattern(text, nil)
			if err = parsed; err == nil {
				r.may.Add(p)
			}
		}
	case "help_url":
		r.help = value
	case "offer":
		r.offer = strings.FieldsFunc(value, func(c rune) bool { return c == ',' })
	case "source_ip":
		r.sources = []netip.Addr{netip.MustParseAddr(value)}
	case "public":
		r.public = value == "true"
	case "users":
		r.noUsers = value == "none"
	case "user":
		r.user.Disabled = value == "disabled"
	case "store":
		r.down = value == "down"
	case "hook":
		r.hook(key, strings.Fields(value))
	default:
		err = fmt.Errorf("unknown setting %q", path)
	}
	if err != nil {
		r.t.Fatalf("%s: %v", at, err)
	}
}

// hook takes the answer of a judge outside of the session.
func (r *rig) hook(name string, words []string) {
	switch name {
	case "suspended", "pace": // SCOPE NAME DURATION
		left, _ := time.ParseDuration(words[2])
		r.suspension.Store(&Suspension{Scope: words[0], Name: words[1], Left: left, Pace: name == "pace"})
	case "unnamed": // SENDER DURATION; it holds while nobody knows who submitted the mail
		left, _ := time.ParseDuration(words[1])
		r.suspension.Store(&Suspension{Scope: "sender", Name: words[0], Left: left, Unnamed: true})
	case "most": // RECIPIENTS
		n, _ := strconv.ParseInt(words[0], 10, 64)
		r.most.Store(n)
	case "backoff": // DOMAIN DURATION
		left, _ := time.ParseDuration(words[1])
		r.hooks.Backoff = func(_, _ string, _ mail.Identity, domain string) (time.Duration, bool) {
			if domain == words[0] {
				return left, false
			}
			return 0, false
		}
	case "groups": // GROUP DURATION
		left, _ := time.ParseDuration(words[1])
		r.hooks.GroupsWait = func(string) bool { return true }
		r.hooks.GroupBackoff = func(_, _, group string) (time.Duration, bool) {
			if group == words[0] {
				return left, false
			}
			return 0, false
		}
	case "strangers": // RECIPIENT...; the client is watched
		r.hooks.Past = func(_, _ string, _ mail.Identity) (bool, bool) { return true, false }
		r.hooks.Stranger = func(_ string, _ mail.Identity, to mail.RecipientID) (bool, bool) {
			return slices.Contains(words, string(to)), false
		}
	case "brake": // RECIPIENT DURATION
		left, _ := time.ParseDuration(words[1])
		r.hooks.Brake = func(_, _, _ string, _ mail.Identity, to mail.RecipientID) (time.Duration, string) {
			if string(to) == words[0] {
				return left, "sender"
			}
			return 0, ""
		}
	case "brake_message": // SUBMITTER ("-": none) RECIPIENT DURATION
		left, _ := time.ParseDuration(words[2])
		r.hooks.BrakeMessage = func(_, _, submitter string, _ mail.Identity, to []mail.RecipientID) time.Duration {
			if submitter == strings.Trim(words[0], "-") && slices.Contains(to, mail.RecipientID(words[1])) {
				return left
			}
			return 0
		}
	case "trial": // DOMAIN
		r.hooks.Backoff = func(_, _ string, _ mail.Identity, domain string) (time.Duration, bool) { return 0, domain == words[0] }
	case "suppressed": // ADDRESS
		r.hooks.Suppressed = func(_ string, to mail.RecipientID) bool { return string(to) == words[0] }
	case "domain": // DOMAIN nullmx|missing
		r.hooks.Domain = func(_ context.Context, domain string) *DomainProblem {
			if domain == words[0] {
				return &DomainProblem{NullMX: words[1] == "nullmx"}
			}
			return nil
		}
	case "once": // of what has been claimed and not given back
		var mu sync.Mutex
		had := map[string]bool{}
		r.hooks.Once = func(_ context.Context, author string, recipient mail.RecipientID, _ time.Duration) (func(), error) {
			if len(words) > 0 && words[0] == "down" {
				return nil, errors.New("store is down")
			}
			to := author + " " + string(recipient)
			mu.Lock()
			defer mu.Unlock()
			if had[to] {
				return nil, nil
			}
			had[to] = true
			return func() {
				mu.Lock()
				defer mu.Unlock()
				delete(had, to)
			}, nil
		}
	default:
		r.t.Fatalf("unknown hook %q", name)
	}
}

// downStore is a limit store that does not answer.
type downStore struct {
	ratelimit.Store
	hangs bool // until the deadline of its context, as a store keeps to it
}

func (d downStore) Take(ctx context.Context, _ *ratelimit.Batch) (ratelimit.Result, error) {
	if at, ok := ctx.Deadline(); d.hangs && ok {
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(at)):
		}
	}
	return ratelimit.Result{}, errStoreDown
}

var errStoreDown = errors.New("store is down")

// sign makes keys for a domain; one, s1, where no selector is given.
func (r *rig) sign(domain string, selectors ...string) {
	if len(selectors) == 0 {
		selectors = []string{"s1"}
	}
	var c dkimsign.DomainConfig
	c.SetDefaults()
	c.Generate = true
	for _, s := range selectors {
		c.Keys = append(c.Keys, dkimsign.KeyConfig{Selector: s, File: filepath.Join(r.t.TempDir(), s+".pem"), Type: "ed25519"})
	}
	r.dkim[domain] = c
}

// assign sets the field with a toml key from the text of a dialog file; lists
// are parted by commas.
func assign(table any, key, value string) error {
	v := reflect.ValueOf(table).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Tag.Get("toml") == key {
			return assignValue(v.FieldByIndex(f.Index), value)
		}
	}
	return fmt.Errorf("no key %q in %T", key, table)
}

func assignValue(v reflect.Value, value string) (err error) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(value))
	}
	switch v.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(value)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Bool:
		v.SetBool(value == "true")
	case reflect.Int, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		v.SetInt(n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 2))
		for _, part := range strings.Split(value, ",") {
			if part == "" {
				continue
			}
			e := reflect.New(v.Type().Elem()).Elem()
			if err := assignValue(e, part); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
		}
	default:
		err = fmt.Errorf("cannot set a %s", v.Type())
	}
	return err
}

// fault takes "STAGE [to=ADDRESS] [conn=N] [after=N] [times=N] [delay=TIME]
// WHAT": WHAT is a reply, or drop, dropmid, dropafter, rst.
func (r *rig) fault(at, line string) {
	word, rest, _ := strings.Cut(line, " ")
	f := smtptest.Fault{Stage: smtptest.Stage(word)}
	for {
		word, after, _ := strings.Cut(rest, " ")
		key, value, ok := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch {
		case !ok:
			f.Reply = strings.ReplaceAll(rest, `\n`, "\n")
			switch rest {
			case "drop":
				f.Reply, f.Drop = "", smtptest.DropBefore
			case "dropmid":
				f.Reply, f.Drop = "", smtptest.DropMid
			case "dropafter":
				f.Reply, f.Drop = "", smtptest.DropAfter
			case "rst":
				f.Reply, f.Drop, f.RST = "", smtptest.DropBefore, true
			}
			r.faults = append(r.faults, f)
			return
		case key == "to":
			f.To = value
		case key == "conn":
			f.Conn = n
		case key == "after":
			f.After = n
		case key == "times":
			f.Times = n
		case key == "delay":
			f.Delay, _ = time.ParseDuration(value)
		default:
			r.t.Fatalf("%s: unknown %q", at, word)
		}
		rest = after
	}
}
