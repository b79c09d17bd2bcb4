package ruleset

import (
	"maps"
	"slices"

	"postern/internal/admin"
)

// TLSUse is how TLS with receivers went, by upstream.
func (r *Set) TLSUse() []admin.TLSUse {
	all := []admin.TLSUse{}
	for _, name := range slices.Sorted(maps.Keys(r.Direct)) {
		u := admin.TLSUse{Upstream: name, Counts: []admin.TLSCount{}}
		for _, c := range r.Direct[name].TLSCounts() {
			u.Counts = append(u.Counts, admin.TLSCount{Policy: string(c.Policy), Result: c.Result, Sessions: c.Sessions})
		}
		u.Reported, u.Lost = r.Direct[name].TLSReports()
		all = append(all, u)
	}
	return all
}
