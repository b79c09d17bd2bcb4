package outlier

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Policy is a table [outlier.policy.NAME]: how the mail of clients is watched that name it
// in their key watch. What is blank is as in [outlier].
type Policy struct {
	// Mode replaces the mode: "exempt", "shadow" or "enforce". Blank: that of
	// [outlier].
	Mode Mode `toml:"mode"`
	// Sensitivity multiplies scores beside that of [outlier]; 0.1 to 10. Default: 1.
	Sensitivity float64 `toml:"sensitivity"`
	// Spam replaces spam. Blank: that of [outlier].
	Spam Verdicts `toml:"spam"`
}

// SetDefaults fills p with the documented defaults.
func (p *Policy) SetDefaults() { *p = Policy{Sensitivity: 1} }

// Check reports every problem of the table.
func (p *Policy) Check(report func(key, problem string)) {
	between(report, "sensitivity", p.Sensitivity, 0.1, 10)
}

// Policies that are there without a table.
const (
	watchNone     = "none"
	watchStandard = "standard"
	watchStrict   = "strict"
)

// policyOf is the policy of that name; false for none.
func (c *Config) policyOf(name string) (Policy, bool) {
	if p, ok := c.Policy[name]; ok {
		return p, true
	}
	switch name {
	case watchNone:
		return Policy{Mode: Exempt, Sensitivity: 1}, true
	case "", watchStandard:
		return Policy{Sensitivity: 1}, true
	case watchStrict:
		return Policy{Sensitivity: 1.5, Spam: c.StrictSpam()}, true
	}
	return Policy{}, false
}

// StrictSpam is the plain rule of the policy "strict": two messages in ten minutes, or what
// c has for all where that is stricter.
func (c *Config) StrictSpam() Verdicts {
	strict := Verdicts{N: 2, Window: 10 * time.Minute}
	if c.Spam.N > 0 && c.Spam.N <= strict.N && c.Spam.Window >= strict.Window {
		return c.Spam
	}
	return strict
}

// KnownWatch says what is wrong with a name of watch; "" for nothing.
func (c *Config) KnownWatch(name string) (problem string) {
	if _, ok := c.policyOf(name); ok {
		return ""
	}
	known := append([]string{watchNone, watchStandard, watchStrict}, slices.Sorted(maps.Keys(c.Policy))...)
	return fmt.Sprintf("there is no [outlier.policy.%s]; write that table, or one of %s", name, strings.Join(known, ", "))
}

// policy is that of a client.
func (r *rules) policy(client string) Policy {
	name := r.Watch[client]
	if name == "" && len(r.Policy) == 0 {
		return Policy{Sensitivity: 1} // as most
	}
	p, ok := r.policyOf(name)
	if !ok {
		p = Policy{Sensitivity: 1}
	}
	return p
}

// verdicts is the plain rule on verdicts for a client.
func (r *rules) verdicts(client string) Verdicts {
	if v := r.policy(client).Spam; v.N > 0 {
		return v
	}
	return r.Spam
}
