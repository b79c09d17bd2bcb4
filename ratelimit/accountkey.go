package ratelimit

import (
	"cmp"
	"slices"

	"postern/mail"
)

// budget finds or makes the budget that concern i has for a recipient; -1 when the
// limit does not count this mail.
func (a *Account) budget(i int, to *Recipient) int {
	c := &a.concern[i]
	if !c.rule.perRecipient() {
		if c.budget == -1 {
			c.budget = a.open(c, place{})
		}
		return c.budget
	}
	at := c.rule.place(to)
	for j := range a.budgets {
		if a.budgets[j].rule == c.rule && a.budgets[j].place == at {
			return j
		}
	}
	return a.open(c, at)
}

// skipped is the result of open where the limit does not count the mail.
const skipped = -2

func (a *Account) open(c *concern, at place) int {
	a.parts = c.rule.parts(a.parts[:0], &a.facts, c.sender, at)
	if len(a.parts) == 0 {
		return skipped
	}
	n := c.rule.find(a.parts)
	if len(n.windows) == 0 {
		return skipped // only overrides have numbers, and none is for this key
	}
	start := len(a.keys)
	for _, p := range a.parts {
		if p.d == PerSender && n.key != "" {
			p.value = n.key
		}
		a.keys = appendPart(a.keys, start, p.d, p.value)
	}
	if b := a.revive(c.rule, a.keys[start:], n.windows); b >= 0 {
		return b
	}
	a.budgets = append(a.budgets, account{
		Budget: Budget{
			Limit: c.rule.name, Key: a.keys[start:len(a.keys):len(a.keys)],
			Share: c.rule.share(a.facts.Stream), Windows: n.windows,
			Shadow: c.rule.shadow(&a.facts), OnFailure: c.rule.cfg.OnStoreFailure,
		},
		rule: c.rule, place: at, batch: -1,
		shared:  n.key != "" || !slices.Contains(c.rule.dims, PerSender),
		results: a.makeResults(len(n.windows)),
	})
	return len(a.budgets) - 1
}

// makeResults cuts n results from the arena. A part that was cut before keeps
// its memory when the arena grows.
func (a *Account) makeResults(n int) []WindowResult {
	from := len(a.results)
	for range n {
		a.results = append(a.results, WindowResult{})
	}
	return a.results[from:len(a.results):len(a.results)]
}

// parts appends the parts of the key that the limit counts this mail on, or
// nothing when it does not count it.
func (r *rule) parts(parts []part, f *Facts, sender mail.Identity, at place) []part {
	absent, null := false, false
	for _, d := range r.dims {
		value := ""
		switch d {
		case PerSender:
			if value = string(sender); value == "" {
				value = nullSender
			}
		case PerRecipientDomain:
			value = at.domain
		case PerProvider:
			value = cmp.Or(at.provider, f.Provider)
		default:
			value = f.value(d)
		}
		if value == "" {
			absent = true
			continue
		}
		null = null || value == nullSender && (d == PerSender || d == PerSenderDomain)
		parts = append(parts, part{d, value})
	}
	if absent && r.cfg.Absent == AbsentSkip {
		return parts[:0]
	}
	// The null sender is nobody's own: clients must not share its budget.
	if (absent || null) && !slices.Contains(r.dims, PerClient) {
		parts = slices.Insert(parts, 0, part{PerClient, f.value(PerClient)})
	}
	return parts
}

// perWords says what the key counts on, where that is not what the limit says.
func (st *account) perWords() string {
	parts, ok := parseKey(string(st.Key))
	if !ok {
		return st.rule.cfg.Per.String()
	}
	var per Per
	for _, p := range parts {
		per = append(per, p.d)
	}
	return per.String()
}
