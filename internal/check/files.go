package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"postern/dkimsign"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/relay/smtpd"
	"postern/reputation/identity"
)

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

// tryCertificates looks at each certificate that listeners and Redis show.
func tryCertificates(f *config.File, now time.Time) (all []identity.Finding) {
	for _, name := range slices.Sorted(maps.Keys(f.Listener)) {
		l := f.Listener[name]
		if l.TLS == smtpd.TLSNone {
			continue
		}
		pairs := append([]smtpd.CertificateConfig{{Certificate: l.Certificate, Key: l.Key}}, l.Certificates...)
		for i, p := range pairs {
			host := f.Hostname
			if i > 0 {
				host = "" // for names by SNI
			}
			all = append(all, certificateFinding("listener "+name+" "+p.Certificate, p.Certificate, p.Key, host, now))
		}
	}
	if f.Redis.Certificate != "" {
		all = append(all, certificateFinding("redis "+f.Redis.Certificate, f.Redis.Certificate, f.Redis.Key, "", now))
	}
	return all
}

// certificateFinding judges a pair as clients that verify will: chain, name and
// end. A blank host is any name of it.
func certificateFinding(subject, certificate, key, host string, now time.Time) identity.Finding {
	f := identity.Finding{Check: "certificate", Subject: subject, Status: identity.Fail, Asked: "chain, name and end"}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		f.Seen, f.Change = err.Error(), "name a chain in PEM, leaf first, and the key that belongs to it"
		return f
	}
	leaf, intermediates := pair.Leaf, x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(c)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	names := strings.Join(leaf.DNSNames, ", ")
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		f.Seen, f.Change = "ended "+leaf.NotAfter.Format(time.DateOnly), "renew it"
	case now.Before(leaf.NotBefore):
		f.Seen, f.Change = "begins "+leaf.NotBefore.Format(time.DateOnly), "mend the clock, or use one that is valid now"
	case host != "" && leaf.VerifyHostname(host) != nil:
		f.Status, f.Seen, f.Change = identity.Warn, fmt.Sprintf("is for %s and not for %s", cmp.Or(names, "no name"), host), "use one for the name by which clients know this host"
	case left < expiresSoon:
		f.Status, f.Seen, f.Change = identity.Warn, "ends in "+phrase.Span(left), "renew it"
	case err != nil:
		f.Status, f.Seen = identity.Warn, "no authority of this machine vouches for it: "+err.Error()
		f.Change = "put the intermediate certificates behind the leaf, unless clients know its authority otherwise"
	default:
		f.Status, f.Seen = identity.Pass, fmt.Sprintf("for %s, until %s", names, leaf.NotAfter.Format(time.DateOnly))
	}
	return f
}

// tryKeys makes one signature with each DKIM key and has go-msgauth verify it:
// against the record that is to be published or, with dns, the one that is.
func tryKeys(ctx context.Context, f *config.File, dns bool, now time.Time) (all []identity.Finding) {
	for _, domain := range slices.Sorted(maps.Keys(f.DKIM)) {
		for _, k := range f.DKIM[domain].Keys {
			cfg := f.DKIM[domain]
			cfg.Keys, cfg.RequirePublished = []dkimsign.KeyConfig{k}, dkimsign.Warn
			found := identity.Finding{Check: "dkim key", Subject: domain + "/" + k.Selector, Status: identity.Fail, Asked: "a signature, verified"}
			signers, missing, err := dkimsign.Check(map[string]dkimsign.DomainConfig{domain: cfg})
			switch {
			case err != nil:
				found.Seen, found.Change = err.Error(), "mend the key file"
			case len(missing) > 0:
				found.Status, found.Seen, found.Change = identity.Warn, k.File+" is not there yet", "start the relay once, which makes it, and publish its record"
			default:
				tryKey(ctx, f, signers, domain, dns, now, &found)
			}
			all = append(all, found)
		}
	}
	return all
}

const trialBody = "A trial.\r\n"

func tryKey(ctx context.Context, f *config.File, signers *dkimsign.Signers, domain string, dns bool, now time.Time, found *identity.Finding) {
	header := fmt.Sprintf("From: <postmaster@%s>\r\nSubject: a trial of the key\r\nDate: %s\r\nMessage-ID: <trial@%s>\r\n\r\n", domain, now.Format(time.RFC1123Z), domain)
	body := dkimsign.NewBodyHash()
	body.Write([]byte(trialBody))
	fields, _, err := signers.For(domain).Sign([]byte(header), body, now)
	if err != nil {
		found.Seen, found.Change = err.Error(), "make another key"
		return
	}
	key := signers.Keys()[0]
	name, value := key.Record()
	lookUp := func(string) ([]string, error) { return []string{value}, nil }
	where := "the record to publish"
	if dns {
		resolver := netResolver(f.Reputation.Resolvers)
		lookUp = func(name string) ([]string, error) { return resolver.LookupTXT(ctx, name) }
		where = "the record in DNS"
	}
	verdicts, err := dkim.VerifyWithOptions(strings.NewReader(string(fields)+header+trialBody), &dkim.VerifyOptions{LookupTXT: lookUp})
	if err == nil && len(verdicts) == 1 {
		err = verdicts[0].Err
	} else if err == nil {
		err = fmt.Errorf("%d signatures were found", len(verdicts))
	}
	if err != nil {
		found.Seen = fmt.Sprintf("a signature does not verify against %s: %v", where, err)
		found.Change = "publish: " + dkimsign.ZoneLine(name, value)
		var dnsErr *net.DNSError
		if errors.As(err, &dnsErr) && !dnsErr.IsNotFound {
			found.Status = identity.Unknown
		}
		return
	}
	found.Status, found.Seen = identity.Pass, "signed, and verified by go-msgauth against "+where
}

// netResolver asks the first of servers, or the system's when there is none.
func netResolver(servers []string) *net.Resolver {
	if len(servers) == 0 {
		return net.DefaultResolver
	}
	server := servers[0]
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
}
