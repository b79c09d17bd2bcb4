package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// Usage is a budget as it stands, for operators.
type Usage struct {
	Limit string `json:"limit"`
	Key   string `json:"key"` // "client=shop recipient_domain=x.example"
	// Stream is the stream whose view of a divided budget this is; "" is that of
	// all streams without a reserve.
	Stream   string        `json:"stream,omitempty"`
	Mode     Mode          `json:"mode"`
	Override string        `json:"override,omitempty"` // where the numbers come from; blank: the limit's own
	Windows  []WindowUsage `json:"windows"`
	Use      float64       `json:"use"` // of the fullest window, 1 is full
	// Top names the largest senders in a budget that several share, each with
	// its share of all that is used: "news@example.org 62%". What this process
	// did not see is an entry, too: "not seen here 30%".
	Top []string `json:"top,omitempty"`
}

// WindowUsage is one window of a budget as it stands.
type WindowUsage struct {
	Unit   Unit   `json:"unit"`
	Window string `json:"window"` // "1h"
	Max    int64  `json:"max"`    // with allowances
	Used   int64  `json:"used"`
	Room   int64  `json:"room"`
	Raised int64  `json:"raised,omitempty"` // part of Max that allowances add
	// Wait is the seconds until one more fits, rounded up; 0 now, -1 never.
	Wait int64 `json:"wait_seconds"`
}

// MaxStates bounds what Show and Top return.
const MaxStates = 10_000

// Show lists the budgets in use that the filter chooses, the fullest first, n at most (0 or
// less: MaxStates). It charges nothing. The error names a limit of the filter that does not
// exist, or is the store's.
func (l *Limiter) Show(ctx context.Context, f Filter, n int) ([]Usage, error) {
	if n <= 0 || n > MaxStates {
		n = MaxStates
	}
	s := shower{ctx: ctx, l: l, rules: l.Limits(), n: n}
	s.filter = s.rules.fold(f)
	if f.Limit != "" && s.rules.rule(f.Limit) == nil {
		return nil, s.rules.unknown(f.Limit)
	}
	err := l.store.Scan(ctx, f.Limit, func(limit, key string) bool {
		s.add(limit, key)
		return s.err == nil
	})
	s.flush()
	if err := cmp.Or(s.err, err); err != nil {
		return nil, err
	}
	s.trim(n)
	return s.states, nil
}

// Top lists the n budgets that are nearest to a limit, as Show does without a filter.
func (l *Limiter) Top(ctx context.Context, n int) ([]Usage, error) { return l.Show(ctx, Filter{}, n) }

func (rs *Limits) unknown(limit string) error {
	return fmt.Errorf("no limit %q; there are: %s", limit, strings.Join(rs.Names(), ", "))
}

// shower peeks at keys in batches and keeps the fullest.
type shower struct {
	ctx    context.Context
	l      *Limiter
	rules  *Limits
	filter Filter
	n      int
	batch  Batch
	about  []Usage
	seen   map[budgetName]bool // of the batch; a scan may name a key twice
	states []Usage
	err    error
}

const showAtOnce = 200

func (s *shower) add(limit, key string) {
	r := s.rules.rule(limit)
	parts, ok := parseKey(key)
	if r == nil || !ok || !s.filter.match(r, parts) || s.seen[budgetName{limit, key}] {
		return
	}
	if s.seen == nil {
		s.seen = map[budgetName]bool{}
	}
	s.seen[budgetName{limit, key}] = true
	numbers := r.find(parts)
	for _, share := range r.views() {
		s.peek(r, numbers, key, share)
	}
	if len(s.batch.Budgets) >= showAtOnce {
		s.flush()
	}
}

// views are the streams that see a budget differently.
func (r *rule) views() []string {
	views := []string{""}
	for stream := range r.cfg.Reserve {
		views = append(views, stream)
	}
	slices.Sort(views)
	return views
}

func (s *shower) peek(r *rule, n *numbers, key, share string) {
	if len(n.windows) == 0 {
		return
	}
	i := len(s.batch.Budgets)
	s.batch.Budgets = append(s.batch.Budgets, r.peekBudget(n, key, share))
	s.batch.Requests = append(s.batch.Requests, Request{Refs: []int{i}})
	s.about = append(s.about, Usage{Limit: r.name, Key: key, Stream: share, Mode: r.cfg.Mode, Override: n.override})
}

func (r *rule) peekBudget(n *numbers, key, share string) Budget {
	return Budget{
		Limit: r.name, Key: []byte(key), Share: share, Windows: n.windows, OnFailure: r.cfg.OnStoreFailure,
	}
}

func (s *shower) flush() {
	if len(s.batch.Budgets) == 0 || s.err != nil {
		return
	}
	s.batch.ID, s.batch.Peek = s.l.attempt(), true
	r, err := s.l.store.Take(s.ctx, &s.batch)
	if err != nil {
		s.err = err
		return
	}
	for i := range s.about {
		st, g, windows := &s.about[i], &s.batch.Budgets[i], r.Budgets[i].Windows
		if st.fill(g, windows); st.Use > 0 || st.Stream == "" {
			st.Top = s.l.contributorsOf(g, windows)
			s.states = append(s.states, *st)
		}
	}
	s.batch.Budgets, s.batch.Requests, s.about = s.batch.Budgets[:0], s.batch.Requests[:0], s.about[:0]
	clear(s.seen)
	if len(s.states) > 2*s.n {
		s.trim(s.n)
	}
}

// trim sorts, and keeps the n fullest.
func (s *shower) trim(n int) {
	slices.SortFunc(s.states, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Use, a.Use), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Stream, b.Stream))
	})
	s.states = s.states[:min(n, len(s.states))]
}

// fill turns what the store said of a budget into words.
func (st *Usage) fill(g *Budget, said []WindowResult) {
	st.Windows = make([]WindowUsage, len(g.Windows))
	st.Use = 0
	for i := range g.Windows {
		w, r := &g.Windows[i], &said[i]
		st.Windows[i] = WindowUsage{
			Unit: w.Unit, Window: FormatWindow(w.Length), Max: r.Max, Used: r.Used,
			Room: max(0, r.Max-r.Used), Raised: max(0, r.Max-w.view(g.Share)), Wait: seconds(r.Free),
		}
		use := 1.0
		if r.Max > 0 {
			use = float64(r.Used) / float64(r.Max)
		}
		st.Use = max(st.Use, use)
	}
}

// view is the number that a share sees.
func (w *Window) view(share string) int64 {
	for _, r := range w.Reserve {
		if r.Share == share {
			return w.Max
		}
	}
	return w.most(share)
}

// seconds rounds up; below zero stays -1.
func seconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return int64((d + time.Second - 1) / time.Second)
}

func (l *Limiter) contributorsOf(g *Budget, said []WindowResult) []string {
	if r := l.Limits().rule(g.Limit); r == nil || !r.shared {
		return nil
	}
	return l.top.Names(g.Limit, g.Key, said[countedAt(g.Windows)].Used, l.now())
}

func (f *Filter) match(r *rule, parts []part) bool {
	for _, d := range Dimensions() {
		want := part{d, *f.Of(d)}
		if want.value == "" || d == PerSender {
			continue
		}
		if want.d == PerClientIP {
			want.value = string(appendClientIP(nil, want.value))
		}
		if !slices.Contains(parts, want) {
			return false
		}
	}
	return f.Sender == "" || matchSender(r, parts, f.Sender)
}

func matchSender(r *rule, parts []part, of mail.Identity) bool {
	of = r.sender(of)
	sender, domain := string(of), of.Domain()
	for _, p := range parts {
		switch p.d {
		case PerSender:
			own := strings.TrimPrefix(p.value, "@")
			parent, below := strings.CutPrefix(own, "*.")
			shared := own != p.value && (own == domain || below && strings.HasSuffix(domain, "."+parent))
			if p.value == sender || shared {
				return true
			}
		case PerSenderDomain:
			if p.value == domain {
				return true
			}
		}
	}
	return false
}

// KeyOf is the key that a limit counts a transaction on, for Reset and Allow. f needs only
// what the limit counts on. The error says what is missing, or that there is no such limit.
func (l *Limiter) KeyOf(limit string, f Facts, recipientDomain string) (string, error) {
	rs := l.Limits()
	r := rs.rule(limit)
	if r == nil {
		return "", rs.unknown(limit)
	}
	rs.complete(&f)
	to := Recipient{Provider: f.Provider}
	if recipientDomain != "" {
		to.Domain = rs.env.domainName(recipientDomain)
	}
	if r.perDomain && to.Domain == "" {
		return "", fmt.Errorf("limit %q counts per %s; name the recipient domain", limit, r.cfg.Per)
	}
	for _, d := range r.dims {
		if d == PerClient && f.Client == "" || d == PerSender && f.Sender == "" || d == PerSenderDomain && f.SenderDomain == "" {
			return "", fmt.Errorf("limit %q counts per %s; name the %s", limit, r.cfg.Per, Per{d})
		}
	}
	parts := r.parts(nil, &f, r.sender(f.Sender), r.place(&to))
	if len(parts) == 0 {
		return "", fmt.Errorf("limit %q counts per %s, which is not all named, and skips mail without; name it", limit, r.cfg.Per)
	}
	if parts[0].d == PerClient && f.Client == "" {
		return "", fmt.Errorf("limit %q counts per %s, and else per client; name one of them", limit, r.cfg.Per)
	}
	return string(r.key(parts, r.find(parts))), nil
}

// complete puts what an operator has written into the form that keys have, and
// fills in the sender's domain where the sender alone is named.
func (rs *Limits) complete(f *Facts) {
	folded := rs.fold(Filter{User: f.User, Submitter: f.Submitter, Sender: f.Sender, SenderDomain: f.SenderDomain})
	f.User, f.Submitter, f.Sender, f.SenderDomain = folded.User, folded.Submitter, folded.Sender, folded.SenderDomain
	if f.SenderDomain == "" {
		f.SenderDomain = f.Sender.Domain()
	}
}

// fold puts what an operator has written into the form that keys have.
func (rs *Limits) fold(f Filter) Filter {
	if f.Sender != "" {
		f.Sender = rs.env.identity(f.Sender)
	}
	f.Submitter = rs.env.foldSubmitter(f.Submitter)
	if f.User != "" {
		f.User = mail.User(f.User, rs.env.Parse)
	}
	f.SenderDomain, f.RecipientDomain = rs.env.domainName(f.SenderDomain), rs.env.domainName(f.RecipientDomain)
	return f
}

// completeRecipient does for a recipient what complete does for the rest.
func (rs *Limits) completeRecipient(to Recipient) Recipient {
	if a, err := mail.ParseAddress(string(to.Address), rs.env.Parse); err == nil {
		to.Address = a.RecipientID()
		to.Domain = cmp.Or(to.Domain, a.Domain)
	}
	to.Domain = rs.env.domainName(to.Domain)
	return to
}

// key writes the key of parts; an override that is shared puts its pattern in
// place of the sender.
func (r *rule) key(parts []part, n *numbers) (key []byte) {
	for _, p := range parts {
		if p.d == PerSender && n.key != "" {
			p.value = n.key
		}
		key = appendPart(key, 0, p.d, p.value)
	}
	return key
}

// Reset forgets the counts of one key, and returns what they were. Temporary overrides
// stay. The error says that there is no such limit, that key is not a key, or is the
// store's.
func (l *Limiter) Reset(ctx context.Context, limit, key string) (Usage, error) {
	key = l.Limits().canonicalKey(limit, key)
	st, err := l.state(ctx, limit, key)
	if err != nil {
		return st, err
	}
	l.top.Forget(limit, key)
	return st, l.store.Reset(ctx, limit, key)
}

// state peeks at one key.
func (l *Limiter) state(ctx context.Context, limit, key string) (Usage, error) {
	s := shower{ctx: ctx, l: l, rules: l.Limits(), n: MaxStates}
	r := s.rules.rule(limit)
	if r == nil {
		return Usage{}, s.rules.unknown(limit)
	}
	parts, ok := parseKey(key)
	if !ok {
		return Usage{}, fmt.Errorf(`%q is no key; write it as limits show does, as "sender=news@example.org"`, key)
	}
	s.peek(r, r.find(parts), key, "")
	s.flush()
	if s.err != nil || len(s.states) == 0 {
		return Usage{Limit: limit, Key: key}, s.err
	}
	return s.states[0], nil
}

var errReason = errors.New("no reason is given; say why, for those who find the allowance later")

// Allow gives a key more room until r.Until, at most MaxWindow from now, or takes a
// temporary override back when r.Add is 0. The override is kept in the store, replaces an
// earlier one of the same limit, key, unit and window, and ends by itself. It needs a
// Reason; Made is filled in. The error is about r or the store's; an error of the store
// does not say that nothing was changed.
func (l *Limiter) Allow(ctx context.Context, r Allowance) (Allowance, error) {
	r.Made = l.now().UTC().Truncate(time.Second)
	r.Until = r.Until.UTC()
	r.Key = l.Limits().canonicalKey(r.Limit, r.Key)
	if err := l.checkAllowance(&r); err != nil {
		return r, err
	}
	if err := l.store.SetAllowance(ctx, r); err != nil {
		return r, err
	}
	return r, l.Refresh(ctx)
}

func (l *Limiter) checkAllowance(r *Allowance) error {
	rs := l.Limits()
	rule := rs.rule(r.Limit)
	if rule == nil {
		return rs.unknown(r.Limit)
	}
	parts, ok := parseKey(r.Key)
	if !ok {
		return fmt.Errorf(`%q is no key; write it as limits show does, as "sender=news@example.org"`, r.Key)
	}
	fits := func(w Window) bool { return w.Unit == r.Unit && (r.Window == 0 || r.Window == w.Length) }
	switch {
	case !slices.ContainsFunc(rule.find(parts).windows, fits):
		return fmt.Errorf("limit %q has no number of %s in such a window for %s", r.Limit, r.Unit.Words(), r.Key)
	case r.Add < 0 || r.Add > MaxNumber:
		return fmt.Errorf("an allowance of %d; it is from 1 to %d", r.Add, int64(MaxNumber))
	case r.Add == 0:
		return nil
	case !r.Until.After(l.now()):
		return fmt.Errorf("the allowance would have ended at %s; choose a time to come", r.Until.Format(time.RFC3339))
	case r.Until.Sub(l.now()) > MaxWindow:
		return fmt.Errorf("the allowance would last over %s; change the limit in the configuration", FormatWindow(MaxWindow))
	case strings.TrimSpace(r.Reason) == "":
		return errReason
	}
	return nil
}

// WarmupPrefix begins the names under which package warmup keeps its counts and steps;
// no [limit.NAME] can have it.
const WarmupPrefix = "warmup:"

// Allowances lists the temporary overrides that have not ended, by limit and key.
func (l *Limiter) Allowances(ctx context.Context) ([]Allowance, error) {
	allowances, err := l.store.Allowances(ctx)
	allowances = slices.DeleteFunc(allowances, func(r Allowance) bool { return strings.HasPrefix(r.Limit, WarmupPrefix) })
	slices.SortFunc(allowances, func(a, b Allowance) int {
		return cmp.Or(cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Window, b.Window))
	})
	return allowances, err
}
