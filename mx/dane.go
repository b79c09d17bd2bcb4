package mx

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// TLSA is what DANE (RFC 7672) asks of a host: TLS, and where Records holds any, a
// certificate that one of them fits.
type TLSA struct {
	// Base is the name at which the records stand, and that is asked for by SNI.
	Base string
	// Names are those that a certificate of an authority in Records may be for.
	Names   []string
	Records []*dns.TLSA // the usable ones
}

// maxTLSA is how many records of a host count.
const maxTLSA = 24

// ErrNotKnown: whether a host has TLSA records could not be found out. It must not be
// taken for a host without any.
var ErrNotKnown = errors.New("TLSA records are not known")

// ErrNoFit is wrapped by the error of TLSA.Verify where no TLSA record of the host fits its
// certificate.
var ErrNoFit = errors.New("no TLSA record fits the certificate")

// TLSA says what DANE asks of a target of a domain; nil where it asks for nothing.
// The error is ErrNotKnown: then nothing may be sent there.
func (f *Finder) TLSA(ctx context.Context, domain string, t Target) (*TLSA, error) {
	if f.cfg.DANE == DANEOff || !t.Secure {
		return nil, nil
	}
	// RFC 7672 s. 2.2.2: the name behind all aliases comes first.
	for _, base := range slices.Compact([]string{t.canonical, t.Host}) {
		if base == "" {
			continue
		}
		a := f.resolver.Ask(ctx, tlsaName(t.Address.Port(), base), dns.TypeTLSA)
		switch {
		case a.State == resolve.Fault:
			return nil, fmt.Errorf("%w: %s: %w", ErrNotKnown, base, a.Err)
		case a.State == resolve.Found && a.Secure:
			return &TLSA{Base: base, Names: slices.Compact([]string{base, t.Host, domain}), Records: usable(a.RRs)}, nil
		}
	}
	return nil, nil
}

// tlsaName is where the records of a host stand (RFC 6698 s. 3).
func tlsaName(port uint16, host string) string { return fmt.Sprintf("_%d._tcp.%s", port, host) }

// usable are the records of RFC 7672 s. 3.1 that can be checked; usages 0 and 1 are
// none of SMTP's.
func usable(rrs []dns.RR) (all []*dns.TLSA) {
	for _, rr := range rrs {
		r, ok := rr.(*dns.TLSA)
		if !ok || r.Usage != 2 && r.Usage != 3 || r.Selector > 1 || len(all) == maxTLSA {
			continue
		}
		octets, err := hex.DecodeString(r.Certificate)
		if want, known := map[uint8]int{0: len(octets), 1: 32, 2: 64}[r.MatchingType]; err == nil && known && len(octets) == want && want > 0 {
			all = append(all, r)
		}
	}
	return all
}

// Key is a text that is the same for the same records and names.
func (t *TLSA) Key() string {
	var words []string
	for _, r := range t.Records {
		words = append(words, fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.MatchingType, strings.ToLower(r.Certificate)))
	}
	slices.Sort(words)
	sum := sha256.Sum256([]byte(strings.Join(words, "\n") + "\n\n" + strings.Join(t.Names, "\n")))
	return hex.EncodeToString(sum[:])
}

// Verify checks whether the certificates of a connection fit one of the records. With usage
// 3 neither name nor date counts; with usage 2 both do (RFC 7672 s. 3.1). The error wraps
// ErrNoFit where the host showed a certificate.
func (t *TLSA) Verify(state tls.ConnectionState) error {
	chain := state.PeerCertificates
	if len(chain) == 0 {
		return errors.New("DANE: no certificate")
	}
	for _, r := range t.Records {
		if r.Usage == 3 && r.Verify(chain[0]) == nil || r.Usage == 2 && t.anchored(r, chain) {
			return nil
		}
	}
	return fmt.Errorf("DANE: %w", ErrNoFit)
}

// anchored reports whether the chain leads to the authority of a record, for one of
// the names.
func (t *TLSA) anchored(r *dns.TLSA, chain []*x509.Certificate) bool {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range chain[1:] {
		if r.Verify(c) == nil {
			roots.AddCert(c)
		} else {
			others.AddCert(c)
		}
	}
	if r.Selector == 0 && r.MatchingType == 0 { // the record holds the whole authority
		if der, err := hex.DecodeString(r.Certificate); err == nil {
			if c, err := x509.ParseCertificate(der); err == nil {
				roots.AddCert(c)
			}
		}
	}
	return slices.ContainsFunc(t.Names, func(name string) bool {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: name})
		return err == nil
	})
}
