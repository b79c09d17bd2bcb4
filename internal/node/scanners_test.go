package node

import (
	"strings"
	"testing"
	"time"

	"postern/scan"
)

func TestScannerThatIsDownIsTold(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		change func(*scan.Config)
		since  time.Duration
		ready  bool
		says   string
	}{
		{"all mail waits", func(*scan.Config) {}, time.Hour, false, "scanner av is down, and mail waits: connection refused"},
		{"for a short while", func(*scan.Config) {}, time.Second, true, "and mail waits"},
		{"mail of some waits", func(c *scan.Config) { c.Clients = []string{"shop"} }, time.Hour, true, "mail of its clients and streams waits"},
		{"nobody waits", func(c *scan.Config) { c.OnFailure = scan.Pass }, time.Hour, true, "mail leaves without its verdict"},
		{"in shadow", func(c *scan.Config) { c.Mode = scan.Shadow }, time.Hour, true, "only watched"},
	} {
		var cfg scan.Config
		cfg.SetDefaults()
		c.change(&cfg)
		r, ready := scannerReason(&scan.ScannerState{Name: "av", Since: now.Add(-c.since), Why: "connection refused"}, cfg, time.Minute, now)
		if ready != c.ready || !strings.Contains(r.Text, c.says) {
			t.Errorf("%s: ready %v, %q", c.name, ready, r.Text)
		}
	}
}
