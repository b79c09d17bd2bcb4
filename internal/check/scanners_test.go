package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/scantest"
	"postern/reputation/identity"
	"postern/scan"
)

// scanned are the findings about one scripted clamd, such as "status seen".
func scanned(t *testing.T, c *scantest.Clamd, change func(*scan.Config)) (all []string) {
	t.Helper()
	c.Start(t)
	var s scan.Config
	s.SetDefaults()
	s.Clamd, s.MaxSize, s.Timeout = c.Address, 100_000, 2*time.Second
	change(&s)
	f := &config.File{Hostname: "relay.example", Scanner: map[string]scan.Config{"av": s}}
	for _, x := range tryScanners(t.Context(), f, time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)) {
		if x.Status != identity.Pass && x.Change == "" {
			t.Errorf("no remedy for %q", x.Seen)
		}
		all = append(all, string(x.Status)+" "+x.Seen)
	}
	return all
}

func TestScannersAreExamined(t *testing.T) {
	says := func(word, answer string) func([]byte) string {
		return func(m []byte) string {
			if strings.Contains(string(m), word) {
				return answer
			}
			return scantest.Finds(m)
		}
	}
	for _, c := range []struct {
		name    string
		server  *scantest.Clamd
		change  func(*scan.Config)
		want    []string
		without string
	}{
		{name: "all is well", server: &scantest.Clamd{Answer: scantest.Finds}, want: []string{
			"pass ClamAV 1.4.6/27000/Mon Nov 30 08:00:00 2026, database 1d0h old", "pass test message eicar, ", "pass test message clean, ", "pass test message largest, ", "pass test message nested, "}},
		{name: "an old database", server: &scantest.Clamd{Answer: scantest.Finds, Version: "ClamAV 1.4.6/26000/Thu Nov 26 08:00:00 2026"}, want: []string{"warn ClamAV 1.4.6/26000"}},
		{name: "finds nothing", server: &scantest.Clamd{Answer: says("", "stream: OK")}, want: []string{"fail test message eicar: test message was not found"}, without: "largest"},
		{name: "looks at the beginning only", server: &scantest.Clamd{Answer: says("zeros", "stream: OK")}, want: []string{"fail test message largest: the canary in it was called clean"}},
		{name: "has a lower limit", server: &scantest.Clamd{Answer: says("zeros", "INSTREAM size limit exceeded. ERROR")}, want: []string{"warn test message largest: it is called unscannable"}},
		{name: "does not tell of its limits", server: &scantest.Clamd{Answer: says("nested", "stream: OK")}, want: []string{"warn test message nested: a virus 25 archives deep"}},
		{name: "finds harm in everything", server: &scantest.Clamd{Answer: says("", "stream: X FOUND")}, want: []string{"fail test message clean: a harmless message is called virus"}},
		{name: "does not tell of encryption", server: &scantest.Clamd{Answer: says("secret.zip", "stream: OK")}, change: func(c *scan.Config) { c.Encrypted = scan.Refuse },
			want: []string{"fail test message encrypted: encrypted test archive was called clean"}},
		{name: "is away", server: &scantest.Clamd{Answer: scantest.Finds}, change: func(c *scan.Config) { c.Clamd = "tcp:127.0.0.1:1" }, want: []string{"fail dial tcp 127.0.0.1:1"}},
	} {
		if c.change == nil {
			c.change = func(*scan.Config) {}
		}
		all := strings.Join(scanned(t, c.server, c.change), "\n")
		for _, want := range c.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, all)
			}
		}
		if c.without != "" && strings.Contains(all, c.without) {
			t.Errorf("%s: %q in\n%s", c.name, c.without, all)
		}
	}
}

func view(change func(*scan.Config)) *scannerView {
	x := &scan.Examined{Name: "x"}
	x.Config.SetDefaults()
	change(&x.Config)
	return &scannerView{x: x}
}

func (v *scannerView) words() string {
	words := ""
	for _, f := range v.all {
		words += string(f.Status) + " " + f.Seen + "\n"
	}
	return words
}

func TestTimeoutsAreNested(t *testing.T) {
	no, yes := false, true
	for _, c := range []struct {
		set     *rspamdSettings
		symbols []string
		want    string
	}{
		{nil, nil, "pass its time-outs are not known"},
		{&rspamdSettings{Timeout: 8.0, Soft: &yes}, nil, "pass task_timeout 8s below timeout = 20s\n"},
		{&rspamdSettings{Timeout: 20.0, Soft: &yes}, nil, "warn task_timeout 20s is not below timeout = 20s"},
		{&rspamdSettings{Timeout: 8.0, Soft: &no}, nil, "warn soft_reject_on_timeout false"},
		{&rspamdSettings{Timeout: 8.0, Soft: &no}, []string{"RAN"}, "pass task_timeout 8s below timeout = 20s\n"},
		{&rspamdSettings{Timeout: "8s", Soft: &yes}, nil, "pass task_timeout 8s cannot be read"},
	} {
		v := view(func(k *scan.Config) { k.RequireSymbols = c.symbols })
		v.rspamdLimits(c.set)
		if got := v.words(); !strings.Contains(got, c.want) || strings.HasSuffix(c.want, "\n") && got != c.want {
			t.Errorf("%+v: %q, want %q", c.set, got, c.want)
		}
	}
	for _, c := range []struct{ conf, want string }{
		{"", "warn MaxScanTime 2m0s is not below timeout = 20s"},
		{"MaxScanTime 0\n", "warn MaxScanTime 0s is not below"},
		{"MaxScanTime 15000\n#MaxThreads 2\n", "pass MaxScanTime 15s below timeout = 20s\n"},
		{"MaxScanTime 15000\nMaxThreads 4\n", "warn MaxThreads 4, and concurrency = 8"},
		{"MaxScanTime 15000\nConcurrentDatabaseReload no\n", "warn ConcurrentDatabaseReload no"},
	} {
		path := filepath.Join(t.TempDir(), "clamd.conf")
		if err := os.WriteFile(path, []byte("LocalSocket /run/clamav/clamd.ctl\nTCPSocket 3310\n"+c.conf), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"unix:/run/clamav/clamd.ctl", "tcp:127.0.0.1:3310"} {
			v := view(func(*scan.Config) {})
			v.clamdLimits(readClamd(path, address))
			if got := v.words(); !strings.Contains(got, c.want) || strings.HasSuffix(c.want, "\n") && got != c.want {
				t.Errorf("%q at %s: %q, want %q", c.conf, address, got, c.want)
			}
		}
		for _, address := range []string{"unix:/run/other.ctl", "tcp:192.0.2.1:3310", "tcp:127.0.0.1:3311"} {
			if s := readClamd(path, address); s != nil {
				t.Errorf("the settings of another clamd are taken for those of %s: %v", address, s)
			}
		}
	}
	if readClamd("/nonexistent", "unix:/x") != nil {
		t.Error("settings without a file")
	}
}

func TestConnectionsOfICAPAreHeldAgainstConcurrency(t *testing.T) {
	for n, want := range map[int]string{0: "", 8: "", 100: "", 4: "warn it takes 4 at one time\n"} {
		v := view(func(*scan.Config) {})
		v.x.Connections = n
		v.connections()
		if got := v.words(); got != want {
			t.Errorf("%d: %q", n, fmt.Sprint(got))
		}
	}
}
