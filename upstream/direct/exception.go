package direct

import (
	"context"

	"postern/mx"
	"postern/mx/provider"
	"postern/upstream"
)

// exception is what the configuration says of one recipient domain.
type exception struct {
	tls       upstream.TLSPolicy // "": as the upstream and the group have it
	hosts     []mx.Host          // none: those of DNS
	sts, tlsa bool               // policies of MTA-STS, TLSA records are heeded
}

// exceptionsOf are those of a configuration by domain.
func exceptionsOf(cfg *upstream.Config) map[string]exception {
	all := map[string]exception{}
	for domain, e := range cfg.Domain {
		all[domain] = exception{tls: e.TLS, hosts: e.Named(), sts: e.MTASTS, tlsa: e.DANE != mx.DANEOff}
	}
	return all
}

// exception is that of a domain, else what holds for all others.
func (u *Upstream) exception(domain string) exception {
	if e, ok := u.exceptions[domain]; ok {
		return e
	}
	return exception{sts: true, tlsa: true}
}

// find says who takes mail for the transaction's domain.
func (t *Transaction) find(ctx context.Context) (mx.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, t.u.cfg.FindTimeout)
	defer cancel()
	families := t.u.cfg.Families(t.route.SourceIPs)
	if hosts := t.u.exception(t.domain).hosts; len(hosts) > 0 {
		return t.u.finder.FindNamed(ctx, t.domain, hosts, families)
	}
	return t.u.finder.Find(ctx, t.domain, families)
}

// wants is what must be of TLS with a host, but for what its domain asks for by
// policies.
func (p *pool) wants(l level) upstream.TLSPolicy {
	switch {
	case l.own != "":
		return l.own
	case p.cfg.TLS == upstream.EncryptOpportunistic && l.group != "":
		return upstream.TLSPolicy(l.group)
	case l.group == provider.Verified:
		return upstream.EncryptVerified
	}
	return p.cfg.TLS
}
