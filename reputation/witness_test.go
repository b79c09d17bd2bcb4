package reputation

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/resolve"
	"postern/mail"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// sharedSetup is a stream that two clients share, with a blocklist that is asked.
func sharedSetup(action identity.Action, change func(*Setup)) Setup {
	return testSetup(func(s *Setup) {
		s.Config.DNSBL = map[string]dnsbl.ZoneConfig{"bl.example": zoneConfig(func(*dnsbl.ZoneConfig) {})}
		s.Identity.Streams[0].OnListing = action
		s.Identity.Streams[0].Clients = []string{"shop", "tenant"}
		s.Identity.Domains = []identity.DomainIdentity{{Name: "shop.example", Streams: []string{"main"}, Clients: []string{"shop"}},
			{Name: "tenant.example", Streams: []string{"main"}, Clients: []string{"tenant"}}}
		if change != nil {
			change(s)
		}
	})
}

var ourTarget = dnsbl.Target{Kind: dnsbl.Addresses, Name: "192.0.2.1"}

// zoneSays has the blocklist that is asked say of our address.
func (r *rig) zoneSays(weight float64) {
	r.mu2(func() []outcome {
		return r.settleLocked(r.book.note(ourTarget, Evidence{Source: "zone bl.example", Zone: "bl.example", List: "bl.example",
			Time: r.clock.Now(), Codes: []string{"127.0.0.2"}, Weight: weight}, false))
	})
}

func (r *rig) zoneClears() {
	r.mu2(func() []outcome { return r.settleLocked(r.book.zoneEnds(ourTarget, "bl.example")) })
}

func (r *rig) mu2(f func() []outcome) {
	r.Monitor.mu.Lock()
	outcomes := f()
	r.Monitor.mu.Unlock()
	r.carryOut(outcomes)
}

// refuse counts a message of a client that a domain refuses as listed; networks
// are those of the domain, as DNS would tell.
func (r *rig) refuse(client, domain string, networks ...string) {
	r.next++
	t := Transaction{Time: r.clock.Now(), ID: fmt.Sprintf("t%d", r.next), Client: client, Sender: mail.Identity("a@" + client + ".example"),
		Stream: "main", Upstream: "provider", Domains: []string{client + ".example"}, Recipients: []Recipient{refused("x@"+domain, "listed-ip", "bl", listedReply)}}
	r.take(&t)
	r.jobs = nil
	if len(networks) > 0 {
		r.noteNetworks(ourTarget, ownedDomain(domain), networks)
	}
}

// threeReceivers refuse, unrelated to one another.
func (r *rig) threeReceivers(clients ...string) {
	for i := range 3 {
		r.refuse(clients[i%len(clients)], fmt.Sprintf("mx%d.example", i), fmt.Sprintf("198.%d.0.0/16", i), fmt.Sprintf("host%d.example", i))
	}
}

// trial counts a message that went through as one, and was taken.
func (r *rig) trial(to string) {
	x := relayed(to)
	x.Trial = true
	r.send("x@shop.example", "x", x)
}

// TestReceiversAloneOnlyMakeAReport: R1. Whoever owns domains can have them say
// anything; so it stays a warning, whatever on_listing says.
func TestReceiversAloneOnlyMakeAReport(t *testing.T) {
	for _, action := range []identity.Action{identity.Alert, identity.PauseStream, identity.SuspendSuspect} {
		for name, attack := range map[string]func(*rig){
			"two recipients at one's own domain": func(r *rig) { r.refuse("tenant", "evil.example"); r.refuse("tenant", "evil.example") },
			"three domains of one's own":         func(r *rig) { r.threeReceivers("tenant") },
			"three domains, also the other client's": func(r *rig) {
				r.threeReceivers("tenant", "shop")
			},
			"a hundred names below one domain": func(r *rig) {
				for i := range 100 {
					r.refuse([]string{"tenant", "shop"}[i%2], fmt.Sprintf("n%d.evil.example", i), fmt.Sprintf("198.%d.0.0/16", i))
				}
			},
		} {
			r := newRig(t, "", sharedSetup(action, nil))
			r.usual()
			r.burst("news")
			r.kinds()
			attack(r)
			if k := r.kinds(); r.paused("main") || len(r.suspended) > 0 || !slices.Equal(k, []string{EventListed, EventSuspect}) {
				t.Errorf("%s, %s: events %v, paused %v, suspended %q", action, name, k, r.paused("main"), r.suspended)
			}
			if l := r.Listings()[0]; l.Confirmed || l.Target != ourTarget {
				t.Errorf("%s, %s: %+v", action, name, l)
			}
		}
	}
}

// TestReportSaysWhoSaysSo: an operator sees at once that no blocklist has, and
// hearsay is no more than a warning.
func TestReportSaysWhoSaysSo(t *testing.T) {
	heard := newRig(t, "", sharedSetup(identity.PauseStream, nil))
	for range 2 {
		x := refused("x@evil.example", "listed-ip", "bl", listedReply)
		x.Said.Remote = true
		heard.send("x@tenant.example", "", x)
	}
	if e := heard.event(t, EventListed); e.Status != identity.Warn || heard.paused("main") {
		t.Errorf("hearsay: %+v", e)
	}
	r := newRig(t, "", sharedSetup(identity.PauseStream, nil))
	r.refuse("tenant", "evil.example")
	r.refuse("tenant", "evil.example")
	if e := r.event(t, EventListed); e.Status != identity.Fail || !strings.Contains(e.Text, "is said to be listed (reply of evil.example") || !strings.Contains(e.Text, "nothing is done by itself") {
		t.Errorf("event %+v", e)
	}
	r.kinds()
	r.zoneSays(0.5)
	if e := r.event(t, EventListed); e.Status != identity.Fail || !strings.Contains(e.Text, "is listed (zone bl.example 127.0.0.2)") {
		t.Errorf("event %+v", e)
	}
}

// TestSuspensionNeedsBlocklistAndUnrelatedReceivers: which evidence is enough.
func TestSuspensionNeedsBlocklistAndUnrelatedReceivers(t *testing.T) {
	for name, c := range map[string]struct {
		attack  func(*rig)
		want    bool // the suspect is suspended
		clients []string
	}{
		"the blocklist alone":       {func(r *rig) { r.zoneSays(1) }, false, nil},
		"the blocklist and one":     {func(r *rig) { r.zoneSays(1); r.refuse("tenant", "evil.example", "198.1.0.0/16") }, false, nil},
		"three of one client":       {func(r *rig) { r.zoneSays(1); r.threeReceivers("tenant") }, false, nil},
		"one of the innocent's":     {func(r *rig) { r.zoneSays(1); r.threeReceivers("tenant"); r.refuse("shop", "mx0.example") }, false, nil},
		"three of two clients":      {func(r *rig) { r.zoneSays(1); r.threeReceivers("shop", "tenant") }, true, nil},
		"three, then the blocklist": {func(r *rig) { r.threeReceivers("shop", "tenant"); r.zoneSays(0.1) }, true, nil},
		"three of the only client":  {func(r *rig) { r.zoneSays(1); r.threeReceivers("shop") }, true, []string{"shop"}},
		"three in one network": {func(r *rig) {
			r.zoneSays(1)
			for i, client := range []string{"tenant", "shop", "tenant"} {
				r.refuse(client, fmt.Sprintf("mx%d.example", i), "198.51.0.0/16")
			}
		}, false, nil},
		"three of unknown networks": {func(r *rig) {
			r.zoneSays(1)
			for i, client := range []string{"tenant", "shop", "tenant"} {
				r.refuse(client, fmt.Sprintf("mx%d.example", i))
			}
		}, false, nil},
		"three as hearsay": {func(r *rig) {
			r.zoneSays(1)
			for i, client := range []string{"tenant", "shop", "tenant"} {
				x := refused(fmt.Sprintf("x@mx%d.example", i), "listed-ip", "bl", listedReply)
				x.Said.Remote = true
				r.take(&Transaction{Time: r.clock.Now(), ID: fmt.Sprint(i), Client: client, Stream: "main", Upstream: "provider", Recipients: []Recipient{x}})
				r.noteNetworks(ourTarget, fmt.Sprintf("mx%d.example", i), []string{fmt.Sprintf("198.%d.0.0/16", i)})
			}
		}, false, nil},
	} {
		r := newRig(t, "", sharedSetup(identity.SuspendSuspect, func(s *Setup) {
			if c.clients != nil {
				s.Identity.Streams[0].Clients = c.clients
			}
		}))
		r.usual()
		r.burst("news")
		c.attack(r)
		if got := slices.Equal(r.suspended, []string{"sender news@shop.example: listing 1 of 192.0.2.1"}); got != c.want || !c.want && len(r.suspended) > 0 {
			t.Errorf("%s: suspended %q", name, r.suspended)
		}
		r.expire()
		if len(r.suspended) > 1 {
			t.Errorf("%s: suspended twice: %q", name, r.suspended)
		}
	}
}

func TestNobodyIsSuspendedWhereNobodyStandsOut(t *testing.T) {
	r := newRig(t, "", sharedSetup(identity.SuspendSuspect, nil))
	r.usual()
	r.burst("news")
	r.burst("support")
	r.zoneSays(1)
	r.threeReceivers("tenant", "shop")
	if len(r.suspended) != 0 {
		t.Errorf("suspended %q", r.suspended)
	}
}

// TestPauseNeedsABlocklist: of weight 1, or a lighter one and unrelated receivers.
func TestPauseNeedsABlocklist(t *testing.T) {
	for name, c := range map[string]struct {
		attack func(*rig)
		want   bool
	}{
		"a blocklist": {func(r *rig) { r.zoneSays(1) }, true},
		"a light one": {func(r *rig) { r.zoneSays(0.5) }, false},
		"a light one and two refusals": {func(r *rig) {
			r.refuse("tenant", "evil.example", "198.1.0.0/16")
			r.refuse("tenant", "evil.example")
			r.zoneSays(0.5)
		}, false},
		"a light one and three receivers":  {func(r *rig) { r.threeReceivers("tenant", "shop"); r.zoneSays(0.5) }, true},
		"three receivers and no blocklist": {func(r *rig) { r.threeReceivers("tenant", "shop") }, false},
	} {
		r := newRig(t, "", sharedSetup(identity.PauseStream, nil))
		c.attack(r)
		if r.paused("main") != c.want || r.paused("side") {
			t.Errorf("%s: paused %v", name, r.paused("main"))
		}
	}
}

// TestDomainOfOneClientPausesNobodyElse: a tenant can have its own domain listed.
func TestDomainOfOneClientPausesNobodyElse(t *testing.T) {
	for domain, want := range map[string]bool{"tenant.example": false, "mail.pass.example": true, "both.example": true} {
		r := newRig(t, "", sharedSetup(identity.PauseStream, func(s *Setup) {
			s.Identity.Domains = append(s.Identity.Domains, identity.DomainIdentity{Name: "both.example", Streams: []string{"main"}, Clients: []string{"shop", "tenant"}})
		}))
		r.mu2(func() []outcome {
			return r.settleLocked(r.book.note(dnsbl.DomainTarget(domain), Evidence{Source: "zone bl.example", Zone: "bl.example", Time: r.clock.Now(), Weight: 1}, false))
		})
		if r.paused("main") != want || len(r.Listings()) != 1 {
			t.Errorf("%s: paused %v", domain, r.paused("main"))
		}
	}
}

// TestPauseEndsByTrialOrWithTheBlocklist: and a restart keeps it so.
func TestPauseEndsByTrialOrWithTheBlocklist(t *testing.T) {
	dir := t.TempDir()
	setup := sharedSetup(identity.PauseStream, nil)
	r := newRig(t, dir, setup)
	r.refuse("tenant", "evil.example")
	r.refuse("tenant", "evil.example")
	r.zoneSays(1)
	if k := r.kinds(); !slices.Equal(k, []string{EventListed, EventSuspect, EventListed, EventPaused}) {
		t.Fatalf("events %v", k)
	}
	r.save()
	r.held = NewBackoff(r.clock.Now)
	r.open(t, dir, setup)
	if !r.paused("main") {
		t.Error("after a restart the stream goes on")
	}
	r.send("x@shop.example", "x", relayed("c@other.example")) // was under way
	if !r.paused("main") {
		t.Error("a message that was under way ended the pause")
	}
	r.trial("c@other.example")
	if k := r.kinds(); !slices.Equal(k, []string{EventResumed}) || r.paused("main") {
		t.Fatalf("after a trial: events %v, paused %v", k, r.paused("main"))
	}
	r.clock.Add(time.Minute)
	r.expire()
	r.refuse("tenant", "evil.example")
	if r.paused("main") {
		t.Error("one receiver paused it again")
	}
	r.threeReceivers("tenant", "shop")
	if !r.paused("main") {
		t.Error("three receivers that refuse later pause it no more")
	}
	// A hostile receiver goes on refusing: the pause ends with the blocklist.
	r.kinds()
	r.zoneClears()
	if k := r.kinds(); !slices.Equal(k, []string{EventResumed}) || r.paused("main") {
		t.Errorf("the blocklist cleared us: events %v, paused %v", k, r.paused("main"))
	}
}

func TestResumeHoldsAgainstThePausingListing(t *testing.T) {
	r := newRig(t, "", sharedSetup(identity.PauseStream, nil))
	r.zoneSays(1)
	if !r.Resume("main") || r.Resume("main") {
		t.Error("Resume did not say what it did")
	}
	r.expire()
	r.threeReceivers("tenant", "shop")
	if r.paused("main") {
		t.Error("the listing paused the stream again")
	}
}

// TestPauseOfAnEarlierReleaseEnds: it needed two refusals and nothing else.
func TestPauseOfAnEarlierReleaseEnds(t *testing.T) {
	dir := t.TempDir()
	clock := dnstest.NewClock()
	old := fmt.Sprintf(`{"saved":%[1]q,"last":7,"listings":[{"id":7,"target":{"kind":"addresses","name":"192.0.2.1"},"streams":["main"],"opened":%[1]q,
		"evidence":[{"source":"reply of evil.example","list":"spamhaus-zen","time":%[1]q,"last":%[1]q,"text":"550 blocked","weight":1,"transactions":["a","b"],
		"destination":"provider evil.example"}],"suspects":null,"delist":[],"fix_first":[],"action":"stream main is paused","paused":["main"]}],"zones":null}`,
		clock.Now().Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, listingsFile), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, dir, sharedSetup(identity.PauseStream, nil))
	r.expire()
	if l := r.Listings(); r.paused("main") || len(l) != 1 || !l[0].Open() || l[0].ID != 7 {
		t.Errorf("paused %v, listings %+v", r.paused("main"), l)
	}
}

// TestForeignAddressIsNoListing: only what is ours can be listed, also where we
// do not know our address.
func TestForeignAddressIsNoListing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Setup)
		reply  string
		want   string
	}{
		"ours are known":       {nil, "550 client host [203.0.113.9] blocked using zen.spamhaus.org", "192.0.2.1 hearsay"},
		"ours are named":       {nil, "550 client host [192.0.2.1] blocked using zen.spamhaus.org", "192.0.2.1"},
		"nobody is named":      {nil, "550 your address is blocked using zen.spamhaus.org", "192.0.2.1"},
		"ours are not known":   {func(s *Setup) { s.Identity.Streams[0].Addresses = nil }, "550 client host [203.0.113.9] blocked using zen.spamhaus.org", "stream main hearsay"},
		"many, none is ours":   {nil, "550 [203.0.113.9] [203.0.113.10] [2001:db8::1] blocked using zen.spamhaus.org", "192.0.2.1 hearsay"},
		"a domain of somebody": {nil, "listed-domain", "mail.pass.example"},
	} {
		r := newRig(t, "", sharedSetup(identity.PauseStream, c.change))
		for range 3 {
			x := refused("x@evil.example", "listed-ip", "spamhaus-zen", c.reply)
			if c.reply == "listed-domain" {
				x = refused("x@evil.example", c.reply, "spamhaus-dbl", "550 domain victim.example is listed in dbl.spamhaus.org")
			}
			r.take(&Transaction{Time: r.clock.Now(), ID: fmt.Sprint(r.next), Client: "tenant", Stream: "main", Upstream: "provider", Domains: []string{"victim.example"}, Recipients: []Recipient{x}})
			r.next++
		}
		var got []string
		for _, l := range r.Listings() {
			s := l.Target.Name
			if l.Evidence[0].Hearsay {
				s += " hearsay"
			}
			got = append(got, s)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestVerdictsOnOthersSayNothingOfUs: also a refused connection is the upstream's
// word and no receiver's.
func TestVerdictsOnOthersSayNothingOfUs(t *testing.T) {
	r := newRig(t, "", sharedSetup(identity.PauseStream, nil))
	for i := range 3 {
		x := refused("x@evil.example", "listed-ip", "bl", listedReply)
		x.Said.About = mail.AboutSender
		r.take(&Transaction{Time: r.clock.Now(), ID: fmt.Sprint(i), Client: "tenant", Stream: "main", Upstream: "provider", Recipients: []Recipient{x}})
	}
	if k := r.kinds(); len(k) > 0 {
		t.Errorf("what is about the sender made %v", k)
	}
	for i := range 3 {
		said := &mail.Evidence{At: "connect", About: mail.AboutUs, Class: "listed-ip", List: "bl", Reply: listedReply}
		x := relayed(fmt.Sprintf("x@mx%d.example", i))
		x.Relayed, x.Code = false, 451
		r.take(&Transaction{Time: r.clock.Now(), ID: fmt.Sprint(10 + i), Client: "tenant", Stream: "main", Upstream: "provider", Said: []*mail.Evidence{said}, Recipients: []Recipient{x}})
	}
	l := r.Listings()
	if len(l) != 1 || len(l[0].Evidence) != 1 || l[0].Evidence[0].Domain != "" || l[0].Evidence[0].Source != "reply of upstream provider" {
		t.Errorf("listings %+v", l)
	}
	for range 2 {
		r.send("x@shop.example", "x", relayed("c@any.example"))
	}
	if r.Listings()[0].Open() {
		t.Error("the upstream takes mail again, yet the listing stays")
	}
}

// TestReportsOfReceiversDoNotFillTheBook: to open and end a listing without end
// would push real ones out, and fill the log.
func TestReportsOfReceiversDoNotFillTheBook(t *testing.T) {
	r := newRig(t, "", sharedSetup(identity.Alert, nil))
	for range 50 {
		r.refuse("tenant", "evil.example")
		r.refuse("tenant", "evil.example")
		for range 2 {
			r.send("x@tenant.example", "x", relayed("c@evil.example"))
		}
		r.clock.Add(time.Minute)
	}
	listed := 0
	for _, k := range r.kinds() {
		if k == EventListed {
			listed++
		}
	}
	if listed != 1 || len(r.Listings()) != 1 {
		t.Errorf("%d events, %d listings", listed, len(r.Listings()))
	}
	for i := range 500 {
		r.refuse("tenant", fmt.Sprintf("evil%d.example", i))
	}
	r.zoneSays(1)
	l := r.Listings()
	if b, _ := json.Marshal(l); len(b) > 100_000 || len(l[0].Evidence) > maxEvidence+1 || !l[0].Confirmed {
		t.Errorf("%d octets, %d pieces of evidence, confirmed %v", len(b), len(l[0].Evidence), l[0].Confirmed)
	}
}

// TestNetworksComeFromDNS: the MX hosts of a domain, their addresses and the
// domains that they are registered under.
func TestNetworksComeFromDNS(t *testing.T) {
	server := dnstest.Knot(t, map[string]string{"example": "$ORIGIN example.\n$TTL 60\n@ SOA ns.example. h.example. 1 60 60 60 60\n" +
		"a MX 10 mx1.host\na MX 20 mx2.host\nmx1.host A 198.51.100.1\nmx2.host AAAA 2001:db8::1\n" +
		"b A 203.0.113.5\nc MX 0 .\nd MX 10 nowhere.host\n"})
	res, err := resolve.New(resolve.Options{Servers: []string{server}, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for domain, want := range map[string]string{
		"a.example": "198.51.0.0/16 host.example 2001:db8::/32", "b.example": "203.0.0.0/16 b.example", "c.example": "", "d.example": "", "none.example": "",
	} {
		if got := strings.Join(networks(t.Context(), res, domain), " "); got != want {
			t.Errorf("%s: %q, want %q", domain, got, want)
		}
	}
}

func TestUnrelatedSharesNothing(t *testing.T) {
	e := func(domain string, networks ...string) *Evidence {
		return &Evidence{Domain: domain, Networks: networks}
	}
	for name, c := range map[string]struct {
		all  []*Evidence
		want int
	}{
		"nobody":                     {nil, 0},
		"three":                      {[]*Evidence{e("a", "1"), e("b", "2"), e("c", "3")}, 3},
		"one that is related to all": {[]*Evidence{e("evil", "1", "2", "3"), e("a", "1"), e("b", "2"), e("c", "3")}, 3},
		"two lists, one domain":      {[]*Evidence{e("a", "1"), e("a", "2"), e("c", "3")}, 2},
		"unknown ones are one":       {[]*Evidence{e("a"), e("b"), e("c")}, 1},
		"unknown ones may be a or b": {[]*Evidence{e("a", "1"), e("b", "2"), e("c"), e("d")}, 2},
		"a hundred in one network":   {slices.Repeat([]*Evidence{e("a", "1")}, 100), 1},
	} {
		if got := len(unrelated(c.all)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestWordOfAReceiversHostIsOfItsDomain: where mail goes to exchangers, a greeting
// is not a word of an upstream that we chose. Three of one owner are one witness.
func TestWordOfAReceiversHostIsOfItsDomain(t *testing.T) {
	r := newRig(t, "", sharedSetup(identity.PauseStream, nil))
	r.zoneSays(0.5)
	greeted := func(client, domain string, networks ...string) {
		x := refused("x@"+domain, "listed-ip", "bl", listedReply)
		x.Said.At, x.Said.Domain, x.Said.Reply = "connect", domain, listedReply
		r.next++
		r.take(&Transaction{Time: r.clock.Now(), ID: fmt.Sprintf("t%d", r.next), Client: client, Sender: "a@shop.example", Stream: "main", Upstream: "world", Said: []*mail.Evidence{x.Said}})
		r.jobs = nil
		r.noteNetworks(ourTarget, ownedDomain(domain), networks)
	}
	for i := range 6 {
		greeted([]string{"shop", "tenant"}[i%2], fmt.Sprintf("n%d.evil.example", i), fmt.Sprintf("198.%d.0.0/16", i))
	}
	if r.paused("main") {
		t.Fatal("one owner's domains have paused the stream")
	}
	l := r.Listings()[0]
	if n := len(l.witnesses(time.Time{})); n != 1 || l.Evidence[len(l.Evidence)-1].Domain != "evil.example" {
		t.Errorf("%d witnesses: %+v", n, l.Evidence)
	}
	greeted("shop", "one.example", "199.1.0.0/16")
	greeted("tenant", "two.example", "199.2.0.0/16")
	if !r.paused("main") {
		t.Error("a blocklist and three unrelated receivers have not")
	}
}
