package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
	"postern/internal/text"
)

// mx checks that a sender domain can get replies and delivery reports.
func (p *Preflight) mx(ctx context.Context, d DomainIdentity) {
	f := Finding{Check: "mx", Status: Pass, Subject: d.Name, Asked: "MX " + d.Name, Rule: "RFC 5321 s. 5.1"}
	a := p.resolver.Ask(ctx, d.Name, dns.TypeMX)
	if a.State == resolve.Fault {
		p.add(unknown("mx", d.Name, "", f.Asked, a))
		return
	}
	mxs := resolve.Exchangers(a.RRs)
	switch {
	case resolve.IsNullMX(mxs):
		f.Status, f.Seen, f.Rule = Fail, "MX 0 . (takes no mail)", "RFC 7505 s. 4.2"
		f.Change = "receivers may refuse mail from a domain that takes none: publish an MX, or send as another domain"
		f.Record = p.mxRecord(ctx, d.Name)
	case len(mxs) == 0:
		p.implicitMX(ctx, &f, d, a)
	default:
		p.judgeMX(ctx, &f, d, mxs)
	}
	p.add(f)
}

func (p *Preflight) implicitMX(ctx context.Context, f *Finding, d DomainIdentity, a resolve.Answer) {
	f.Asked += ", then A and AAAA"
	hosts := p.resolver.Hosts(ctx, d.Name)
	f.Record = p.mxRecord(ctx, d.Name)
	switch hosts.State {
	case resolve.Fault:
		*f = unknown("mx", d.Name, "", f.Asked, hosts)
	case resolve.Found:
		f.Status, f.Seen = Warn, "no MX, but "+joinAddresses(resolve.Addresses(hosts.RRs))
		f.Change = "publish an MX that names the host for its mail: without one, replies go to the host of that name"
	default:
		f.Status, f.Seen = Fail, seenNothing(a)
		f.Change = "publish an MX that names the host for its mail: replies and delivery reports cannot be delivered, and receivers refuse such senders"
	}
}

func (p *Preflight) judgeMX(ctx context.Context, f *Finding, d DomainIdentity, mxs []*dns.MX) {
	var names, usable, aliases []string
	var doubt *resolve.Answer
	for _, m := range mxs[:min(len(mxs), 10)] {
		host := strings.TrimSuffix(m.Mx, ".")
		names = append(names, fmt.Sprintf("%d %s.", m.Preference, host))
		if host == "" {
			continue
		}
		a := p.resolver.Hosts(ctx, host)
		switch {
		case a.State == resolve.Fault:
			doubt = &a
		case a.State == resolve.Found && len(a.Aliases) > 0:
			aliases = append(aliases, host)
			usable = append(usable, host)
		case a.State == resolve.Found:
			usable = append(usable, host)
		}
	}
	f.Seen = strings.Join(names, ", ")
	switch {
	case slices.ContainsFunc(mxs, func(m *dns.MX) bool { return m.Mx == "." }):
		f.Status, f.Rule = Fail, "RFC 7505 s. 3"
		f.Change = "take out the null MX: it may only stand alone"
	case len(usable) == 0 && doubt != nil:
		*f = unknown("mx", d.Name, "", f.Asked+", then their addresses", *doubt)
	case len(usable) == 0:
		f.Status = Fail
		f.Seen += ", none of which has an address"
		f.Change = "publish an MX that resolves"
		f.Record = p.mxRecord(ctx, d.Name)
	case len(aliases) > 0:
		f.Status, f.Rule = Warn, "RFC 2181 s. 10.3"
		f.Seen += "; a CNAME: " + strings.Join(aliases, ", ")
		f.Change = "name a host that is no CNAME"
	}
}

// mxRecord is an MX for mail.DOMAIN, "" when there is no such host: which one
// takes the mail is then the operator's to say.
func (p *Preflight) mxRecord(ctx context.Context, domain string) string {
	if p.resolver.Hosts(ctx, "mail."+domain).State != resolve.Found {
		return ""
	}
	return domain + ". IN MX 10 mail." + domain + "."
}

// upstream checks that a host resolves, and its certificate.
func (p *Preflight) upstream(ctx context.Context, u UpstreamIdentity) {
	subject := net.JoinHostPort(u.Host, strconv.Itoa(u.Port))
	var at []netip.Addr
	if ip, err := netip.ParseAddr(u.Host); err == nil {
		at = []netip.Addr{ip}
	} else {
		var f Finding
		at, f = p.resolveUpstream(ctx, u, subject)
		p.add(f)
	}
	if u.Probe != nil && len(at) > 0 {
		p.probeUpstream(ctx, u, subject, at)
	}
}

func (p *Preflight) resolveUpstream(ctx context.Context, u UpstreamIdentity, subject string) ([]netip.Addr, Finding) {
	f := Finding{Check: "upstream", Status: Pass, Subject: subject, Asked: "A and AAAA " + u.Host, Rule: "RFC 5321 s. 5.1"}
	a := p.resolver.Hosts(ctx, u.Host)
	if a.State == resolve.Found {
		f.Seen = joinAddresses(resolve.Addresses(a.RRs))
		return resolve.Addresses(a.RRs), f
	}
	if u.System != nil {
		if at, err := u.System(ctx, u.Host); err == nil && len(at) > 0 {
			f.Seen = joinAddresses(at) + " by the system's own look-up"
			return at, f
		}
	}
	if a.State == resolve.Fault {
		return nil, unknown("upstream", subject, "", f.Asked, a)
	}
	f.Status, f.Seen = Fail, seenNothing(a)
	f.Change = fmt.Sprintf("write the right host in [upstream.%s], or publish its address", u.Name)
	return nil, f
}

func (p *Preflight) probeUpstream(ctx context.Context, u UpstreamIdentity, subject string, at []netip.Addr) {
	f := Finding{Check: "certificate", Status: Pass, Subject: "upstream " + subject, Asked: "TLS with " + subject, Rule: "RFC 5280 s. 4.1.2.5"}
	view, err := u.Probe(ctx, at)
	switch {
	case err != nil:
		f.Status, f.Seen = Unknown, "no answer: "+err.Error()
		f.Change = "nothing yet: try again, and look at the host when it stays so"
	case view.Problem != "":
		f.Status, f.Seen = Fail, view.Problem
		f.Change = fmt.Sprintf("have the certificate renewed, or mend host, server_name or ca in [upstream.%s]", u.Name)
	case view.Leaf == nil:
		f.Status, f.Seen = Warn, "no TLS offered"
		f.Change = "use an upstream that encrypts"
		f.Rule = "RFC 8314 s. 3"
	default:
		p.judgeExpiry(&f, view.Leaf, "have its operator renew it")
	}
	p.add(f)
}

// certificate checks one of ours.
func (p *Preflight) certificate(c CertificateIdentity) {
	f := Finding{Check: "certificate", Status: Pass, Subject: c.Where, Asked: "the certificate file", Rule: "RFC 5280 s. 4.1.2.5"}
	if c.Err != nil {
		f.Status, f.Seen = Fail, c.Err.Error()
		f.Change = "write a certificate and a key that belong together"
	} else {
		p.judgeExpiry(&f, c.Leaf, "renew it")
	}
	p.add(f)
}

func (p *Preflight) judgeExpiry(f *Finding, leaf *x509.Certificate, change string) {
	left := leaf.NotAfter.Sub(p.now())
	f.Seen = "valid until " + leaf.NotAfter.UTC().Format(time.DateTime)
	switch {
	case left <= 0:
		f.Status, f.Change = Fail, change
		f.Seen = "expired on " + leaf.NotAfter.UTC().Format(time.DateTime)
	case leaf.NotBefore.After(p.now()):
		f.Status, f.Change = Fail, "mend the clock, or take a certificate that is valid now"
		f.Seen = "not valid before " + leaf.NotBefore.UTC().Format(time.DateTime)
	case left < certificateDays:
		f.Status, f.Change = Warn, change
		f.Seen += ", in " + text.Count(int(left.Hours()/24), "day", "days")
	}
}
