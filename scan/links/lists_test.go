package links

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
	"postern/reputation/dnsbl"
)

// told are the changes that lists told of.
type told struct {
	mu   sync.Mutex
	list map[string]error
	next chan struct{}
}

func newTold() *told { return &told{list: map[string]error{}, next: make(chan struct{}, 100)} }

func (c *told) changed(list string, why error) {
	c.mu.Lock()
	c.list[list] = why
	c.mu.Unlock()
	c.next <- struct{}{}
}

// controlled makes lists and asks for the controls of their zones.
func controlled(t *testing.T, o Options) *Lists {
	t.Helper()
	if o.Config.Timeout == 0 {
		zones, files, mode := o.Config.Zones, o.Config.Files, o.Config.Mode
		o.Config.SetDefaults()
		o.Config.Zones, o.Config.Files, o.Config.Timeout = zones, files, 5*time.Second
		if mode != "" {
			o.Config.Mode = mode
		}
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop(nil) })
	for _, z := range l.zones {
		l.control(z)
	}
	return l
}

// said is what lists say of a text: listings, faults and numbers.
func said(t *testing.T, l *Lists, text string) (*Result, string) {
	t.Helper()
	f := l.Find()
	f.Text(false, "", []byte(text))
	k := l.Ask(t.Context(), f)
	r := k.Wait()
	k.Finish()
	var words []string
	for _, x := range r.Listed {
		words = append(words, strings.TrimSpace(x.Host+" "+x.List+" "+x.Text))
	}
	for _, v := range r.Lists {
		if v.Err != nil {
			words = append(words, "fault "+v.List)
		}
	}
	return r, strings.Join(words, "; ")
}

func TestListsSayWhatTheyKnow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed")
	if err := os.WriteFile(path, []byte("fed.example\n192.0.2.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := dnstest.Lists(t).Server
	changes := newTold()
	l := controlled(t, Options{
		Config: Config{Zones: []string{"dbl.example", "all.example", "dead.example"}, Files: []string{path}},
		Zones:  map[string]dnsbl.ZoneConfig{"dbl.example": {Codes: map[string]string{"127.0.1.2": "SPAM"}}}, Servers: []string{server},
		Changed: changes.changed,
	})
	for text, want := range map[string]string{
		"https://spam.example/":                          "spam.example dbl.example 127.0.1.2 SPAM",
		"https://www.spam.example/":                      "www.spam.example dbl.example 127.0.1.2 SPAM", // by its registered domain
		"https://a.wild.example/":                        "a.wild.example dbl.example 127.0.1.2 SPAM",
		"https://good.example/":                          "",
		"https://fed.example/ and http://192.0.2.7/":     "192.0.2.7 feed; fed.example feed",
		"https://spam.example/ and https://fed.example/": "fed.example feed; spam.example dbl.example 127.0.1.2 SPAM",
		"nothing at all":                                 "",
	} {
		// Two of the zones do not hold their test entries, or hold everything.
		if strings.Contains(text, "example/") {
			want = strings.TrimPrefix(want+"; fault all.example; fault dead.example", "; ")
		}
		if _, got := said(t, l, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if changes.list["all.example"] == nil || changes.list["dead.example"] == nil || changes.list["dbl.example"] != nil {
		t.Errorf("told: %v", changes.list)
	}
}

// TestFaultsAreNoListings: what a list or its resolver does instead of answering.
func TestFaultsAreNoListings(t *testing.T) {
	answers := map[string]string{
		"refused.example":  "127.255.255.254", // by the list: this resolver may not ask
		"uribl.example":    "127.0.0.1",       // likewise, as URIBL has it
		"parked.example":   "198.51.100.1",
		"listed.example":   "127.0.1.2",
		"servfail.example": "servfail",
		"silent.example":   "silent",
	}
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(q.Question[0].Name), "."), ".zone.example")
		switch answer := answers[name]; {
		case name == "test":
			m.Answer = []dns.RR{dnstest.Record(q.Question[0].Name, dns.TypeA, 60, "127.0.1.2")}
		case answer == "silent":
			return
		case answer == "servfail":
			m.Rcode = dns.RcodeServerFailure
		case answer != "":
			m.Answer = []dns.RR{dnstest.Record(q.Question[0].Name, dns.TypeA, 60, answer)}
		default:
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	o := Options{Servers: []string{server}}
	o.Config = Config{Zones: []string{"zone.example"}, Mode: Enforce, Timeout: 500 * time.Millisecond}
	l := controlled(t, o)
	for host := range answers {
		began := time.Now()
		r, got := said(t, l, "https://"+host+"/")
		want := "fault zone.example"
		if host == "listed.example" {
			want = "listed.example zone.example 127.0.1.2"
		}
		if got != want || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %s after %v, want %s", host, got, r.Took, want)
		}
	}
	// Of two hosts one is listed all the same.
	if _, got := said(t, l, "https://silent.example/ https://listed.example/"); got != "listed.example zone.example 127.0.1.2; fault zone.example" {
		t.Error(got)
	}
}

func TestTwentyOfManyHostsAreAskedAbout(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]bool{}
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		m.Rcode = dns.RcodeNameError
		if name := q.Question[0].Name; name == "test.zone.example." {
			m.Rcode, m.Answer = dns.RcodeSuccess, []dns.RR{dnstest.Record(name, dns.TypeA, 60, "127.0.1.2")}
		} else if strings.HasPrefix(name, "host") {
			mu.Lock()
			asked[strings.ToLower(name)] = true
			mu.Unlock()
		}
		w.WriteMsg(m)
	})
	l := controlled(t, Options{Config: Config{Zones: []string{"zone.example"}}, Servers: []string{server}})
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "https://host%d.example/ ", i)
	}
	r, got := said(t, l, text.String())
	mu.Lock()
	defer mu.Unlock()
	if got != "" || len(asked) != 20 || r.Hosts != 50 || r.Left != 30 {
		t.Errorf("%s: asked about %d, %+v", got, len(asked), r)
	}
}

// TestFinishEndsWhatIsAsked: a shadow list that does not answer delays nothing.
func TestFinishEndsWhatIsAsked(t *testing.T) {
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if name := q.Question[0].Name; name == "test.zone.example." {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			m.RecursionAvailable = true
			m.Answer = []dns.RR{dnstest.Record(name, dns.TypeA, 60, "127.0.1.2")}
			w.WriteMsg(m)
		} else if strings.HasPrefix(name, "invalid") {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			m.RecursionAvailable = true
			m.Rcode = dns.RcodeNameError
			w.WriteMsg(m)
		}
	})
	l := controlled(t, Options{Config: Config{Zones: []string{"zone.example"}}, Servers: []string{server}})
	f := l.Find()
	f.Text(false, "", []byte("https://evil.example/"))
	k := l.Ask(t.Context(), f)
	began := time.Now()
	r := k.Finish()
	if time.Since(began) > 30*time.Second || len(r.Lists) != 1 || r.Lists[0].Err == nil || len(r.Listed) > 0 {
		t.Errorf("after %v: %+v", time.Since(began), r)
	}
	if (*Lookup)(nil).Finish() != nil {
		t.Error("nothing was looked up")
	}
}

// TestListsFollowAReload: unchanged lists go on, others begin anew.
func TestListsFollowAReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed")
	if err := os.WriteFile(path, []byte("fed.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{}
	o.Config.SetDefaults()
	o.Config.Files = []string{path}
	first, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	first.Start()
	o.Old = first
	same, err := New(o)
	if err != nil || same != first {
		t.Fatalf("other lists for the same configuration, %v", err)
	}
	o.Config.Mode = Enforce
	next, err := New(o)
	if err != nil || next == first || !next.Enforces() || first.Enforces() {
		t.Fatalf("%v", err)
	}
	next.Start()
	first.Stop(next)
	next.Stop(nil)
	if none, err := New(Options{}); none != nil || err != nil {
		t.Error("lists without any")
	}
	(*Lists)(nil).Start()
	(*Lists)(nil).Stop(nil)
}

func TestStartTellsOfFilesAndZones(t *testing.T) {
	changes := newTold()
	o := Options{Servers: []string{dnstest.Lists(t).Server}, Changed: changes.changed}
	o.Config.SetDefaults()
	o.Config.Zones, o.Config.Files = []string{"dead.example"}, []string{filepath.Join(t.TempDir(), "missing")}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	<-changes.next
	<-changes.next
	l.Stop(nil)
	if !errors.Is(changes.list["missing"], os.ErrNotExist) || changes.list["dead.example"] == nil {
		t.Errorf("told: %v", changes.list)
	}
}

func TestConfigIsChecked(t *testing.T) {
	c := Config{Zones: []string{"a b"}, Skip: []string{"x y"}, Timeout: time.Minute}
	var keys []string
	c.Check(func(key, _ string) { keys = append(keys, key) })
	if !slices.Equal(keys, []string{"zones.0", "skip.0", "timeout"}) {
		t.Error(keys)
	}
	c.SetDefaults()
	c.Check(func(key, problem string) { t.Error(key, problem) })
}
