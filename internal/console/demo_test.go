package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/audit"
	"postern/internal/console/peers"
	"postern/internal/statefile"
	"postern/internal/tally"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
	"postern/reputation/dnsbl"
	"postern/upstream/warmup"
)

// demo is a relay that never was, with something of everything that a page shows.
type demo struct {
	*Console
	server  *httptest.Server
	clock   *time.Time
	others  *peers.Peers
	journal string

	mu         sync.Mutex
	state      RelayState
	held       []outlier.State
	list       []reputation.Listing
	groups     []api.Provider
	lines      []audit.Line
	use        []ratelimit.Usage
	allowances []ratelimit.Allowance
	events     []*mail.Event // newest first
	acts       []string
	who        map[string]access.Caller // by token
	gone       map[string]bool
}

var demoNow = time.Date(2026, 11, 26, 14, 24, 0, 0, time.UTC) // a Thursday

// newDemo serves the console of a demo; tests change what it holds.
func newDemo(t testing.TB) *demo {
	t.Helper()
	now := demoNow
	d := &demo{clock: &now, journal: filepath.Join(t.TempDir(), "journal.jsonl"), who: map[string]access.Caller{
		"pst_view": {Name: "viewer", Role: access.View, Token: "view"}, "pst_operate": {Name: "olga", Role: access.Operate, Token: "operate"},
		"pst_shop": {Name: "shop", Role: access.Owner, Client: "shop", Token: "shop"},
	}, gone: map[string]bool{}}
	d.others = peers.New(func() time.Time { return *d.clock })
	d.fill()
	d.write(t)
	counts := demoTally(&now)
	var err error
	d.Console, err = New(Options{
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return *d.clock }, State: statefile.New(filepath.Join(t.TempDir(), "console.json"), 1<<20),
		API: d.newAPI(), Peers: d.others,
		Token: func(_ *http.Request, token string) (access.Caller, *access.Refusal) {
			if who, ok := d.who[token]; ok {
				return who, nil
			}
			return access.Caller{}, &access.Refusal{Status: http.StatusUnauthorized, Detail: "unknown"}
		},
		Still: func(who access.Caller) (access.Caller, bool) {
			d.mu.Lock()
			defer d.mu.Unlock()
			return who, !d.gone[who.Token]
		},
		Identify: func(r *http.Request) (access.Caller, *access.Refusal) {
			if user := r.Header.Get(access.ForwardedUser); user != "" {
				return access.Caller{Name: user, Role: access.View, Door: access.Proxy}, nil
			}
			return access.Caller{}, &access.Refusal{Status: http.StatusUnauthorized}
		},
		Data: Data{
			State:   func() RelayState { d.mu.Lock(); defer d.mu.Unlock(); return d.state },
			Budgets: func(context.Context, int) ([]ratelimit.Usage, error) { return d.use, nil },
			History: d.history,
			Senders: func(_ context.Context, stream, client string, _ tally.Hour) ([]tally.Sender, bool, error) {
				list := []tally.Sender{{Name: "crm@example.org", Client: "postfix", Count: tally.Count{Relayed: 1804, Deferred: 31, Refused: 22}}, {Name: "anna.lindqvist@example.org", Client: "postfix", Count: tally.Count{Relayed: 41}},
					{Name: "bob@example.org", Client: "submission", User: "bob", Count: tally.Count{Relayed: 17, Deferred: 2}}, {Name: "billing@shop.example.org", Client: "shop", Count: tally.Count{Relayed: 12}}}
				if client != "" {
					list = list[3:]
				}
				return list, true, nil
			},
			UsualHour: func(s *tally.Sender) int { return 4 * len(s.User) },
			Report:    counts.Report,
			Ways:      counts.Ways,
			Now: func(_ context.Context, e *mail.Event) ([]string, error) {
				if e.Outcome == mail.Relayed {
					return nil, nil
				}
				return []string{"limit sender is full for sender=" + e.From + ": 200 of 200 recipients in 1h, next fits in 12m0s", "the recipient " + e.To[0].Address + " is suppressed"}, nil
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	d.Console.Serve(mux)
	d.server = httptest.NewServer(mux)
	t.Cleanup(d.server.Close)
	return d
}

func (d *demo) history(scope, name string) []int {
	if scope == "" {
		return nil
	}
	r := rand.New(rand.NewPCG(uint64(len(name)), 7))
	out := make([]int, 14)
	for i := range out {
		out[i] = r.IntN(40)
	}
	out[13] = 180
	return out
}

// newAPI answers from what the demo holds; events are searched in its journal.
func (d *demo) newAPI() *api.API {
	a := api.New(api.Parts{
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return *d.clock }, Journals: func() []string { return []string{d.journal} },
		Owners: func(_, name string) []string {
			if strings.HasSuffix(name, "@shop.example.org") || name == "shop" {
				return []string{"shop"}
			}
			return []string{"postfix"}
		},
	})
	a.Suspensions = func(ctx context.Context, _ api.SuspensionsQuery) (p api.Page[outlier.State], err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range d.held {
			if id := access.Of(ctx); id.Role != access.Owner || s.Client == id.Client {
				p.Items = append(p.Items, s)
			}
		}
		return p, nil
	}
	a.Providers = func(context.Context, api.PageQuery) (api.Page[api.Provider], error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return api.Page[api.Provider]{Items: slices.Clone(d.groups)}, nil
	}
	a.Listings = func(context.Context, api.ListingsQuery) (api.Page[reputation.Listing], error) {
		return api.Page[reputation.Listing]{Items: d.list}, nil
	}
	a.Allowances = func(ctx context.Context, _ api.PageQuery) (p api.Page[ratelimit.Allowance], err error) {
		for _, r := range d.allowances {
			if a.MayReadKey(access.Of(ctx), r.Key) {
				p.Items = append(p.Items, r)
			}
		}
		return p, nil
	}
	a.Audit = func(ctx context.Context, _ api.AuditQuery) (p api.AuditPage, err error) {
		if access.Of(ctx).Role == access.View {
			return p, &api.Problem{Status: http.StatusForbidden, Detail: "role"}
		}
		return api.AuditPage{Items: d.lines}, nil
	}
	did := func(ctx context.Context, format string, args ...any) {
		d.mu.Lock()
		defer d.mu.Unlock()
		id := access.Of(ctx)
		d.acts = append(d.acts, fmt.Sprintf("%s %s %s: ", id.Name, id.Door, id.Remote)+fmt.Sprintf(format, args...))
	}
	a.Release = func(ctx context.Context, o api.Release) (r api.Done[admin.Released], err error) {
		did(ctx, "release %s learn=%v (%s)", o.Name, o.Learn, o.Reason)
		return r, nil
	}
	a.Extend = func(ctx context.Context, o api.Suspend) (r api.Done[outlier.State], err error) {
		did(ctx, "extend %s %v (%s)", o.Name, time.Duration(o.For), o.Reason)
		return r, nil
	}
	a.Undo = func(ctx context.Context, o api.Undo) (r api.Done[api.Undone], err error) {
		did(ctx, "undo %s (%s)", o.ID, o.Reason)
		r.Result = api.Undone{ID: o.ID, Verb: "release", Target: "sender crm@example.org"}
		return r, nil
	}
	a.Resume = func(ctx context.Context, o api.Resume) (r api.Done[api.Asked], err error) {
		did(ctx, "resume %s (%s)", o.Stream, o.Reason)
		return r, nil
	}
	a.Allow = func(ctx context.Context, o api.Allow) (r api.Done[ratelimit.Allowance], err error) {
		did(ctx, "allow %s %s %d %s %v until %s (%s)", o.Limit, o.Key, o.Add, o.Unit, time.Duration(o.Window), o.Until.Format(time.DateTime), o.Reason)
		r.Result.Until = o.Until
		return r, nil
	}
	return a
}

// write makes the journal of the demo's events.
func (d *demo) write(t testing.TB) {
	t.Helper()
	f, err := os.Create(d.journal)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, e := range slices.Backward(d.events) {
		if err := json.NewEncoder(f).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
}

// demoTally has counted five weeks of three streams.
func demoTally(now *time.Time) *tally.Tally {
	end := *now
	at := end.Add(-35 * 24 * time.Hour)
	t := tally.New(func() time.Time { return at })
	r := rand.New(rand.NewPCG(1, 2))
	for ; !at.After(end); at = at.Add(30 * time.Minute) {
		hour, day := float64(at.Hour()), at.Weekday()
		busy := math.Exp(-math.Pow((hour-11)/4, 2))
		if day == time.Saturday || day == time.Sunday {
			busy *= 0.15
		}
		numbers := map[string]float64{"corporate": 220*busy + 6, "transactional": 90 + 60*math.Sin(hour/24*2*math.Pi-1.6)}
		if day == time.Tuesday && hour >= 9 && hour < 12 {
			numbers["marketing"] = 2600
		}
		if ago := end.Sub(at); ago > 27*time.Hour && ago < 29*time.Hour+30*time.Minute {
			numbers["corporate"] += 900
		}
		for stream, mean := range numbers {
			e := &mail.Event{Client: "postfix", Stream: stream, Upstream: map[string]string{"marketing": "bulk", "transactional": "direct"}[stream], Outcome: mail.Relayed, Took: mail.StageTimes{UpstreamData: time.Duration(20+r.IntN(90)) * time.Millisecond}}
			if e.Upstream == "" {
				e.Upstream = "provider"
			}
			for i := range int(mean * (0.7 + 0.6*r.Float64())) {
				to := mail.RecipientEvent{Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream"}
				switch {
				case i%53 == 7:
					to = mail.RecipientEvent{Outcome: mail.Deferred, Code: 450, Status: "4.7.1", Rule: "limit sender"}
				case i%97 == 11:
					to = mail.RecipientEvent{Outcome: mail.Rejected, Code: 550, Status: "5.1.1", Rule: "upstream", Reply: "5.1.1 <b.jansen@example.net>: Recipient address rejected: User unknown in virtual mailbox table"}
				case i%131 == 17:
					to = mail.RecipientEvent{Outcome: mail.Deferred, Code: 421, Status: "4.7.28", Rule: "upstream", Reply: "4.7.28 rate limited"}
				}
				e.To = append(e.To, to)
			}
			e.ID = "06hd2k7gq1f8s0v3"
			t.Observe(e)
		}
	}
	at = end
	return t
}

// fill puts something of everything into a demo.
func (d *demo) fill() {
	now := *d.clock
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	d.state = RelayState{
		Relay: "mail.example.org", Version: "v1.4.0", Started: ago(9*24*time.Hour + 3*time.Hour), Ready: true, Connections: 14,
		Conditions: []Condition{{What: "upstream", Text: "smtp2.provider.example:587 of upstream provider is down; mail goes by its other hosts", Since: ago(26 * time.Minute)}},
		Streams:    []Stream{{Name: "corporate", Upstream: "provider"}, {Name: "marketing", Upstream: "bulk"}, {Name: "transactional", Upstream: "direct"}},
		Hosts: []Host{
			{Upstream: "bulk", Host: "relay.bulk.example:587", Up: true, LastSuccess: ago(2 * 24 * time.Hour)},
			{Upstream: "provider", Host: "smtp1.provider.example:587", Up: true, LastSuccess: ago(3 * time.Second), Connections: 4, Idle: 3, Max: 20},
			{Upstream: "provider", Host: "smtp2.provider.example:587", Since: ago(26 * time.Minute), LastSuccess: ago(27 * time.Minute), LastFailure: ago(40 * time.Second), LastError: "dial tcp 203.0.113.40:587: connect: connection refused"},
		},
	}
	group := func(name string, open, most, inUse int, pace string) api.Provider {
		return api.Provider{ProviderLane: admin.ProviderLane{Upstream: "direct", Provider: name, Sources: 1, Open: open, InUse: inUse}, MaxConnections: most, Pace: pace}
	}
	d.groups = []api.Provider{group("google", 5, 5, 4, ""), group("other", 11, 0, 2, ""), group("outlook", 2, 5, 0, ""), group("yahoo", 1, 5, 0, "60/1m")}
	d.groups[0].Waiting, d.groups[0].Refused = 3, 18
	d.groups[0].Warmups = []warmup.Row{{Source: "203.0.113.26", Step: 4, Steps: 12, Budget: 400, Sent: 316, Since: ago(26 * time.Hour), Holds: "in 22h if three of four places were used"}}
	d.groups[3].Waits = []api.ProviderWait{{Stream: "transactional", Until: now.Add(17 * time.Minute), Reply: "421 4.7.0 [TSS04] Messages from 203.0.113.26 temporarily deferred due to unexpected volume or user complaints"}}
	line := func(id string, d time.Duration, actor, verb, target, reason, result, undoes string) audit.Line {
		return audit.Line{Time: ago(d), Entry: audit.Entry{ID: id, Actor: actor, Role: "operate", Verb: verb, Target: target, Reason: reason, Result: result, Undoes: undoes}}
	}
	d.lines = []audit.Line{
		line("06hd2k7gq1f8u5", 2*time.Minute, "token olga", "undo", "sender desk@example.org", "it was the other desk", "done", "06hd2k7gq1f8u3"),
		line("06hd2k7gq1f8u5", 2*time.Minute, "token olga", "undo", "sender desk@example.org", "it was the other desk", "begun", "06hd2k7gq1f8u3"),
		line("06hd2k7gq1f8u4", 19*time.Minute, "token olga", "release", "user jansen", "called him: a mail merge, agreed with sales", "done", ""),
		line("06hd2k7gq1f8u3", 23*time.Minute, "token olga", "release", "sender desk@example.org", "password changed", "done", ""),
		line("06hd2k7gq1f8u2", 38*time.Minute, "the outlier watch", "suspend", "sender crm@example.org", "213 recipients within an hour, usually 4", "done", ""),
		line("06hd2k7gq1f8u1", 3*time.Hour, "token deploy", "reload", "the configuration", "new key for example.org", "done", ""),
		line("06hd2k7gq1f8u0", 9*time.Hour, "token olga", "allow", "client client=shop", "winter sale, agreed with the provider", "limit \"client\" has no number of messages in such a window", ""),
	}
	d.held = []outlier.State{
		{Scope: outlier.Sender, Name: "crm@example.org", Client: "postfix", Level: outlier.Suspended, Since: ago(38 * time.Minute), Until: now.Add(3*time.Hour + 22*time.Minute), Rule: outlier.RuleVolume, Score: 41.2,
			Reason: "213 recipients within an hour, of which 208 had never had mail of it; it usually has 4, and 31 in its busiest hour of 90 days"},
		{Scope: outlier.User, Name: "jansen", Client: "submission", Level: outlier.Throttled, Since: ago(12 * time.Minute), Until: now.Add(48 * time.Minute), Rule: outlier.RuleNames, Reason: "6 sender names within ten minutes; it usually sends with one"},
	}
	d.list = []reputation.Listing{{
		ID: 7, Target: dnsbl.Target{Kind: dnsbl.Addresses, Name: "203.0.113.25"}, Streams: []string{"marketing"}, Opened: ago(2*time.Hour + 5*time.Minute),
		Evidence: []reputation.Evidence{{Source: "zone zen.spamhaus.org", Text: "Listed by CSS, see https://check.spamhaus.org/query/ip/203.0.113.25"}},
		Suspects: []reputation.Suspect{{Kind: "sender", Name: "news@shop.example.org", Why: []string{"4,120 recipients on Tuesday, usually 2,600", "5.2 % of them refused as unknown, usually 0.4 %"}}},
		FixFirst: []string{"Find out where the 214 addresses that do not exist came from, and take them off the list."},
		Delist:   []string{"Ask for removal at https://check.spamhaus.org/; a listing by CSS ends by itself three days after the last spam."},
	}}
	usage := func(limit, key, window string, used, max, wait int64, top ...string) ratelimit.Usage {
		w := ratelimit.WindowUsage{Unit: ratelimit.Recipients, Window: window, Used: used, Max: max, Room: max - used, Wait: wait}
		return ratelimit.Usage{Limit: limit, Key: key, Windows: []ratelimit.WindowUsage{w}, Use: float64(used) / float64(max), Top: top}
	}
	d.use = []ratelimit.Usage{
		usage("sender", "sender=anna.lindqvist@example.org", "1h", 200, 200, 740),
		usage("sender", "sender=billing@shop.example.org", "24h", 1840, 2000, 0),
		usage("client", "client=postfix", "1h", 3920, 5000, 0, "crm@example.org 41%", "billing@shop.example.org 22%", "not seen here 3%"),
		usage("sender", "sender=desk@example.org", "1h", 31, 200, 0),
		usage("gmail", "client=shop recipient_domain=gmail.com", "1h", 310, 600, 0),
	}
	d.allowances = []ratelimit.Allowance{{Limit: "client", Key: "client=shop", Unit: ratelimit.Recipients, Window: 24 * time.Hour, Add: 5000, Until: now.Add(9 * time.Hour), Reason: "winter sale, agreed with the provider (olga)"}}
	event := func(id string, d time.Duration, client, from, to, outcome string, code int, status, rule string, class mail.Class, reply string) *mail.Event {
		return &mail.Event{
			Time: ago(d), Duration: 84 * time.Millisecond, ID: id, Client: client, ClientIP: "10.20.0.7", Listener: "mta", Helo: "mx1.example.org", TLS: "TLS 1.3", Stream: "corporate", From: from,
			Authors: []string{from}, MessageID: "<" + id + "@mx1.example.org>", To: []mail.RecipientEvent{{Address: to, Outcome: outcome, Code: code, Status: status, Rule: rule, Class: class, Reply: reply}},
			Size: 18342, Stage: mail.StageForward, Outcome: outcome, Code: code, Status: status, Rule: rule, Class: class, Upstream: "provider", Host: "smtp1.provider.example:587", HostTLS: "TLS 1.3", Reply: fmt.Sprintf("%d %s", code, reply),
			Signed: []string{"example.org/s2026"}, Limits: []mail.LimitEvent{{Limit: "sender", Key: "sender=" + from, Unit: "recipients", Window: time.Hour, Max: 200, Used: 31}},
			Took: mail.StageTimes{Limit: 120 * time.Microsecond, UpstreamRcpt: 21 * time.Millisecond, Body: 9 * time.Millisecond, Sign: 400 * time.Microsecond, UpstreamData: 51 * time.Millisecond},
		}
	}
	d.events = []*mail.Event{
		event("06hd2k7gq1f8s0v3", 4*time.Minute, "postfix", "bob@example.org", "b.jansen@example.net", mail.Rejected, 550, "5.1.1", "upstream", mail.ClassNoSuchUser, "5.1.1 <b.jansen@example.net>: Recipient address rejected: User unknown in virtual mailbox table"),
		event("06hd2k7gq1f8s0v2", 11*time.Minute, "postfix", "anna.lindqvist@example.org", "orders@example.net", mail.Deferred, 450, "4.7.1", "limit sender", "", "4.7.1 <anna.lindqvist@example.org>: sender over hourly limit, retry in 740s"),
		event("06hd2k7gq1f8s0v1", 19*time.Minute, "shop", "billing@shop.example.org", "c.moreau@example.com", mail.Relayed, 250, "2.0.0", "upstream", "", "2.0.0 Ok: queued as 4Q2ZTk1wXkz9sB"),
	}
}

// login is a client of the demo that is logged in with a token.
func (d *demo) login(t testing.TB, token string) *http.Client {
	t.Helper()
	c := d.client()
	res, err := c.PostForm(d.server.URL+"/login", url.Values{"login": {token}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther || len(c.Jar.(*jar).list) == 0 {
		t.Fatalf("login: %s", res.Status)
	}
	return c
}

func (d *demo) client() *http.Client {
	return &http.Client{Jar: &jar{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// jar keeps Secure cookies over plain HTTP, as browsers do for this machine.
type jar struct {
	http.CookieJar
	list []*http.Cookie
}

func (j *jar) SetCookies(_ *url.URL, list []*http.Cookie) { j.list = list }
func (j *jar) Cookies(*url.URL) []*http.Cookie            { return j.list }
