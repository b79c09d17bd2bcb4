package sts

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// use is what the policies of some domains take.
type use struct{ domains, octets int }

func (u *use) add(e *entry, n int) { u.domains, u.octets = u.domains+n, u.octets+n*e.octets }

func (u *use) over(domains, octets int) bool { return u.domains > domains || u.octets > octets }

// shelf keeps policies by domain within bounds. Where there is no room it forgets others: of
// the same owner where he has had his part, else of the owners who have the most. Whoever
// owns a domain can have any number of policies below it, each as large as may be, and the
// loss of that of another domain would take its protection away.
type shelf struct {
	of     map[string]*entry // by domain
	owners map[string]*use
	all    use
}

func newShelf() shelf { return shelf{of: map[string]*entry{}, owners: map[string]*use{}} }

// put files a policy.
func (s *shelf) put(domain string, e *entry, now time.Time) {
	s.drop(domain)
	s.of[domain] = e
	s.all.add(e, 1)
	if s.owners[e.owner] == nil {
		s.owners[e.owner] = &use{}
	}
	own := s.owners[e.owner]
	for own.add(e, 1); own.domains > 1 && own.over(ownerKept, ownerOctets); {
		s.drop(s.oldest(e.owner, domain))
	}
	if s.all.over(maxKept, maxOctets) {
		s.makeRoom(domain, now)
	}
}

// drop forgets a policy, where there is one.
func (s *shelf) drop(domain string) {
	e := s.of[domain]
	if e == nil {
		return
	}
	delete(s.of, domain)
	s.all.add(e, -1)
	if own := s.owners[e.owner]; own.domains > 1 {
		own.add(e, -1)
	} else {
		delete(s.owners, e.owner)
	}
}

// oldest is the domain of an owner, but for the newest one, whose policy was fetched first.
func (s *shelf) oldest(owner, newest string) (domain string) {
	for d, e := range s.of {
		if e.owner == owner && d != newest && (domain == "" || e.Fetched.Before(s.of[domain].Fetched)) {
			domain = d
		}
	}
	return domain
}

// makeRoom forgets what has ended; where that is not enough, what does not enforce
// anything, and then a tenth, of the owners who have the most.
func (s *shelf) makeRoom(newest string, now time.Time) {
	kept := slices.Collect(maps.Keys(s.of))
	weight := func(domain string) int {
		own := s.owners[s.of[domain].owner]
		return max(own.octets*maxKept/maxOctets, own.domains)
	}
	forget := func(which func(e *entry) bool) {
		kept = slices.DeleteFunc(kept, func(d string) bool {
			out := d != newest && s.all.over(maxKept*9/10, maxOctets*9/10) && which(s.of[d])
			if out {
				s.drop(d)
			}
			return out
		})
	}
	forget(func(e *entry) bool { return !e.valid(now) })
	if !s.all.over(maxKept, maxOctets) {
		return
	}
	weights := map[string]int{}
	for _, d := range kept {
		weights[d] = weight(d)
	}
	slices.SortFunc(kept, func(a, b string) int { return cmp.Compare(weights[b], weights[a]) })
	forget(func(e *entry) bool { return e.Mode != Enforce })
	forget(func(*entry) bool { return true })
}
