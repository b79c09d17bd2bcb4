package ratelimit

import (
	"net/netip"
	"slices"
	"strings"
)

// networks are those that a limit names; nil are none.
type networks struct {
	all     map[netip.Prefix]bool
	lengths []int // of all, each once
}

func newNetworks(list []netip.Prefix) *networks {
	if len(list) == 0 {
		return nil
	}
	n := &networks{all: map[netip.Prefix]bool{}}
	for _, p := range list {
		if n.all[p.Masked()] = true; !slices.Contains(n.lengths, p.Bits()) {
			n.lengths = append(n.lengths, p.Bits())
		}
	}
	return n
}

// hold reports whether an address lies in one; an invalid one lies in none.
func (n *networks) hold(a netip.Addr) bool {
	for _, bits := range n.lengths {
		if p, err := a.Prefix(bits); err == nil && n.all[p] {
			return true
		}
	}
	return false
}

// from is the address that a mail comes from, invalid where nobody knows it: that of
// the client's connection, and where the client tells submitters, theirs as it tells
// it, for its own says nothing of where they are.
func (f *Facts) from() netip.Addr {
	text := f.ClientIP
	if f.Tells {
		text = f.SubmitterIP
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// placed reports whether mail from there is the limit's to count.
func (r *rule) placed(f *Facts) bool {
	if r.in == nil && r.notIn == nil || f.Anywhere {
		return true
	}
	from := f.from()
	return (r.in == nil || r.in.hold(from)) && (r.notIn == nil || !r.notIn.hold(from))
}

// whyNotThere says which networks keep a limit from counting a mail.
func (r *rule) whyNotThere(f *Facts) string {
	why := "does not count mail from " + words(r.cfg.NotNetworks)
	if r.in != nil && !r.in.hold(f.from()) {
		why = "is for mail from " + words(r.cfg.Networks) + " only"
	}
	if !f.from().IsValid() {
		why += ", and it is not known from where this comes"
	}
	return why
}

func words(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}
