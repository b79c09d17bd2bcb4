package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// Explanation says how one limit would count a message and what it would say now.
type Explanation struct {
	Usage
	// Applies: the limit counts this mail. Why says why not.
	Applies bool   `json:"applies"`
	Why     string `json:"why,omitempty"`
	Per     string `json:"per"` // what it counts on here: "sender", "client"
	// OnStoreFailure is what holds while the store is away.
	OnStoreFailure OnFailure `json:"on_store_failure"`
	// Fits: a message to one recipient would pass this limit now. Refused names the windows
	// that would refuse it, such as "messages in 1h".
	Fits    bool     `json:"fits"`
	Refused []string `json:"refused,omitempty"`
}

// Explain says for every limit whether and how it would count a message with
// one recipient, and what each would say now. Domains may be left out beside an
// address. Limits on strangers are shown as they count a stranger from a new sender,
// for of their past nothing is asked. It charges nothing.
func (l *Limiter) Explain(ctx context.Context, f Facts, to Recipient) ([]Explanation, error) {
	rs := l.Limits()
	rs.complete(&f)
	f.NewSender = true
	to = rs.completeRecipient(to)
	if to.Provider == "" && l.provider != nil && rs.perProvider() {
		to.Provider = cmp.Or(f.Provider, l.provider(ctx, f.Upstream, to.Domain))
	}
	a := l.BeginWhole(f)
	defer a.End()
	all := make([]Explanation, 0, len(rs.rules))
	b := Batch{ID: l.attempt(), Peek: true, Requests: []Request{{Recipients: 1}}}
	a.name(&b.Requests[0], to.Address)
	var which []int
	for _, r := range rs.rules {
		x := Explanation{
			Usage: Usage{Limit: r.name, Mode: r.cfg.Mode}, Per: r.cfg.Per.String(), OnStoreFailure: r.cfg.OnStoreFailure,
		}
		if x.Why = r.whyNot(&f, to); x.Why == "" {
			i := a.explained(r, to)
			if i < 0 {
				x.Why = r.whyNoKey(&f, &to)
			} else {
				x.describe(&a.budgets[i], a.parts, r)
				b.Requests[0].Refs = append(b.Requests[0].Refs, len(b.Budgets))
				b.Budgets = append(b.Budgets, a.budgets[i].Budget)
				which = append(which, len(all))
			}
		}
		all = append(all, x)
	}
	if len(which) == 0 {
		return all, nil
	}
	said, err := l.store.Take(ctx, &b)
	if err != nil {
		return nil, err
	}
	for i, w := range which {
		windows := said.Budgets[i].Windows
		all[w].judge(&b.Budgets[i], windows)
		all[w].Top = l.contributorsOf(&b.Budgets[i], windows)
	}
	return all, nil
}

// explained opens the budget of a rule; -1 or less when it does not count.
func (a *Account) explained(r *rule, to Recipient) int {
	for i := range a.concern {
		if a.concern[i].rule == r {
			return a.budget(i, &to)
		}
	}
	return skipped
}

func (x *Explanation) describe(st *account, parts []part, r *rule) {
	x.Applies, x.Key, x.Stream, x.Per = true, string(st.Key), st.Share, st.perWords()
	x.Override = r.find(parts).override
}

func (x *Explanation) judge(g *Budget, said []WindowResult) {
	x.fill(g, said)
	x.Fits = true
	for i := range g.Windows {
		if said[i].Refused {
			x.Fits = false
			x.Refused = append(x.Refused, g.Windows[i].Unit.Words()+" in "+FormatWindow(g.Windows[i].Length))
		}
	}
}

// whyNot says why a limit does not apply to such mail; "" when it does.
func (r *rule) whyNot(f *Facts, to Recipient) string {
	switch {
	case r.clients != nil && !r.clients[f.Client]:
		return "is for other clients: " + strings.Join(r.cfg.Clients, ", ")
	case r.streams != nil && !r.streams[f.Stream]:
		return "is for other streams: " + strings.Join(r.cfg.Streams, ", ")
	case r.senders != nil && !r.senders.Match(r.sender(f.Sender)):
		return "is for other senders: " + strings.Join(r.cfg.Senders, ", ")
	case !r.placed(f):
		return r.whyNotThere(f)
	case r.at != nil && !r.at.MatchDomain(to.Domain):
		return "counts recipients at " + strings.Join(r.cfg.RecipientsAt, ", ") + " only"
	case r.notAt != nil && r.notAt.MatchDomain(to.Domain):
		return "does not count recipients at " + strings.Join(r.cfg.RecipientsNotAt, ", ")
	}
	return ""
}

// whyNoKey says why a limit that applies to the mail has no number for it.
func (r *rule) whyNoKey(f *Facts, to *Recipient) string {
	for _, d := range r.dims {
		if d == PerProvider { // it is the recipient's
			if to.Provider == "" && r.cfg.Absent == AbsentSkip {
				return "counts per provider, and mail that does not go to the receivers' own hosts (mx = true) has none"
			}
			continue
		}
		if d != PerRecipientDomain && d != PerSender && f.value(d) == "" && r.cfg.Absent == AbsentSkip {
			return fmt.Sprintf("counts per %s, and this mail has none", Per{d})
		}
	}
	return "has a number for other keys only: its overrides"
}
