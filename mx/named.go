package mx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Host is a host that the operator names for a domain. Name is a host name or an address.
type Host struct {
	Name string
	Port uint16
}

// errNamed: the hosts that the operator names for a domain have no address that mail
// may be sent to. Mail waits until somebody corrects it.
var errNamed = errors.New("none of the hosts that the configuration names has an address that mail may be sent to")

// FindNamed is Find for a domain whose mail goes to hosts that the operator names, in this
// order, whatever its MX records say. Their addresses are judged like all others. There is
// no Problem, for the owner of the domain has no part in it: where none of the hosts has an
// address to which mail may go, that is an error.
func (f *Finder) FindNamed(ctx context.Context, domain string, hosts []Host, families Families) (Answer, error) {
	a := Answer{Domain: domain, Named: true}
	f.resolver.Probe(ctx)
	for i, h := range hosts {
		e := Exchanger{Name: h.Name, Preference: uint16(i), Ours: f.self.hasName(h.Name), Secure: true, port: h.Port}
		if ip, err := netip.ParseAddr(h.Name); err == nil {
			e.Name, e.Secure = "["+h.Name+"]", false
			e.add(f.judge(domain, ip.Unmap(), h.Port))
		}
		a.Exchangers, a.Hosts = append(a.Exchangers, e), append(a.Hosts, e.Name)
	}
	f.lookUp(ctx, &a, families)
	if a.Targets = f.targets(a.Exchangers); len(a.Targets) > 0 {
		return a, nil
	}
	if err := f.explain(ctx, &a, families); err != nil {
		return a, err
	}
	a.Problem = None
	return a, fmt.Errorf("%w: %v", errNamed, a.Hosts)
}
