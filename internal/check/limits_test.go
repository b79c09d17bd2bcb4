package check

import (
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/ratelimit"
)

// TestLimitsOfAProvider: every number of a limit is told, those on strangers, too.
func TestLimitsOfAProvider(t *testing.T) {
	in := func(n int64) ratelimit.Numbers { return ratelimit.Numbers{{N: n, Window: time.Hour}} }
	f := &config.File{Limit: map[string]ratelimit.RuleConfig{
		"group": {Per: ratelimit.Per{ratelimit.PerProvider}, Messages: in(50), Strangers: in(3), StrangersNew: in(2)},
		"else":  {Per: ratelimit.Per{ratelimit.PerProvider}, Messages: in(50), Streams: []string{"other"}},
		"all":   {Per: ratelimit.Per{ratelimit.PerAll}, Messages: in(50)},
	}}
	var b strings.Builder
	writeLimits(&b, f, "main")
	if got, want := b.String(), "limit group per provider: 2/1h strangers of new senders, 3/1h strangers, 50/1h messages\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
