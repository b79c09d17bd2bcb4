package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/check"
	"postern/internal/config"
	"postern/mail"
)

// selfTest tries the forged envelopes on our own listeners at start, and keeps
// what they do out of log, journal and counts.
type selfTest struct {
	running atomic.Bool
	next    []mail.Observer
}

// Observe passes on what does not come from the test itself: while it runs,
// transactions from addresses of this machine that are not clients.
func (s *selfTest) Observe(e *mail.Event) {
	if s.running.Load() && e.Client == "" && isOwn(e.ClientIP) {
		return
	}
	for _, o := range s.next {
		o.Observe(e)
	}
}

func isOwn(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && slices.Contains(check.OwnAddresses(), ip.Unmap())
}

// settle is how long events may follow the last reply.
const settle = 2 * time.Second

// report carries the test out and logs what is wrong.
func (s *selfTest) report(ctx context.Context, f *config.File, log *slog.Logger) {
	for _, p := range s.run(ctx, f) {
		log.Warn("self-test", "problem", p)
	}
}

// run carries the test out and returns what is wrong.
func (s *selfTest) run(ctx context.Context, f *config.File) (problems []string) {
	s.running.Store(true)
	defer s.running.Store(false)
	t := check.OpenRelay(ctx, f, func(g *check.Forgery) bool { return !strings.HasPrefix(g.Name, "AUTH with") })
	for i := range t.Attempts {
		if a := &t.Attempts[i]; a.Status == "fail" {
			problems = append(problems, fmt.Sprintf("listener %s relays for nobody: %s, from %s: %s", a.Listener, a.Forgery, a.From, strings.Join(a.Transcript, " ")))
		}
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	return append(problems, t.Warnings...)
}
