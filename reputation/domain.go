package reputation

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// DomainVerdict says whether a domain takes mail.
type DomainVerdict int

// Verdicts on a domain.
const (
	TakesMail DomainVerdict = iota // or nothing is known: a fault of DNS never refuses
	NullMX                         // it says that it takes none (RFC 7505)
	NoDomain                       // it does not exist, or has neither MX nor address
)

// Checker judges the domains of recipients. It is safe for concurrent use.
type Checker struct{ resolver *resolve.Resolver }

// NewChecker makes a checker over a resolver, whose cache it uses.
func NewChecker(r *resolve.Resolver) *Checker { return &Checker{r} }

// Check judges a domain in A-labels. An address literal takes mail. It never fails: see
// TakesMail.
func (c *Checker) Check(ctx context.Context, domain string) DomainVerdict {
	if domain == "" || strings.HasPrefix(domain, "[") {
		return TakesMail
	}
	a := c.resolver.Ask(ctx, domain, dns.TypeMX)
	switch a.State {
	case resolve.NoName:
		return NoDomain
	case resolve.Found:
		if resolve.IsNullMX(resolve.Exchangers(a.RRs)) {
			return NullMX
		}
		return TakesMail
	case resolve.NoData: // RFC 5321 s. 5.1: its address takes the mail, if there is one
		if s := c.resolver.Hosts(ctx, domain).State; s == resolve.NoData || s == resolve.NoName {
			return NoDomain
		}
	}
	return TakesMail
}
