package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/statefile"
	"postern/mail"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// rig is a monitor with a clock, whose events are kept.
type rig struct {
	*Monitor
	clock     *dnstest.Clock
	held      *Backoff
	mu        sync.Mutex
	events    []Event
	suspended []string
	keys      map[string]identity.KeyState
	next      int // transaction
}

func newRig(t *testing.T, dir string, setup Setup) *rig {
	t.Helper()
	r := &rig{clock: dnstest.NewClock()}
	r.held = NewBackoff(r.clock.Now)
	r.open(t, dir, setup)
	return r
}

func (r *rig) open(t *testing.T, dir string, setup Setup) {
	t.Helper()
	m, err := NewMonitor(Options{
		Setup: setup, StateDir: dir, Now: r.clock.Now, Backoff: r.held,
		OnEvent: func(e Event) { r.mu.Lock(); defer r.mu.Unlock(); r.events = append(r.events, e) },
		OnKeys:  func(k map[string]identity.KeyState) { r.keys = k },
		Suspend: func(s Suspect, reason string) error {
			r.suspended = append(r.suspended, s.Kind+" "+s.Name+": "+reason)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Monitor = m
	t.Cleanup(func() { m.resolver.Load().Close() })
}

// kinds returns the kinds of events since the last call.
func (r *rig) kinds() (kinds []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		kinds = append(kinds, e.Kind)
	}
	r.events = nil
	return kinds
}

// event returns the last one of a kind.
func (r *rig) event(t *testing.T, kind string) Event {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(r.events) {
		if e.Kind == kind {
			return e
		}
	}
	t.Fatalf("no event %s in %+v", kind, r.events)
	return Event{}
}

// send counts a transaction at once.
func (r *rig) send(from, user string, rs ...Recipient) string {
	r.next++
	t := Transaction{
		Time: r.clock.Now(), ID: fmt.Sprintf("t%d", r.next), Client: "shop", User: user, Sender: mail.Identity(from), Stream: "main", Upstream: "provider",
		SourceIP: netip.MustParseAddr("192.0.2.1"), Domains: []string{"shop.example"}, Recipients: rs,
	}
	r.take(&t)
	return t.ID
}

func relayed(address string) Recipient {
	return Recipient{Address: mail.RecipientID(address), Domain: address[strings.IndexByte(address, '@')+1:], Relayed: true, Code: 250}
}

func refused(address, class, list, reply string) Recipient {
	r := relayed(address)
	r.Relayed, r.Class, r.Reply, r.Code = false, mail.Class(class), reply, 550
	about := mail.AboutUs
	if class == "no-such-user" {
		about = mail.AboutRecipient
	}
	r.Said = &mail.Evidence{At: "rcpt", About: about, Class: mail.Class(class), List: list}
	return r
}

// paused reports whether mail of a stream waits, whoever sends it where.
func (r *rig) paused(stream string) bool {
	left, trial := r.held.Left(Mail{Stream: stream, Client: "nobody", Domain: "any.example"})
	return left > 0 || trial
}

const listedReply = "550 5.7.1 Service unavailable; client [192.0.2.1] is listed at bl.example, see https://bl.example/remove?ip=192.0.2.1."

func (r *rig) refuseListed(to string) string {
	return r.send("orders@shop.example", "orders", refused(to, "listed-ip", "bl", listedReply))
}

func testSetup(change func(*Setup)) Setup {
	var s Setup
	s.Config.SetDefaults()
	s.Config.Resolvers = []string{"127.0.0.1:9"}
	s.Config.Timeout = 100 * time.Millisecond
	s.Identity = oneStream("mail.pass.example", "192.0.2.1")
	s.Identity.Streams[0].OnListing = identity.Alert
	s.Identity.Domains = []identity.DomainIdentity{{Name: "shop.example", Streams: []string{"main"}}}
	if change != nil {
		change(&s)
	}
	return s
}

// usual sends the mail of quiet weeks, and then a burst of one user.
func (r *rig) usual() {
	for day := range 20 {
		for _, who := range []string{"orders", "news", "support"} {
			for i := range 6 {
				r.send(who+"@shop.example", who, relayed(fmt.Sprintf("%s%d@customer.example", who, (day+i)%9)))
			}
		}
		r.clock.Add(24 * time.Hour)
	}
}

func (r *rig) burst(user string) (ids []string) {
	for i := range 200 {
		c := relayed(fmt.Sprintf("stranger%d@elsewhere.example", i))
		if i%7 == 0 {
			c = refused(string(c.Address), "no-such-user", "", "550 5.1.1 no such user")
		}
		ids = append(ids, r.send(user+"@shop.example", user, c))
		r.clock.Add(10 * time.Second)
	}
	return ids
}

func TestTwoRefusalsMakeAReportThatNamesTheCause(t *testing.T) {
	r := newRig(t, t.TempDir(), testSetup(nil))
	r.usual()
	burst := r.burst("news")
	r.kinds()
	r.refuseListed("a@mx.example")
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("one refusal made %v", k)
	}
	second := r.refuseListed("b@mx.example")
	if k := r.kinds(); !slices.Equal(k, []string{EventListed, EventSuspect}) {
		t.Fatalf("two refusals made %v", k)
	}
	l := r.Listings()[0]
	if l.Target.Name != "192.0.2.1" || !slices.Equal(l.Streams, []string{"main"}) || !l.Open() || l.ID != 1 {
		t.Errorf("report %+v", l)
	}
	if e := l.Evidence[0]; e.List != "bl" || !slices.Contains(e.Transactions, second) || e.Text != listedReply {
		t.Errorf("evidence %+v", e)
	}
	s := l.Suspects[0]
	if s.Name != "news@shop.example" || s.User != "news" || s.Client != "shop" || s.Recipients != 200 || s.Strangers < 195 || s.Refused != 29 {
		t.Errorf("first suspect %+v", s)
	}
	for _, id := range s.Transactions {
		if !slices.Contains(burst, id) {
			t.Errorf("sample %s is not of the burst", id)
		}
	}
	if len(s.Transactions) == 0 || len(l.Suspects) > 1 {
		t.Errorf("%d samples, suspects %+v", len(s.Transactions), l.Suspects)
	}
	if !strings.Contains(strings.Join(l.Delist, " "), "https://bl.example/remove?ip=192.0.2.1") {
		t.Errorf("de-listing steps %q", l.Delist)
	}
	if !strings.Contains(strings.Join(l.FixFirst, " "), "change the password of user news") {
		t.Errorf("what to fix first: %q", l.FixFirst)
	}
}

func TestListingByRefusalsEndsWhenMailIsTaken(t *testing.T) {
	r := newRig(t, t.TempDir(), testSetup(nil))
	r.refuseListed("a@mx.example")
	r.refuseListed("b@mx.example")
	r.kinds()
	r.send("x@shop.example", "x", relayed("c@other.example"))
	r.send("x@shop.example", "x", relayed("c@other.example"))
	r.send("x@shop.example", "x", relayed("c@mx.example"))
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("ended too early: %v", k)
	}
	r.refuseListed("d@mx.example") // begins anew
	r.send("x@shop.example", "x", relayed("c@mx.example"))
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("ended too early: %v", k)
	}
	r.send("x@shop.example", "x", relayed("c@mx.example"))
	if k := r.kinds(); !slices.Equal(k, []string{EventDelisted}) {
		t.Fatalf("taken twice, yet %v", k)
	}
	if l := r.Listings(); len(l) != 1 || l[0].Open() {
		t.Errorf("reports %+v", l)
	}
}

func TestListingByRefusalsEndsAfterADay(t *testing.T) {
	r := newRig(t, "", testSetup(nil))
	r.refuseListed("a@mx.example")
	r.clock.Add(25 * time.Hour)
	r.refuseListed("b@mx.example")
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("two refusals a day apart made %v", k)
	}
	r.refuseListed("c@mx.example")
	r.kinds()
	r.clock.Add(25 * time.Hour)
	r.expire()
	if k := r.kinds(); !slices.Equal(k, []string{EventDelisted}) {
		t.Errorf("after a day: %v", k)
	}
}

func TestListedDomainIsTheOneThatTheReplyNames(t *testing.T) {
	r := newRig(t, "", testSetup(func(s *Setup) {
		s.Identity.Domains = append(s.Identity.Domains, identity.DomainIdentity{Name: "other.example", Streams: []string{"side"}})
	}))
	for range 2 {
		r.send("a@shop.example", "", refused("x@mx.example", "listed-domain", "dbl", "550 domain mail.pass.example is listed"))
		r.send("a@shop.example", "", refused("x@mx.example", "listed-domain", "dbl", "550 your domain is listed"))
	}
	var names []string
	for _, l := range r.Listings() {
		names = append(names, l.Target.Name+" "+strings.Join(l.Streams, ","))
	}
	if !slices.Equal(names, []string{"mail.pass.example main", "shop.example main"}) {
		t.Errorf("listed: %q", names)
	}
}

func TestNoSuspectWhenNothingChanged(t *testing.T) {
	r := newRig(t, "", testSetup(nil))
	r.usual()
	r.refuseListed("a@mx.example")
	r.refuseListed("b@mx.example")
	if e := r.event(t, EventSuspect); e.Text != "no suspect" {
		t.Errorf("suspect %+v", e.Suspect)
	}
}

func TestPollAndRefusalConfirmEachOther(t *testing.T) {
	lists := dnstest.Lists(t)
	setup := testSetup(func(s *Setup) {
		s.Config.Resolvers, s.Config.Timeout = []string{lists.Server}, 20*time.Second
		s.Config.DNSBL = map[string]dnsbl.ZoneConfig{"bl.example": zoneConfig(func(z *dnsbl.ZoneConfig) { z.Delist = "https://bl.example/{}" })}
		s.Identity.Streams[0].Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.66")}
	})
	r := newRig(t, "", setup)
	r.send("a@shop.example", "", refused("x@mx.example", "listed-ip", "", "550 5.7.1 192.0.2.66 is listed in bl.example"))
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("one refusal made %v", k)
	}
	r.runJobs(t.Context())
	if k := r.kinds(); !slices.Equal(k, []string{EventListed, EventSuspect}) {
		t.Fatalf("a refusal that the zone confirms made %v", k)
	}
	l := r.Listings()[0]
	if len(l.Evidence) != 2 || l.Evidence[1].Zone != "bl.example" || !strings.Contains(l.Evidence[1].Text, "https://bl.example/?q=192.0.2.66") {
		t.Errorf("evidence %+v", l.Evidence)
	}
	if !slices.Contains(l.Delist, "bl.example: ask for removal at https://bl.example/192.0.2.66") {
		t.Errorf("de-listing %q", l.Delist)
	}
	// A poll tells of it no second time, and two clean ones end that half.
	r.clock.Add(time.Hour)
	r.poll(t.Context())
	lists.Change(t, "bl.example", dnstest.Ip4List[:strings.Index(dnstest.Ip4List, "192.0.2.66")], "66.2.0.192", false)
	for range 2 {
		r.clock.Add(time.Hour)
		r.poll(t.Context())
	}
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("the refusal still counts, yet %v", k)
	}
	r.clock.Add(24 * time.Hour)
	r.expire()
	if k := r.kinds(); !slices.Equal(k, []string{EventDelisted}) {
		t.Errorf("events %v", k)
	}
}

func TestWeightsOfZonesAddUp(t *testing.T) {
	lists := dnstest.Rbldnsd(t, map[string]string{"one.example": "ip4set " + dnstest.Ip4List, "two.example": "ip4set " + dnstest.Ip4List, "mute.example": "ip4set " + dnstest.Ip4List})
	half := func(z *dnsbl.ZoneConfig) { z.Weight = 0.5 }
	setup := testSetup(func(s *Setup) {
		s.Config.Resolvers, s.Config.Timeout = []string{lists.Server}, 20*time.Second
		s.Config.DNSBL = map[string]dnsbl.ZoneConfig{"one.example": zoneConfig(half), "mute.example": zoneConfig(func(z *dnsbl.ZoneConfig) { z.Mute = true })}
		s.Identity.Streams[0].Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.66")}
	})
	r := newRig(t, t.TempDir(), setup)
	poll := func() {
		r.clock.Add(time.Hour)
		r.poll(t.Context())
	}
	poll()
	poll()
	poll()
	if k := r.kinds(); len(k) != 0 {
		t.Fatalf("half the weight and a muted zone made %v", k)
	}
	setup.Config.DNSBL["two.example"] = zoneConfig(half)
	if err := r.Reload(setup); err != nil {
		t.Fatal(err)
	}
	poll()
	poll()
	if k := r.kinds(); !slices.Equal(k, []string{EventListed, EventSuspect}) {
		t.Fatalf("the whole weight made %v", k)
	}
	delete(setup.Config.DNSBL, "two.example")
	delete(setup.Config.DNSBL, "one.example")
	if err := r.Reload(setup); err != nil {
		t.Fatal(err)
	}
	r.expire()
	if k := r.kinds(); !slices.Equal(k, []string{EventDelisted}) {
		t.Errorf("zones that are asked no longer: %v", k)
	}
}

func TestRestartTellsNothingTwice(t *testing.T) {
	lists, dir := dnstest.Lists(t), t.TempDir()
	setup := testSetup(func(s *Setup) {
		s.Config.Resolvers, s.Config.Timeout = []string{lists.Server}, 20*time.Second
		s.Config.DNSBL = map[string]dnsbl.ZoneConfig{"bl.example": zoneConfig(nil)}
		s.Identity.Streams[0].Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.66")}
	})
	r := newRig(t, dir, setup)
	r.usual()
	for range 2 {
		r.clock.Add(time.Hour)
		r.poll(t.Context())
	}
	r.save()
	r.kinds()
	r.open(t, dir, setup)
	for range 3 {
		r.clock.Add(time.Hour)
		r.poll(t.Context())
	}
	if k := r.kinds(); len(k) != 0 || len(r.Listings()) != 1 {
		t.Errorf("after a restart: %v, %d reports", k, len(r.Listings()))
	}
	if n := len(r.history.entities); n != 7 { // three senders, three users, a client
		t.Errorf("history of %d after a restart", n)
	}
	if !r.history.known.add("shop", "news1@customer.example") {
		t.Error("a known recipient is a stranger after a restart")
	}
	file, err := readListings(statefile.New(filepath.Join(dir, listingsFile), maxState))
	if err != nil || len(file.Listings) != 1 || len(file.Zones) != 1 || file.Zones[0].Polls < 2 {
		t.Errorf("state file %+v, %v", file, err)
	}
	for _, name := range []string{listingsFile, historyFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestBrokenStateFilesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{listingsFile, historyFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, dir, testSetup(nil))
	if len(r.Listings()) != 0 || len(r.history.entities) != 0 {
		t.Error("something was read from broken files")
	}
}

// TestChecksTellOnlyChanges runs the background checks on knot.
func TestChecksTellOnlyChanges(t *testing.T) {
	key := testKey(t, "s1")
	server := dnstest.Knot(t, map[string]string{"example": "signed MX 10 mail.signed\nmail.signed A 192.0.2.1\ns1._domainkey.signed TXT \"" + key.Record + "\"\n",
		"2.0.192.in-addr.arpa": "1 PTR mail.signed.example.\n"})
	gone := testKey(t, "s2")
	setup := testSetup(func(s *Setup) {
		s.Config.Resolvers, s.Config.Timeout = []string{server}, 20*time.Second
		s.Identity = oneStream("mail.signed.example", "192.0.2.1")
		s.Identity.Domains = []identity.DomainIdentity{{Name: "signed.example", Open: true, Streams: []string{"main"}, SignedBy: "signed.example"}}
		s.Identity.Keys = []identity.KeyIdentity{key, gone}
	})
	r := newRig(t, "", setup)
	next := r.step(t.Context())
	if !slices.ContainsFunc(r.events, func(e Event) bool { return e.Subject == "dkim signed.example/s2" && e.Status == identity.Fail }) {
		t.Errorf("first run: %+v", r.events)
	}
	r.kinds()
	if r.keys["signed.example/s1"] != identity.KeyPublished || r.keys["signed.example/s2"] != identity.KeyUnpublished {
		t.Errorf("keys %v", r.keys)
	}
	if d := next.Sub(r.clock.Now()); d > time.Minute {
		t.Errorf("next step in %v", d)
	}
	r.clock.Add(2 * time.Hour)
	r.step(t.Context())
	if k := r.kinds(); len(k) != 0 {
		t.Errorf("nothing changed, yet %v", k)
	}
	setup.Identity.Keys = []identity.KeyIdentity{key}
	setup.Identity.Streams[0].EHLO = "gone.example"
	if err := r.Reload(setup); err != nil {
		t.Fatal(err)
	}
	r.step(t.Context())
	if e := r.event(t, EventFinding); !strings.Contains(e.Subject, "gone.example") && !strings.Contains(e.Subject, "192.0.2.1") {
		t.Errorf("after a reload: %+v", e)
	}
	if fs, at := r.Findings(); len(fs) == 0 || at != r.clock.Now() {
		t.Errorf("%d findings of %v", len(fs), at)
	}
}

func TestUnknownIsNoChange(t *testing.T) {
	f := func(s identity.Status) []identity.Finding {
		return []identity.Finding{{Check: "ptr", Subject: "192.0.2.1", Status: s}}
	}
	steps := []struct {
		status identity.Status
		news   int
	}{{identity.Pass, 0}, {identity.Unknown, 0}, {identity.Pass, 0}, {identity.Fail, 1}, {identity.Unknown, 0}, {identity.Fail, 0}, {identity.Pass, 1}, {identity.Warn, 1}, {identity.Warn, 0}}
	var before []identity.Finding
	for i, s := range steps {
		now := f(s.status)
		if news := identity.Changes(before, now); len(news) != s.news {
			t.Errorf("step %d to %s: %d events, want %d", i, s.status, len(news), s.news)
		}
		before = now
	}
	r := newRig(t, "", testSetup(nil)) // its resolver does not answer
	r.step(t.Context())
	if e := r.event(t, EventFinding); e.Status != identity.Unknown || e.Subject != "checks" || len(r.kinds()) != 1 {
		t.Errorf("unknown at the start: %+v, want one event for all", e)
	}
}

func TestRefusalForIdentityNamesTheFinding(t *testing.T) {
	server := dnstest.Knot(t, map[string]string{"example": "spf-fail TXT \"v=spf1 -all\"\nmail.pass A 192.0.2.1\n"})
	setup := testSetup(func(s *Setup) {
		s.Config.Resolvers, s.Config.Timeout = []string{server}, 20*time.Second
		s.Identity = oneStream("mail.pass.example", "192.0.2.1")
		s.Identity.Domains = []identity.DomainIdentity{{Name: "spf-fail.example", Open: true, Streams: []string{"main"}}}
	})
	r := newRig(t, "", setup)
	send := func() {
		tr := Transaction{Time: r.clock.Now(), ID: "t", Client: "c", Sender: "a@spf-fail.example", Stream: "main", Domains: []string{"spf-fail.example"},
			Recipients: []Recipient{refused("x@mx.example", "policy-auth", "", "550 5.7.23 SPF validation failed")}}
		r.take(&tr)
	}
	send()
	send()
	r.runJobs(t.Context())
	e := r.event(t, EventRefusal)
	if e.Finding == nil || e.Finding.Check != "spf" || !strings.Contains(e.Text, "SPF validation failed") {
		t.Errorf("event %+v", e)
	}
	if k := r.kinds(); len(k) != 1 {
		t.Errorf("asked again within minutes: %v", k)
	}
}

// TestFloodStaysBounded: a million refusals, each with its own sender,
// recipient and text, neither stop the caller nor grow without bound.
func TestFloodStaysBounded(t *testing.T) {
	r := newRig(t, t.TempDir(), testSetup(nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	reply := "550 5.7.1 listed " + strings.Repeat("x", 200)
	for i := range flood {
		r.Note(&Transaction{Time: r.clock.Now(), ID: fmt.Sprint(i), Client: "c", Sender: mail.Identity(fmt.Sprintf("s%d@x.example", i)), Stream: "main"},
			[]Recipient{refused(fmt.Sprintf("r%d@d%d.example", i, i), "listed-ip", "l", reply)})
	}
	cancel()
	<-done
	r.mu.Lock()
	events := len(r.events)
	r.mu.Unlock()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	l := r.Listings()
	if len(l) != 1 || len(l[0].Evidence) > maxEvidence || events > 100 {
		t.Errorf("%d reports, %d pieces of evidence, %d events", len(l), len(l[0].Evidence), events)
	}
	if m.HeapAlloc > 200<<20 {
		t.Errorf("%d MiB in use", m.HeapAlloc>>20)
	}
	if len(r.history.entities) > maxEntities {
		t.Errorf("%d entities", len(r.history.entities))
	}
}

func TestReloadRefusesWhatCannotBeRead(t *testing.T) {
	r := newRig(t, "", testSetup(nil))
	bad := testSetup(func(s *Setup) {
		s.Config.DNSBL = map[string]dnsbl.ZoneConfig{"bl.example": zoneConfig(func(z *dnsbl.ZoneConfig) { z.KeyFile = "/nowhere/key" })}
	})
	if err := r.Reload(bad); err == nil || !strings.Contains(err.Error(), "bl.example") {
		t.Errorf("error %v", err)
	}
	if len(r.Zones()) != 0 {
		t.Error("the bad zone was taken")
	}
}
