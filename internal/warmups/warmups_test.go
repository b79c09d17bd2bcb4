package warmups

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/config"
	"postern/mail"
	"postern/ratelimit/embedded"
	"postern/upstream/direct"
)

const file = `hostname = "relay.example.org"
state_dir = "STATE"
[listener.mta]
address = "127.0.0.1:2525"
[client.shop]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "new"
[stream.new]
upstream = "world"
source_ip = ["127.0.0.9"]
[stream.warm]
upstream = "world"
source_ip = ["127.0.0.8"]
[upstream.world]
mx = true
[upstream.world.warmup]
schedule = [10, 20, 40, 80]
sources = ["127.0.0.9"]
`

func load(t *testing.T, more string) (*config.File, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	if err := os.WriteFile(path, []byte(strings.Replace(file, "STATE", dir, 1)+more), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := config.Load(path)
	return f, err
}

// TestGatesOverReloads: a gate stays where nothing changes for it, with its steps; a listing
// said by a group's host reaches it.
func TestGatesOverReloads(t *testing.T) {
	f, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	u, err := direct.New("world", f.Upstream["world"].Config, direct.Options{Hostname: f.Hostname, Groups: f.Groups()})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close(context.Background())
	life, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	s := New(Options{Store: embedded.New(embedded.Config{Memory: 16 << 20}, nil), Run: func(f func(context.Context)) { running.Go(func() { f(life) }) },
		Clients: func(string) int { return 1 }, Confirmed: func(netip.Addr) bool { return false }, Log: slog.New(slog.DiscardHandler)})
	all := map[string]*direct.Upstream{"world": u}
	s.Use(f, all)
	first := s.gates["world"]
	cold := netip.MustParseAddr("127.0.0.9")
	if p, _, err := first.Take(t.Context(), cold, "google"); p == nil || err != nil {
		t.Fatal(p, err)
	}
	s.Use(f, all)
	if s.gates["world"] != first {
		t.Error("another gate without a change")
	}
	if rows, err := s.List(t.Context()); err != nil || len(rows) != 1 || rows[0].Sent != 1 || rows[0].Provider != "google" || rows[0].Budget != 10 {
		t.Errorf("%+v, %v", rows, err)
	}
	s.Observe(&mail.Event{Upstream: "world", Stream: "new", Client: "shop", Said: &mail.Evidence{Class: mail.ClassListedIP, About: mail.AboutUs, At: "connect", Domain: "a.example", Provider: "google", SourceIP: "127.0.0.9"}})
	f2, err := load(t, "overflow = \"warm\"\n")
	if err != nil {
		t.Fatal(err)
	}
	s.Use(f2, all)
	if g := s.gates["world"]; g == first || g.Way() == nil || g.Way().Sources[0].String() != "127.0.0.8" {
		t.Errorf("%+v", g)
	}
	if rows, err := s.List(t.Context()); err != nil || len(rows) != 1 || rows[0].Sent != 1 {
		t.Errorf("after a reload: %+v, %v", rows, err)
	}
	f3 := *f
	f3.Upstream = map[string]config.UpstreamConfig{"world": {Config: f.Upstream["world"].Config}}
	if s.Use(&f3, all); len(s.gates) != 0 {
		t.Error("a gate without a table")
	}
}

// TestTablesAreHeldAgainstOneAnother: an overflow that would be warmed up itself, or signed
// in another way, is refused.
func TestTablesAreHeldAgainstOneAnother(t *testing.T) {
	for more, want := range map[string]string{
		"overflow = \"nobody\"\n":   "there is no [stream.nobody]",
		"overflow = \"new\"\n":      "127.0.0.9 of stream new is warmed up, too",
		"providers = [\"gogle\"]\n": "is no group of receivers",
		"schedule = \"fast\"\n":     "twice",
		"overflow = \"warm\"\n[stream.other]\nupstream = \"world\"\nsource_ip = [\"127.0.0.7\"]\nsign_keys = \"none\"\n": "signs in another way than other",
	} {
		if _, err := load(t, more); err == nil || !strings.Contains(err.Error(), want) && want != "twice" {
			t.Errorf("%q: %v", more, err)
		}
	}
}
