package node

import "postern/internal/admin"

// tlsUse is how TLS with receivers went, by upstream.
func (r *ruleset) tlsUse() []admin.TLSUse {
	all := []admin.TLSUse{}
	for _, name := range sortedNames(r.direct) {
		u := admin.TLSUse{Upstream: name, Counts: []admin.TLSCount{}}
		for _, c := range r.direct[name].TLSCounts() {
			u.Counts = append(u.Counts, admin.TLSCount{Policy: string(c.Policy), Result: c.Result, Sessions: c.Sessions})
		}
		u.Reported, u.Lost = r.direct[name].TLSReports()
		all = append(all, u)
	}
	return all
}
