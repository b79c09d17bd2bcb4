package relay

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postern/relay/replies"
)

// askers hold how many questions to DNS each client may cause for the groups of
// receivers of its recipients' domains: at most 100 in any minute. Clients are those of
// the configuration, so that there are few.
type askers struct {
	mu   sync.Mutex
	left map[string]*rate.Limiter // by client
}

const (
	questionsAtOnce  = 50
	questionsPerTime = 50 // in a minute, besides
)

// may reports whether a client may cause another question.
func (a *askers) may(client string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left == nil {
		a.left = map[string]*rate.Limiter{}
	}
	l := a.left[client]
	if l == nil {
		l = rate.NewLimiter(rate.Every(time.Minute/questionsPerTime), questionsAtOnce)
		a.left[client] = l
	}
	return l.AllowN(now, 1)
}

// providers finds the groups of receivers of those attempts that are still open and
// of which a limit wants to know it, or a back-off of the stream. All questions go out at once, and what has no
// answer within [timeouts] dns is in the group that it was in last, else in that of all others.
func (t *transaction) providers(batch []attempt) {
	if t.route.Direct == nil {
		return
	}
	ask := map[string]bool{}
	waits := t.groupsWait()
	for i := range batch {
		domain := batch[i].rcpt.Domain
		if batch[i].reply != nil || t.groups[domain] != "" || !waits && !t.account.NeedsProvider(domain) {
			continue
		}
		if t.groups == nil {
			t.groups = map[string]string{}
		}
		t.groups[domain] = t.route.Direct.LastProvider(domain)
		ask[domain] = t.route.Direct.KnowsProvider(domain) || t.srv.asking.may(t.client.Name(), time.Now())
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	ctx, cancel := context.WithTimeout(t.conn.Context(), t.snap.Timeouts.DNS)
	defer cancel()
	for domain, may := range ask {
		if !may {
			continue
		}
		wait.Go(func() {
			group := t.route.Direct.Provider(ctx, domain)
			mu.Lock()
			defer mu.Unlock()
			t.groups[domain] = group
		})
	}
	wait.Wait()
}

func (t *transaction) groupsWait() bool {
	h := &t.srv.hooks
	return t.route.Direct != nil && h.GroupsWait != nil && h.GroupBackoff != nil && h.GroupsWait(t.client.Stream())
}

// wait refuses the attempts that are still open and to whose group of receivers mail
// waits.
func (t *transaction) wait(batch []attempt) {
	if !t.groupsWait() {
		return
	}
	for i := range batch {
		a := &batch[i]
		group := t.groups[a.rcpt.Domain]
		if a.reply != nil || group == "" {
			continue
		}
		left, trial := t.srv.hooks.GroupBackoff(t.client.Stream(), t.client.Name(), group)
		switch {
		case left > 0:
			a.rule, a.reply = "backoff", replies.Backoff(a.rcpt.Address, left)
		case trial && a.index < len(t.ev.To):
			t.ev.To[a.index].Trial = true
		}
	}
}
